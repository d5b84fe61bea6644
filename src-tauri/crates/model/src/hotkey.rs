//! A key combination, as text. What a platform calls its keys is the platform's
//! adapter's business.

use std::fmt;
use std::str::FromStr;

/// A key, and what must be held with it. By construction it cannot fire in the
/// middle of a sentence that somebody types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hotkey {
    ctrl: bool,
    alt: bool,
    shift: bool,
    logo: bool,
    key: Key,
}

/// A key that is named by what stands on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Key {
    /// A letter `A`–`Z` or a digit.
    Symbol(u8),
    /// `F1`–`F24`.
    Function(u8),
    /// One that has a name.
    Named(NamedKey),
}

/// Keys with names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // their names say it
pub enum NamedKey {
    Escape,
    Pause,
    Delete,
    Backspace,
    Insert,
    Home,
    End,
    PageUp,
    PageDown,
    Space,
    Enter,
    Tab,
    PrintScreen,
    ScrollLock,
}

const NAMED: [(NamedKey, &str); 14] = [
    (NamedKey::Escape, "Escape"),
    (NamedKey::Pause, "Pause"),
    (NamedKey::Delete, "Delete"),
    (NamedKey::Backspace, "Backspace"),
    (NamedKey::Insert, "Insert"),
    (NamedKey::Home, "Home"),
    (NamedKey::End, "End"),
    (NamedKey::PageUp, "PageUp"),
    (NamedKey::PageDown, "PageDown"),
    (NamedKey::Space, "Space"),
    (NamedKey::Enter, "Enter"),
    (NamedKey::Tab, "Tab"),
    (NamedKey::PrintScreen, "PrintScreen"),
    (NamedKey::ScrollLock, "ScrollLock"),
];

/// Why a text is no key combination: a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadHotkey {
    /// Something else than a modifier stands before the last `+`.
    #[error("expected Ctrl, Alt, Shift or Super before the key")]
    Modifier,
    /// A modifier stands there twice.
    #[error("{0} stands there twice")]
    Twice(&'static str),
    /// What stands last is no key.
    #[error(
        "expected a key at the end: A-Z, 0-9, F1-F24, Escape, Pause, Delete, Backspace, Insert, \
         Home, End, PageUp, PageDown, Space, Enter, Tab, PrintScreen or ScrollLock"
    )]
    Key,
    /// It would fire while somebody types.
    #[error("needs Ctrl, Alt or Super, or it would fire while you type")]
    Typed,
}

impl Hotkey {
    /// The stop's, as long as nobody chose another.
    pub const STOP: Self = Self {
        ctrl: true,
        alt: true,
        shift: true,
        logo: false,
        key: Key::Named(NamedKey::Escape),
    };

    /// Whether Ctrl is held.
    #[must_use]
    pub const fn ctrl(&self) -> bool {
        self.ctrl
    }
    /// Whether Alt is held.
    #[must_use]
    pub const fn alt(&self) -> bool {
        self.alt
    }
    /// Whether Shift is held.
    #[must_use]
    pub const fn shift(&self) -> bool {
        self.shift
    }
    /// Whether Super is held, which others call Win, Cmd or Meta.
    #[must_use]
    pub const fn logo(&self) -> bool {
        self.logo
    }
    /// The key itself.
    #[must_use]
    pub const fn key(&self) -> Key {
        self.key
    }

    /// Whether pressing this presses `other` too: the same key, and all that
    /// `other` needs is held.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        self.key == other.key
            && (self.ctrl || !other.ctrl)
            && (self.alt || !other.alt)
            && (self.shift || !other.shift)
            && (self.logo || !other.logo)
    }
}

impl FromStr for Hotkey {
    type Err = BadHotkey;

    /// From text such as `Ctrl+Alt+Shift+Escape`, whatever its case.
    fn from_str(text: &str) -> Result<Self, BadHotkey> {
        let mut hotkey = Self {
            ctrl: false,
            alt: false,
            shift: false,
            logo: false,
            key: Key::Symbol(0),
        };
        let mut parts: Vec<&str> = text.split('+').map(str::trim).collect();
        let last = parts.pop().unwrap_or_default();
        for part in parts {
            let (held, name) = match part.to_ascii_lowercase().as_str() {
                "ctrl" | "control" => (&mut hotkey.ctrl, "Ctrl"),
                "alt" | "option" => (&mut hotkey.alt, "Alt"),
                "shift" => (&mut hotkey.shift, "Shift"),
                "super" | "meta" | "win" | "cmd" => (&mut hotkey.logo, "Super"),
                _ => return Err(BadHotkey::Modifier),
            };
            if std::mem::replace(held, true) {
                return Err(BadHotkey::Twice(name));
            }
        }
        hotkey.key = key(last).ok_or(BadHotkey::Key)?;
        let alone = !(hotkey.ctrl || hotkey.alt || hotkey.logo);
        let never_typed = matches!(
            hotkey.key,
            Key::Function(_) | Key::Named(NamedKey::Pause | NamedKey::ScrollLock)
        );
        if alone && !never_typed {
            return Err(BadHotkey::Typed);
        }
        Ok(hotkey)
    }
}

fn key(name: &str) -> Option<Key> {
    let upper = name.to_ascii_uppercase();
    match upper.as_bytes() {
        [c] if c.is_ascii_alphanumeric() => return Some(Key::Symbol(*c)),
        [b'F', b'1'..=b'9', ..] => {
            let number = upper.get(1..).and_then(|n| n.parse().ok());
            return number.filter(|n| (1..=24).contains(n)).map(Key::Function);
        }
        _ => {}
    }
    let name = if upper == "ESC" { "ESCAPE" } else { &upper };
    NAMED
        .iter()
        .find(|(_, n)| n.eq_ignore_ascii_case(name))
        .map(|(key, _)| Key::Named(*key))
}

impl fmt::Display for Hotkey {
    /// One way, whatever it was read from.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (held, name) in [
            (self.ctrl, "Ctrl+"),
            (self.alt, "Alt+"),
            (self.shift, "Shift+"),
            (self.logo, "Super+"),
        ] {
            if held {
                f.write_str(name)?;
            }
        }
        match self.key {
            Key::Symbol(c) => write!(f, "{}", char::from(c)),
            Key::Function(n) => write!(f, "F{n}"),
            Key::Named(key) => {
                let name = NAMED.iter().find(|(k, _)| *k == key);
                f.write_str(name.map_or("", |(_, name)| name))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hotkey(text: &str) -> Hotkey {
        text.parse().unwrap()
    }

    #[test]
    fn a_hotkey_is_read_whatever_its_case_and_written_one_way() {
        for (text, shown) in [
            ("Ctrl+Alt+Shift+Escape", "Ctrl+Alt+Shift+Escape"),
            ("control + ALT+shift+esc", "Ctrl+Alt+Shift+Escape"),
            ("alt+ctrl+A", "Ctrl+Alt+A"),
            ("super+k", "Super+K"),
            ("Super+F12", "Super+F12"),
            ("F12", "F12"),
            ("Shift+Pause", "Shift+Pause"),
            ("ctrl+5", "Ctrl+5"),
            ("alt+pageup", "Alt+PageUp"),
        ] {
            assert_eq!(hotkey(text).to_string(), shown, "{text}");
        }
        assert_eq!(Hotkey::STOP.to_string(), "Ctrl+Alt+Shift+Escape");
    }

    #[test]
    fn every_name_is_read_back_as_the_key_that_it_names() {
        for (key, name) in NAMED {
            let text = format!("Ctrl+{name}");
            assert_eq!(hotkey(&text).key(), Key::Named(key));
            assert_eq!(hotkey(&text).to_string(), text);
        }
    }

    #[test]
    fn a_hotkey_that_is_none_or_would_fire_while_typing_is_refused() {
        for (bad, why) in [
            ("", BadHotkey::Key),
            ("Ctrl", BadHotkey::Key),
            ("Ctrl+", BadHotkey::Key),
            ("+", BadHotkey::Modifier),
            ("Ctrl+A+B", BadHotkey::Modifier),
            ("Hyper+A", BadHotkey::Modifier),
            ("Ctrl+Ctrl+A", BadHotkey::Twice("Ctrl")),
            ("Ctrl+F25", BadHotkey::Key),
            ("Ctrl+F0", BadHotkey::Key),
            ("Ctrl+F01", BadHotkey::Key),
            ("Ctrl+ß", BadHotkey::Key),
            ("Ctrl+Nonsense", BadHotkey::Key),
            ("Escape", BadHotkey::Typed),
            ("Shift+A", BadHotkey::Typed),
            ("K", BadHotkey::Typed),
        ] {
            assert_eq!(bad.parse::<Hotkey>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn a_combination_includes_one_that_needs_less_of_the_same_key() {
        assert!(hotkey("Ctrl+Alt+K").includes(&hotkey("Ctrl+K")));
        assert!(hotkey("Ctrl+K").includes(&hotkey("Ctrl+K")));
        assert!(!hotkey("Ctrl+K").includes(&hotkey("Ctrl+Alt+K")));
        assert!(!hotkey("Ctrl+Alt+K").includes(&hotkey("Ctrl+L")));
    }
}
