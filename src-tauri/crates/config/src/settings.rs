//! `vault`, `[hotkey]`, `[gateway]`, `[approvals]`

use crate::config::{Approvals, GatewaySettings, Hotkey, VaultChoice};
use crate::problem::Problems;
use crate::section::Section;

pub(crate) fn hotkey(top: &mut Section<'_>, problems: &mut Problems<'_>) -> Hotkey {
    let mut hotkey = Hotkey::default();
    if let Some(mut section) = top.section("hotkey", problems) {
        if let Some(stop) = section.string("stop", 64, problems) {
            match stop.value.parse() {
                Ok(keys) => hotkey.stop = keys,
                Err(why) => {
                    let found = stop.shown();
                    problems.at(stop.at, format!("{why}, found {found}"));
                }
            }
        }
        section.finish(problems);
    }
    hotkey
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
