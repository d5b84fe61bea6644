//! The desktop surface of Countersign: tray, notifications, hotkey, window.
//!
//! - It holds no secret and decides nothing: it shows what the authority asks
//!   and carries back what a human did. When it dies, what needs asking is
//!   denied, and neither the runs nor the stop notice.
//! - The authority starts it and hands it one end of a socket pair. Launched by
//!   the user it becomes `countersign desktop`, which sees that an authority
//!   runs and asks it for the window.
//! - [`desk`] is the domain: pure, tested without a display. Everything else
//!   translates between it and a tray, a notification server, an X server or a
//!   webview.

mod app;
mod authority;
mod bridge;
mod cards;
mod desk;
mod hold;
mod hotkey;
mod notify;
mod tray;
mod windows;

use countersign_protocol::surface::FD_VARIABLE;
use std::env;
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            // Nobody may be looking at a terminal, but the authority keeps it.
            #[expect(clippy::print_stderr, reason = "the only way left to say why")]
            {
                eprintln!("countersign-desktop: {sentence}");
            }
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<(), String> {
    // The authority awaits a signal on one thread, and blocks it on all others: what it
    // starts begins so too. The web view stops its own threads by that signal.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
    #[cfg(target_os = "linux")]
    if let [_, argument, keys] = env::args().collect::<Vec<_>>().as_slice()
        && argument == hotkey::helper::ARGUMENT
    {
        return hotkey::helper::run(keys);
    }
    refuse_automation(|name| env::var_os(name).is_some())?;
    let Some(fd) = env::var_os(FD_VARIABLE) else {
        return Err(become_launcher());
    };
    refuse_debuggers();
    let stream = inherited(&fd.to_string_lossy())?;
    if env::var_os("DISPLAY").is_none() && env::var_os("WAYLAND_DISPLAY").is_none() {
        return Err("there is no display: neither DISPLAY nor WAYLAND_DISPLAY is set".into());
    }
    app::run(stream)
}

/// Tauri lets whoever sets these variables drive the window, in release builds
/// too: an agent that is not contained could then answer for the human (G6).
fn refuse_automation(is_set: impl Fn(&str) -> bool) -> Result<(), String> {
    if cfg!(feature = "automation") {
        return Ok(());
    }
    match ["TAURI_WEBVIEW_AUTOMATION", "TAURI_AUTOMATION"]
        .into_iter()
        .find(|name| is_set(name))
    {
        Some(name) => Err(format!("{name} is set: only a test build can be automated")),
        None => Ok(()),
    }
}

/// A debugger could answer for the human, or take the socket.
fn refuse_debuggers() {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// The authority's socket, if that is what the descriptor is.
fn inherited(number: &str) -> Result<UnixStream, String> {
    let not_ours = || format!("{FD_VARIABLE}={number} names no socket of the authority");
    let number: RawFd = number
        .parse()
        .ok()
        .filter(|n| *n > 2)
        .ok_or_else(not_ours)?;
    #[allow(unsafe_code)] // a number is all that can be inherited
    // SAFETY: the authority opened this descriptor for us and for nothing else;
    // nothing in this process has been started that could own it. If it names
    // nothing, the next call says so.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    match rustix::net::sockopt::socket_type(&fd) {
        Ok(rustix::net::SocketType::STREAM) => {}
        _ => {
            // It is not ours to close either.
            let _ = std::os::fd::IntoRawFd::into_raw_fd(fd);
            return Err(not_ours());
        }
    }
    // The webview's processes must not inherit it.
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).map_err(|e| e.to_string())?;
    Ok(fd.into())
}

/// Becomes `countersign desktop`, of the same folder and no other.
fn become_launcher() -> String {
    use std::os::unix::process::CommandExt as _;
    let Ok(own) = env::current_exe() else {
        return "cannot find its own folder".into();
    };
    let sibling = own.with_file_name("countersign");
    let error = std::process::Command::new(&sibling).arg("desktop").exec();
    format!("cannot start {}: {error}", sibling.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_build_that_is_not_for_tests_refuses_to_be_automated() {
        let refused = refuse_automation(|name| name == "TAURI_AUTOMATION");
        assert_eq!(refused.is_err(), !cfg!(feature = "automation"));
        assert!(refuse_automation(|_| false).is_ok());
    }

    #[test]
    fn only_a_socket_is_taken_for_the_authority() {
        let file = tempfile::tempfile().unwrap();
        for bad in ["", "x", "-1", "2", "9999", &file.as_raw_fd().to_string()] {
            assert!(inherited(bad).is_err(), "{bad}");
        }
        assert!(
            file.metadata().is_ok(),
            "a descriptor that is not ours was closed"
        );
    }
}
