//! `vault`, `[hotkey]`, `[gateway]`, `[approvals]`

use crate::config::{Approvals, GatewaySettings, Hotkey, VaultChoice};
use crate::problem::Problems;
use crate::section::Section;

pub(crate) fn hotkey(top: &mut Section<'_>, problems: &mut Problems<'_>) -> Hotkey {
    let mut hotkey = Hotkey::default();
    if let Some(mut section) = top.section("hotkey", problems) {
        if let Some(stop) = section.string("stop", 64, problems) {
            if is_combination(stop.value) {
                stop.value.clone_into(&mut hotkey.stop);
            } else {
                let found = stop.shown();
                problems.at(
                    stop.at,
                    format!(
                        "expected modifiers (Ctrl, Alt, Shift, Super) and one key \
                         (A-Z, 0-9, F1-F24, Escape, Pause, …) joined by '+', found {found}"
                    ),
                );
            }
        }
        section.finish(problems);
    }
    hotkey
}

/// At least one modifier, then exactly one key. A key alone would stop every
/// agent in the middle of a sentence that somebody types.
fn is_combination(text: &str) -> bool {
    const MODIFIERS: [&str; 4] = ["Ctrl", "Alt", "Shift", "Super"];
    const KEYS: [&str; 12] = [
        "Escape",
        "Pause",
        "Space",
        "Tab",
        "Enter",
        "Backspace",
        "Delete",
        "Insert",
        "Home",
        "End",
        "PageUp",
        "PageDown",
    ];
    let mut parts: Vec<&str> = text.split('+').collect();
    let Some(key) = parts.pop() else { return false };
    let function_key = key
        .strip_prefix('F')
        .filter(|digits| !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u8>().ok())
        .is_some_and(|number| (1..=24).contains(&number));
    let letter = key.len() == 1
        && key
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let known_key = KEYS.contains(&key) || function_key || letter;
    let distinct = parts
        .iter()
        .enumerate()
        .all(|(i, part)| !parts[..i].contains(part));
    known_key && !parts.is_empty() && distinct && parts.iter().all(|p| MODIFIERS.contains(p))
}

pub(crate) fn vault(top: &mut Section<'_>, problems: &mut Problems<'_>) -> VaultChoice {
    let mut choice = VaultChoice::default();
    if let Some(store) = top.string("vault", 64, problems) {
        match store.value {
            "keyring" => choice = VaultChoice::Keyring,
            "file" => choice = VaultChoice::File,
            _ => {
                let found = store.shown();
                problems.at(
                    store.at,
                    format!("expected \"keyring\" or \"file\", found {found}"),
                );
            }
        }
    }
    choice
}

pub(crate) fn gateway(top: &mut Section<'_>, problems: &mut Problems<'_>) -> GatewaySettings {
    let mut settings = GatewaySettings::default();
    if let Some(mut section) = top.section("gateway", problems) {
        settings.tcp = section
            .number("tcp", &(1..=u64::from(u16::MAX)), problems)
            .and_then(|port| u16::try_from(port).ok());
        section.finish(problems);
    }
    settings
}

pub(crate) fn approvals(top: &mut Section<'_>, problems: &mut Problems<'_>) -> Approvals {
    let mut approvals = Approvals::default();
    if let Some(mut section) = top.section("approvals", problems) {
        if let Some(seconds) = section.number("hold_seconds", &(5..=100), problems) {
            approvals.hold_seconds = seconds;
        }
        section.finish(problems);
    }
    approvals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hotkey_is_modifiers_and_one_key() {
        for good in ["Ctrl+Alt+Shift+Escape", "Super+F12", "Alt+Q", "Ctrl+9"] {
            assert!(is_combination(good), "{good}");
        }
        for bad in [
            "",
            "Escape",
            "Ctrl",
            "Ctrl+",
            "Ctrl+Ctrl+A",
            "Ctrl+A+B",
            "Ctrl+F25",
            "Ctrl+F01",
            "Ctrl+ä",
            "ctrl+A",
        ] {
            assert!(!is_combination(bad), "{bad}");
        }
    }
}
