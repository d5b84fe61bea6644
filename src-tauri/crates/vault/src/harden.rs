//! Guarantee G9: a process that holds secrets leaves no dump.

use std::io;

/// Makes this process undumpable, and closes it to debuggers of the same user:
/// `PR_SET_DUMPABLE` 0 (which also holds where the core pattern is a pipe, as
/// `RLIMIT_CORE` does not) and `RLIMIT_CORE` 0. Call it first thing in `main`
/// of every program that opens a vault. Sources: prctl(2), core(5).
///
/// On other systems than Linux it does nothing and returns `Ok`: a signed
/// program with the hardened runtime is closed to debuggers on macOS; Windows
/// writes no dump of a user's process unless error reporting is set up to.
///
/// # Errors
/// When the kernel refuses; a program that goes on then should say so.
pub fn harden_process() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::resource::{Resource, setrlimit};
        nix::sys::prctl::set_dumpable(false)?;
        setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    }
    Ok(())
}
