//! What happens between fork and exec, and to this process itself. All code
//! that must be `unsafe` is in this file; each piece is a few system calls.

use crate::Limits;
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{Resource, Rlimit};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes this process's memory unreadable for other processes of the user:
/// no core dump, no `/proc/PID/environ`, `mem` or `fd`.
///
/// # Errors
/// The system's, if it refuses; a process that is to hold secrets must not go on.
pub fn harden_self() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    // A core pattern that pipes ignores this limit; the dumpable flag it obeys.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(rustix::process::setrlimit(Resource::Core, none)?)
}

/// The command becomes the leader of a session of its own, with its standard
/// input as controlling terminal if `terminal`. It inherits descriptors 0 to 2
/// and no other, and its limits are lowered to `limits`.
pub(crate) fn lead(command: &mut Command, terminal: bool, limits: Option<Limits>) {
    let prepare = move || {
        rustix::process::setsid()?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        if let Some(limits) = limits {
            yield_to_others();
            // Whoever may have real-time priorities could leave none to the stop.
            #[cfg(target_os = "linux")]
            for raises in [Resource::Rtprio, Resource::Nice] {
                lower(raises, 0)?;
            }
            lower(Resource::Nproc, limits.processes)?;
            lower(Resource::Data, limits.memory_bytes)?;
            lower(Resource::Nofile, limits.open_files)?;
            // Timers and queued signals of all of the user's processes are one
            // count, against each one's own limit: the others go on.
            let signals = rustix::process::getrlimit(Resource::Sigpending);
            lower(
                Resource::Sigpending,
                signals.current.map_or(u64::MAX, |all| all / 4),
            )?;
        }
        close_on_exec_above_standard()
    };
    #[allow(
        unsafe_code,
        reason = "pre_exec is the only way to act between fork and exec"
    )]
    // SAFETY: after fork only the calling thread exists, so the closure may only
    // make async-signal-safe calls. It makes plain system calls on numbers that
    // it owns by copy; it allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// The command enters this Landlock ruleset, and with it every process that it
/// will ever start. Source: landlock_restrict_self(2).
#[cfg(target_os = "linux")]
pub(crate) fn enter(command: &mut Command, fence: OwnedFd) {
    use rustix::fd::AsRawFd;
    let prepare = move || {
        // Asked for by the kernel; a run has it from bubblewrap already.
        nix::sys::prctl::set_no_new_privs()?;
        #[allow(
            unsafe_code,
            reason = "the crate enters by itself alone, this thread included"
        )]
        // SAFETY: the call takes two integers, and the descriptor is open: the
        // closure owns it.
        let done = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fence.as_raw_fd(), 0) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    };
    #[allow(
        unsafe_code,
        reason = "pre_exec is the only way to act between fork and exec"
    )]
    // SAFETY: as in `lead`: plain system calls.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// The command inherits descriptors 0 to 2 and no other, and no session keyring.
#[cfg(target_os = "linux")]
pub fn inherit_nothing(command: &mut Command) {
    inherit_only(command, &[]);
}

/// The command inherits descriptors 0 to 2 and `inherited` (at the same
/// numbers), no other; and no session keyring.
#[cfg(target_os = "linux")]
pub(crate) fn inherit_only(command: &mut Command, inherited: &[OwnedFd]) {
    use rustix::fd::AsRawFd;
    let numbers: Vec<_> = inherited.iter().map(AsRawFd::as_raw_fd).collect();
    let prepare = move || {
        close_on_exec_above_standard()?;
        for number in &numbers {
            #[allow(unsafe_code, reason = "an OwnedFd cannot be moved through fork")]
            // SAFETY: the caller keeps the descriptors open until the command
            // has been spawned, and the child has its own table of them.
            let descriptor = unsafe { rustix::fd::BorrowedFd::borrow_raw(*number) };
            rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
        }
        leave_session_keyring();
        Ok(())
    };
    #[allow(
        unsafe_code,
        reason = "pre_exec is the only way to act between fork and exec"
    )]
    // SAFETY: as in `lead`: plain system calls; the vector was allocated before fork.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// The command begins in this control group, and so does whatever it starts.
/// `entrance` is the group's `cgroup.procs`.
#[cfg(target_os = "linux")]
pub(crate) fn begin_in(command: &mut Command, entrance: OwnedFd) {
    let prepare = move || {
        // "0" is whoever writes it: cgroups(7).
        rustix::io::pwrite(&entrance, b"0", 0)?;
        Ok(())
    };
    #[allow(
        unsafe_code,
        reason = "pre_exec is the only way to act between fork and exec"
    )]
    // SAFETY: as in `lead`: one plain system call on a descriptor of its own.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// If this process dies, so does the command (Linux only): what runs
/// uncontained has no init to see to that. The death that counts is that of
/// the *thread* that spawned it.
pub(crate) fn die_with_parent(command: &mut Command) {
    let prepare = || {
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        Ok(())
    };
    #[allow(
        unsafe_code,
        reason = "pre_exec is the only way to act between fork and exec"
    )]
    // SAFETY: as in `lead`: one plain system call.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Moves this process, which must have one thread, into a network namespace and
/// the user namespace that owns it, in which it then has every capability if it
/// belongs to that one's owner. Source: setns(2), `ioctl_ns(2)`.
#[cfg(target_os = "linux")]
pub(crate) fn enter_network(network: rustix::fd::BorrowedFd<'_>) -> io::Result<()> {
    use rustix::fd::{AsRawFd, FromRawFd};
    const NS_GET_USERNS: libc::c_ulong = 0xB701;
    #[allow(unsafe_code, reason = "neither std, nix nor rustix has this request")]
    // SAFETY: the request takes no argument and returns a new descriptor or -1.
    let owner = unsafe {
        match libc::ioctl(network.as_raw_fd(), NS_GET_USERNS as _) {
            -1 => return Err(io::Error::last_os_error()),
            owner => OwnedFd::from_raw_fd(owner),
        }
    };
    nix::sched::setns(owner, nix::sched::CloneFlags::CLONE_NEWUSER)?;
    Ok(nix::sched::setns(
        network,
        nix::sched::CloneFlags::CLONE_NEWNET,
    )?)
}

/// A memory file with this content, to be read from its beginning, closed on exec.
#[cfg(target_os = "linux")]
pub(crate) fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    use std::io::{Seek, Write};
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let mut file = std::fs::File::from(rustix::fs::memfd_create("countersign", flags)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file.into())
}

/// This process, and all that it will start, takes what others leave of the
/// processors: so that the human's programs, and the stop, need not wait behind a
/// run that is busy. Nothing depends on it, so what the kernel refuses is left.
/// Source: `setpriority(2)`.
fn yield_to_others() {
    /// Of two that are always busy, the one with this gets a quarter.
    const NICE: i32 = 5;
    let _ = rustix::process::setpriority_process(None, NICE);
    #[cfg(target_os = "linux")]
    never_preempt();
}

/// Where the kernel shares the processors out by session, no process's own niceness
/// counts beside other sessions, but the session's: this is its file.
/// Source: sched(7), "The autogroup feature".
#[cfg(target_os = "linux")]
#[derive(Debug)]
pub struct SessionsTurn(std::fs::File);

#[cfg(target_os = "linux")]
impl SessionsTurn {
    /// Of two that are always busy, the one with this gets a tenth.
    const NICE: &[u8] = b"10";
    /// The kernel takes one change in a tenth of a second, from all of its users.
    const TRIES: u32 = 50;
    const APART: std::time::Duration = std::time::Duration::from_millis(100);

    /// That of the session of `process`, or of this one's. `None` where there is no
    /// such thing, or it is not this user's.
    #[must_use]
    pub fn of(process: Option<rustix::process::Pid>) -> Option<Self> {
        let whose = process.map_or_else(|| "self".into(), |pid| pid.as_raw_pid().to_string());
        let mut options = std::fs::File::options();
        let file = options.write(true).open(format!("/proc/{whose}/autogroup"));
        file.ok().map(Self)
    }

    /// It goes after others. Waits for up to five seconds while the kernel takes
    /// other changes.
    pub fn goes_last(mut self) {
        use std::io::Write as _;
        for _ in 0..Self::TRIES {
            match self.0.write(Self::NICE) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Self::APART);
                }
                _ => return,
            }
        }
    }
}

/// This thread, and all that it will start, runs as often as others do, but never
/// takes the processor from one that runs, for having been woken (`SCHED_BATCH`).
/// Who wakes many, to stop them, is not held up by each. Source: sched(7).
#[cfg(target_os = "linux")]
pub fn never_preempt() {
    let parameters = libc::sched_param { sched_priority: 0 };
    #[allow(unsafe_code, reason = "neither std, nix nor rustix has it")]
    // SAFETY: the call reads one structure of ours and changes this thread alone.
    unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            0,
            libc::SCHED_BATCH,
            &raw const parameters,
        );
    }
}

fn lower(resource: Resource, to: u64) -> io::Result<()> {
    let hard = rustix::process::getrlimit(resource).maximum;
    let to = Some(hard.map_or(to, |hard| hard.min(to)));
    let limit = Rlimit {
        current: to,
        maximum: to,
    };
    Ok(rustix::process::setrlimit(resource, limit)?)
}

/// Marks everything above descriptor 2, which the user's shell may have left
/// open (a lock, a log, an agent's socket) without our knowing.
fn close_on_exec_above_standard() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        #[allow(unsafe_code, reason = "neither std, nix nor rustix has close_range")]
        // SAFETY: the call takes three integers and touches no memory of ours.
        let done = unsafe {
            libc::syscall(
                libc::SYS_close_range,
                3_u32,
                u32::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            )
        };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The kernel's session keyring may hold keys of the user's login. The filter
/// refuses all calls that use keys; without the keyring there is also nothing
/// to use. A kernel without keyrings answers with an error, which is fine.
#[cfg(target_os = "linux")]
fn leave_session_keyring() {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous: *const libc::c_char = std::ptr::null();
    #[allow(unsafe_code, reason = "neither std, nix nor rustix has keyctl")]
    // SAFETY: a null name asks for a new anonymous keyring; nothing is read or
    // written through the pointer.
    unsafe {
        libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, anonymous);
    }
}

/// The same descriptor under a new number, closed on exec.
pub(crate) fn duplicate(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    descriptor.as_fd().try_clone_to_owned()
}
