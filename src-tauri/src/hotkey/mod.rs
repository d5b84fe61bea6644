//! The stop's hotkey: one adapter for X11, the system's own elsewhere.
//!
//! Whether it works is always told: a hotkey that only seems to be there is
//! worse than none.

#[cfg(not(target_os = "linux"))]
mod native;
#[cfg(target_os = "linux")]
mod x11;

use std::fmt;
use tauri::AppHandle;

/// Listens for `keys` until the program ends; calls `fired` on a thread of its
/// own. `works` hears once that it listens, and again if it no longer can.
pub(crate) fn listen(
    app: &AppHandle,
    keys: &str,
    fired: impl Fn() + Send + Sync + 'static,
    works: impl Fn(Result<(), String>) + Send + Sync + 'static,
) {
    let hotkey = match Hotkey::parse(keys) {
        Ok(hotkey) => hotkey,
        Err(problem) => return works(Err(problem)),
    };
    #[cfg(target_os = "linux")]
    {
        let _ = app;
        x11::listen(hotkey, fired, works);
    }
    #[cfg(not(target_os = "linux"))]
    native::listen(app, &hotkey, fired, works);
}

/// A key, and what must be held with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hotkey {
    pub(crate) ctrl: bool,
    pub(crate) alt: bool,
    pub(crate) shift: bool,
    pub(crate) logo: bool,
    pub(crate) key: Key,
}

/// A key that is named by what stands on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    /// A letter `A`–`Z` or digit.
    Symbol(u8),
    /// `F1`–`F24`.
    Function(u8),
    Named(&'static str),
}

/// Keys by name, with their X11 keysyms.
const NAMED: [(&str, u32); 14] = [
    ("Escape", 0xff1b),
    ("Pause", 0xff13),
    ("Delete", 0xffff),
    ("Backspace", 0xff08),
    ("Insert", 0xff63),
    ("Home", 0xff50),
    ("End", 0xff57),
    ("PageUp", 0xff55),
    ("PageDown", 0xff56),
    ("Space", 0x20),
    ("Enter", 0xff0d),
    ("Tab", 0xff09),
    ("PrintScreen", 0xff61),
    ("ScrollLock", 0xff14),
];

impl Hotkey {
    /// From text such as `Ctrl+Alt+Shift+Escape`.
    ///
    /// # Errors
    /// Says what is wrong with it, for people.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
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
            let held = match part.to_ascii_lowercase().as_str() {
                "ctrl" | "control" => &mut hotkey.ctrl,
                "alt" | "option" => &mut hotkey.alt,
                "shift" => &mut hotkey.shift,
                "super" | "meta" | "win" | "cmd" => &mut hotkey.logo,
                _ => {
                    return Err(format!(
                        "{text:?}: expected Ctrl, Alt, Shift or Super before the key, found {part:?}."
                    ));
                }
            };
            if std::mem::replace(held, true) {
                return Err(format!("{text:?}: {part} stands there twice."));
            }
        }
        hotkey.key = Key::parse(last)
            .ok_or_else(|| format!("{text:?}: {last:?} is not the name of a key."))?;
        let alone = !(hotkey.ctrl || hotkey.alt || hotkey.logo);
        if alone
            && !matches!(
                hotkey.key,
                Key::Function(_) | Key::Named("Pause" | "ScrollLock")
            )
        {
            return Err(format!(
                "{text:?}: needs Ctrl, Alt or Super, or it would fire while one types."
            ));
        }
        Ok(hotkey)
    }
}

impl Key {
    fn parse(name: &str) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        match upper.as_bytes() {
            [c] if c.is_ascii_alphanumeric() => return Some(Self::Symbol(*c)),
            [b'F', rest @ ..] if !rest.is_empty() => {
                if let Some(n) = upper.get(1..).and_then(|n| n.parse().ok()) {
                    return (1..=24).contains(&n).then_some(Self::Function(n));
                }
            }
            _ => {}
        }
        let name = if upper == "ESC" { "ESCAPE" } else { &upper };
        NAMED
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(n, _)| Self::Named(n))
    }

    /// The X11 keysym; of a letter, the small one.
    #[cfg(target_os = "linux")]
    fn keysym(self) -> u32 {
        match self {
            Self::Symbol(c) => u32::from(c.to_ascii_lowercase()),
            Self::Function(n) => 0xffbd + u32::from(n),
            Self::Named(name) => NAMED
                .iter()
                .find(|(n, _)| *n == name)
                .map_or(0, |(_, sym)| *sym),
        }
    }
}

impl fmt::Display for Hotkey {
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
            Key::Named(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hotkey_is_read_whatever_its_case_and_written_one_way() {
        for (text, shown) in [
            ("Ctrl+Alt+Shift+Escape", "Ctrl+Alt+Shift+Escape"),
            ("control + ALT+shift+esc", "Ctrl+Alt+Shift+Escape"),
            ("super+k", "Super+K"),
            ("F12", "F12"),
            ("Pause", "Pause"),
            ("ctrl+5", "Ctrl+5"),
        ] {
            assert_eq!(Hotkey::parse(text).unwrap().to_string(), shown, "{text}");
        }
    }

    #[test]
    fn a_hotkey_that_is_none_or_would_fire_while_typing_is_refused() {
        for bad in [
            "",
            "Ctrl+",
            "+",
            "Escape",
            "Shift+A",
            "K",
            "Ctrl+Ctrl+A",
            "Hyper+A",
            "Ctrl+F25",
            "Ctrl+F0",
            "Ctrl+ß",
            "Ctrl+Nonsense",
        ] {
            assert!(Hotkey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
