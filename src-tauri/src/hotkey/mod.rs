//! The stop's hotkey: one adapter for X11, one for Wayland, the system's own
//! elsewhere.
//!
//! Whether it works is always told: a hotkey that only seems to be there is
//! worse than none.

#[cfg(target_os = "linux")]
pub(crate) mod helper;
#[cfg(not(target_os = "linux"))]
mod native;
#[cfg(target_os = "linux")]
mod portal;
#[cfg(target_os = "linux")]
mod x11;

use countersign_model::Hotkey;
use std::time::Duration;
use tauri::AppHandle;

/// A press that lasts this long ends what the press itself has frozen.
pub(crate) const HELD: Duration = Duration::from_secs(1);

/// What an adapter hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It listens for this, in words: what was wanted, or what the desktop has
    /// made of it.
    Works(String),
    /// It does not, or no longer: a sentence for people.
    Fails(String),
    /// The combination was pressed.
    Pressed,
    /// It has been held for [`HELD`] since it was pressed.
    Held,
}

/// Keeps an adapter listening; dropped, it ends.
#[must_use]
#[derive(Debug)]
pub(crate) struct Listening {
    #[cfg(target_os = "linux")]
    _until_dropped: std::os::fd::OwnedFd,
    #[cfg(not(target_os = "linux"))]
    _until_dropped: native::Registered,
}

/// Listens for `hotkey`, and hands on what is heard on a thread of its own.
///
/// # Errors
/// When nothing can be listened with: a sentence.
pub(crate) fn listen(
    app: &AppHandle,
    hotkey: Hotkey,
    heard: impl Fn(Heard) + Send + Sync + 'static,
) -> Result<Listening, String> {
    #[cfg(target_os = "linux")]
    {
        let _ = app;
        if desktop_decides() {
            return helper::listen(hotkey, heard).map(|until| Listening {
                _until_dropped: until,
            });
        }
        let (until, dropped) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|e| format!("{hotkey} cannot be listened for: {e}."))?;
        x11::listen(hotkey, until, heard)?;
        Ok(Listening {
            _until_dropped: dropped,
        })
    }
    #[cfg(not(target_os = "linux"))]
    native::listen(app, hotkey, heard).map(|registered| Listening {
        _until_dropped: registered,
    })
}

/// Whether it is for the desktop to say which key it is.
pub(crate) fn desktop_decides() -> bool {
    #[cfg(target_os = "linux")]
    {
        is_wayland(|name| std::env::var_os(name))
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// Whether the session is one of Wayland, where an X client hears keys only
/// while X windows have the focus.
#[cfg(target_os = "linux")]
fn is_wayland(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> bool {
    variable("WAYLAND_DISPLAY").is_some_and(|display| !display.is_empty())
        || variable("XDG_SESSION_TYPE").is_some_and(|kind| kind == "wayland")
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_session_of_wayland_is_one_with_a_compositor_or_that_says_so() {
        let session = |set: &'static [(&str, &str)]| {
            is_wayland(move |name| {
                let value = set.iter().find(|(n, _)| *n == name);
                value.map(|(_, value)| (*value).into())
            })
        };
        assert!(session(&[
            ("WAYLAND_DISPLAY", "wayland-0"),
            ("DISPLAY", ":0")
        ]));
        assert!(session(&[("XDG_SESSION_TYPE", "wayland")]));
        assert!(!session(&[("DISPLAY", ":0"), ("XDG_SESSION_TYPE", "x11")]));
        assert!(!session(&[("WAYLAND_DISPLAY", ""), ("DISPLAY", ":0")]));
    }
}
