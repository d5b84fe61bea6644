//! The system calls that are left to a gateway: to read, write and wait on what it
//! has, memory, threads, time and randomness. It can hand nothing on (`sendmsg`
//! carries descriptors) and open nothing: no file, no
//! connection, no program, no other process.

#[cfg(target_os = "linux")]
use nix::libc;
#[cfg(target_os = "linux")]
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Whatever their arguments are.
#[cfg(target_os = "linux")]
#[rustfmt::skip]
const ALLOWED: &[libc::c_long] = &[
    // what it has
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64, libc::SYS_lseek, libc::SYS_close,
    libc::SYS_dup, libc::SYS_fstat, libc::SYS_ftruncate, libc::SYS_fsync,
    // sockets that it was given, and connections that come in by them
    libc::SYS_accept4, libc::SYS_recvmsg, libc::SYS_recvfrom, libc::SYS_shutdown,
    libc::SYS_getsockname, libc::SYS_getpeername, libc::SYS_getsockopt,
    // waiting
    libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_ppoll,
    libc::SYS_futex, libc::SYS_nanosleep, libc::SYS_clock_nanosleep, libc::SYS_restart_syscall,
    // memory
    libc::SYS_brk, libc::SYS_munmap, libc::SYS_mremap,
    // threads
    libc::SYS_exit, libc::SYS_exit_group, libc::SYS_set_robust_list, libc::SYS_rseq, libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity, libc::SYS_gettid, libc::SYS_getpid, libc::SYS_sigaltstack, libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction, libc::SYS_rt_sigreturn, libc::SYS_membarrier,
    // time and randomness
    libc::SYS_clock_gettime, libc::SYS_clock_getres, libc::SYS_gettimeofday, libc::SYS_getrandom,
];

/// Older forms of the above, which x86-64 alone still has.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const HERE: &[libc::c_long] = &[libc::SYS_epoll_wait, libc::SYS_poll];
#[cfg(all(target_os = "linux", not(target_arch = "x86_64")))]
const HERE: &[libc::c_long] = &[];

/// Locks this process, with every thread that it begins from now on. What is not
/// allowed does not exist for it (`ENOSYS`).
///
/// # Errors
/// When the kernel takes no such filter: the gateway must not go on.
#[cfg(target_os = "linux")]
pub(super) fn lock() -> Result<(), seccompiler::Error> {
    let word = SeccompCmpArgLen::Dword;
    let condition = |argument, operator, value| {
        SeccompRule::new(vec![SeccompCondition::new(
            argument,
            word.clone(),
            operator,
            value,
        )?])
    };
    let mut rules: std::collections::BTreeMap<i64, Vec<SeccompRule>> = ALLOWED
        .iter()
        .chain(HERE)
        .map(|call| (*call, Vec::new()))
        .collect();
    // Signals to its own threads alone (a panic that aborts), and no way to have
    // the kernel send one to others (`F_SETOWN`, `F_SETSIG`).
    let itself = u64::from(std::process::id());
    rules.insert(
        libc::SYS_tgkill,
        vec![condition(0, SeccompCmpOp::Eq, itself)?],
    );
    let commands = [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD_CLOEXEC,
    ];
    let commands = commands.map(|command| condition(1, SeccompCmpOp::Eq, command as u64));
    rules.insert(
        libc::SYS_fcntl,
        commands.into_iter().collect::<Result<_, _>>()?,
    );
    let thread = libc::CLONE_THREAD as u64;
    // No memory that is both written and run: what is mapped is never executable.
    let executable = libc::PROT_EXEC as u64;
    rules.insert(
        libc::SYS_clone,
        vec![condition(0, SeccompCmpOp::MaskedEq(thread), thread)?],
    );
    rules.insert(
        libc::SYS_mprotect,
        vec![condition(2, SeccompCmpOp::MaskedEq(executable), 0)?],
    );
    // Nor is it a file's, for which the kernel could have to wait.
    let nameless = libc::MAP_ANONYMOUS as u64;
    rules.insert(
        libc::SYS_mmap,
        vec![SeccompRule::new(vec![
            SeccompCondition::new(2, word.clone(), SeccompCmpOp::MaskedEq(executable), 0)?,
            SeccompCondition::new(3, word.clone(), SeccompCmpOp::MaskedEq(nameless), nameless)?,
        ])?],
    );
    // What a connection does when it is closed is all that it may change of one: not
    // how fast the kernel sends what was written, which would outlive this process.
    rules.insert(
        libc::SYS_setsockopt,
        [
            (libc::SOL_SOCKET, libc::SO_LINGER),
            (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        ]
        .map(|(level, option)| {
            SeccompRule::new(vec![
                SeccompCondition::new(1, word.clone(), SeccompCmpOp::Eq, level as u64)?,
                SeccompCondition::new(2, word.clone(), SeccompCmpOp::Eq, option as u64)?,
            ])
        })
        .into_iter()
        .collect::<Result<_, _>>()?,
    );
    // The allocator gives memory back. (`MADV_PAGEOUT` would have the kernel wait for
    // a disk while it holds a connection.)
    let given_back = [libc::MADV_DONTNEED, libc::MADV_FREE];
    let given_back = given_back.map(|advice| condition(2, SeccompCmpOp::Eq, advice as u64));
    rules.insert(
        libc::SYS_madvise,
        given_back.into_iter().collect::<Result<_, _>>()?,
    );
    // To send is not to connect: with this flag it would be (tcp(7)).
    let connects = libc::MSG_FASTOPEN as u64;
    rules.insert(
        libc::SYS_sendto,
        vec![condition(3, SeccompCmpOp::MaskedEq(connects), 0)?],
    );
    rules.insert(
        libc::SYS_ioctl,
        vec![condition(1, SeccompCmpOp::Eq, libc::FIONBIO)?],
    );
    rules.insert(
        libc::SYS_prctl,
        vec![
            condition(0, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64)?,
            // The allocator names its memory.
            condition(0, SeccompCmpOp::Eq, libc::PR_SET_VMA as u64)?,
        ],
    );
    let filter = SeccompFilter::new(
        rules,
        // As on a kernel that is older than the call: the C library falls back from
        // `clone3`, whose flags lie in memory where no filter sees them.
        SeccompAction::Errno(libc::ENOSYS as u32),
        SeccompAction::Allow,
        TargetArch::try_from(std::env::consts::ARCH)?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn a_locked_thread_reads_and_writes_what_it_has_and_opens_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut client = TcpStream::connect(address).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        use rustix::net::{AddressFamily, SocketType, socket};
        let fresh = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let (pair, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        // The filter is for good, so it is a thread's of its own.
        let locked = std::thread::spawn(move || {
            lock().unwrap();
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"still").unwrap();
            file.write_all(b"still").unwrap();
            getrandom::u64().unwrap();
            let began = std::thread::spawn(|| File::open("/dev/null").is_err());
            assert!(
                began.join().unwrap(),
                "a thread that it begins is locked too"
            );
            for (what, opened) in [
                ("a file", File::open("/etc/passwd").is_ok()),
                ("a connection", TcpStream::connect(address).is_ok()),
                ("a port", TcpListener::bind("127.0.0.1:0").is_ok()),
                (
                    "a connection by sending",
                    connects_by_sending(&fresh, address),
                ),
                ("a way for descriptors", hands_on(&pair)),
                ("the pace of a connection", paces(&stream)),
                (
                    "a program",
                    std::process::Command::new("/bin/true").spawn().is_ok(),
                ),
                (
                    "another process",
                    rustix::process::pidfd_open(
                        rustix::process::Pid::INIT,
                        rustix::process::PidfdFlags::empty(),
                    )
                    .is_ok(),
                ),
                (
                    "a signal",
                    rustix::process::test_kill_process(rustix::process::getpid()).is_ok(),
                ),
            ] {
                assert!(!opened, "{what} could be opened");
            }
        });
        let mut said = [0; 5];
        client.read_exact(&mut said).unwrap();
        assert_eq!(&said, b"still");
        locked.join().unwrap();
    }

    /// Whether a socket that it was handed can be connected by sending.
    fn connects_by_sending(socket: &std::os::fd::OwnedFd, to: std::net::SocketAddr) -> bool {
        let flags = rustix::net::SendFlags::from_bits_retain(libc::MSG_FASTOPEN as u32);
        let sent = rustix::net::sendto(socket, b"x", flags, &to);
        sent != Err(rustix::io::Errno::NOSYS)
    }

    /// Whether it can have the kernel send slowly what it writes.
    fn paces(connection: &TcpStream) -> bool {
        assert!(connection.set_nodelay(true).is_ok(), "that is allowed");
        let linger = Some(std::time::Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(connection, linger).unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(connection, 1 << 20).is_ok()
    }

    /// Whether it can send a descriptor along.
    fn hands_on(socket: &std::os::unix::net::UnixStream) -> bool {
        use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
        use std::os::fd::AsFd as _;
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let carried = [socket.as_fd()];
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&carried)));
        let data = [std::io::IoSlice::new(b"x")];
        sendmsg(socket, &data, &mut ancillary, SendFlags::empty()).is_ok()
    }
}
