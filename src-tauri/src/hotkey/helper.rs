//! A process of its own that talks to the portal.
//!
//! The portal looks at the root folder of whoever calls it, to tell a sandboxed
//! program from another, and refuses one that cannot be looked at. The tray app
//! cannot: a debugger could answer for the human in it. So this program is
//! started once more, and that process holds nothing: no socket of the
//! authority, only a pipe from us, which ends it, and one to us, on which it
//! says what it hears. Whoever takes it over can press the stop, or keep this
//! key from pressing it.

use super::{Heard, portal};
use countersign_model::Hotkey;
use countersign_protocol::surface::FD_VARIABLE;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;

/// What it is called with, and the combination after that.
pub(crate) const ARGUMENT: &str = "--global-shortcut";

/// Listens until what is returned is dropped.
pub(super) fn listen(
    hotkey: Hotkey,
    heard: impl Fn(Heard) + Send + Sync + 'static,
) -> Result<OwnedFd, String> {
    let say = |e: std::io::Error| portal::fails(hotkey, &e.to_string());
    let mut child = std::env::current_exe()
        .and_then(|program| {
            Command::new(program)
                .args([ARGUMENT, &hotkey.to_string()])
                .env_remove(FD_VARIABLE)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
        })
        .map_err(say)?;
    let (Some(until), Some(says)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(portal::fails(hotkey, "it has no pipes"));
    };
    let follow = move || {
        for line in BufReader::new(says).lines() {
            match line.ok().and_then(|line| read(&line)) {
                Some(what) => heard(what),
                None => break,
            }
        }
        if !child.wait().is_ok_and(|status| status.success()) {
            let why = "what talks to your desktop's portal has ended";
            heard(Heard::Fails(portal::fails(hotkey, why)));
        }
    };
    match thread::Builder::new().name("hotkey".into()).spawn(follow) {
        Ok(_) => Ok(until.into()),
        Err(error) => Err(say(error)),
    }
}

/// What the process itself does: listens until its standard input is closed.
///
/// # Errors
/// When it was called with something else than a combination; a sentence.
pub(crate) fn run(keys: &str) -> Result<(), String> {
    let hotkey: Hotkey = keys.parse().map_err(|e| format!("{keys:?}: {e}"))?;
    let until = rustix::stdio::stdin()
        .try_clone_to_owned()
        .map_err(|e| e.to_string())?;
    let say = |heard: Heard| {
        let mut out = std::io::stdout().lock();
        if writeln!(out, "{}", written(&heard))
            .and_then(|()| out.flush())
            .is_err()
        {
            // Nobody reads: whoever wanted it has gone.
            std::process::exit(0);
        }
    };
    if let Err(why) = async_io::block_on(portal::until_closed(hotkey, until, &say)) {
        say(Heard::Fails(portal::fails(hotkey, &why)));
    }
    Ok(())
}

/// One line. What comes from elsewhere was neutralised: it has no line's end.
fn written(heard: &Heard) -> String {
    match heard {
        Heard::Works(keys) => format!("works {keys}"),
        Heard::Fails(why) => format!("fails {why}"),
        Heard::Pressed => "pressed ".into(),
        Heard::Held => "held ".into(),
    }
}

fn read(line: &str) -> Option<Heard> {
    Some(match line.split_once(' ')? {
        ("works", keys) => Heard::Works(keys.to_owned()),
        ("fails", why) => Heard::Fails(why.to_owned()),
        ("pressed", "") => Heard::Pressed,
        ("held", "") => Heard::Held,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_crosses_as_one_line() {
        for heard in [
            Heard::Works("Press Meta+X".into()),
            Heard::Fails("Your desktop refused.".into()),
            Heard::Pressed,
            Heard::Held,
        ] {
            assert_eq!(read(&written(&heard)), Some(heard));
        }
        for bad in ["", "pressed", "pressed twice", "works"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
