//! What a hostile agent tries from inside a run.

use std::error::Error;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

type Done = Result<ExitCode, Box<dyn Error>>;

pub(crate) fn run(attack: &str, arguments: &[String]) -> Done {
    match attack {
        "environment" => environment(),
        "descriptors" => descriptors(),
        "calls" => calls(),
        "read" => each(arguments, |path| std::fs::read(path).map(drop)),
        "write" => each(arguments, |path| std::fs::write(path, "x")),
        "every-socket" => every_socket(),
        "unix" => each(arguments, |path| UnixStream::connect(path).map(drop)),
        "abstract" => each(arguments, |name| {
            UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?).map(drop)
        }),
        "tcp" => each(arguments, |address| {
            let address = address.parse().map_err(io::Error::other)?;
            TcpStream::connect_timeout(&address, Duration::from_secs(5)).map(drop)
        }),
        "through-the-port" => through_the_port(arguments),
        "listen" => each(arguments, |address| TcpListener::bind(address).map(drop)),
        "set-user-id" => set_user_id(),
        "terminal" => terminal(),
        "storm" => storm(arguments),
        "stay" => stay(),
        _ => Err(format!("unknown attack {attack}").into()),
    }
}

fn finding(name: &str, result: &io::Result<()>) {
    match result {
        Ok(()) => println!("{name}: ok"),
        Err(error) => println!("{name}: {}", error.raw_os_error().unwrap_or(-1)),
    }
}

fn each(targets: &[String], attack: impl Fn(&str) -> io::Result<()>) -> Done {
    for target in targets {
        finding(target, &attack(target));
    }
    Ok(ExitCode::SUCCESS)
}

/// Looks for sockets everywhere, and for what answers by the name of one.
fn every_socket() -> Done {
    let mut folders = vec![std::path::PathBuf::from("/")];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let (path, Ok(kind)) = (entry.path(), entry.file_type()) else {
                continue;
            };
            let is_process = path.starts_with("/proc") || path.starts_with("/usr");
            if kind.is_dir() && !is_process {
                folders.push(path);
                continue;
            }
            let is_called_one = path.extension().is_some_and(|name| name == "sock");
            if (kind.is_socket() || is_called_one) && UnixStream::connect(&path).is_ok() {
                println!("{}: ok", path.display());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn environment() -> Done {
    for (name, value) in std::env::vars() {
        println!("{name}={value}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Every open descriptor but the one that lists them.
fn descriptors() -> Done {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let path = format!("/proc/self/fd/{}", name.to_string_lossy());
        let target = std::fs::read_link(path)?;
        if !target.ends_with("fd") {
            println!("{} {}", name.to_string_lossy(), target.display());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// System calls that the filter refuses, with arguments that would otherwise
/// succeed or fail in another way than with `EPERM`.
fn calls() -> Done {
    const VSOCK_STREAM: [i64; 3] = [libc::AF_VSOCK as i64, libc::SOCK_STREAM as i64, 0];
    let flags = |flags: libc::c_int| [i64::from(flags), 0, 0];
    let netlink = |protocol: libc::c_int| {
        [
            i64::from(libc::AF_NETLINK),
            i64::from(libc::SOCK_RAW),
            i64::from(protocol),
        ]
    };
    let typing = [0, libc::TIOCSTI as i64, c"x".as_ptr() as i64];
    // Bits above the 32 that the kernel looks at must not hide the request.
    let typing_widened = [0, libc::TIOCSTI as i64 | 1 << 32, c"x".as_ptr() as i64];
    let attempts: &[(&str, libc::c_long, [i64; 3])] = &[
        ("vsock", libc::SYS_socket, VSOCK_STREAM),
        (
            "packet",
            libc::SYS_socket,
            [i64::from(libc::AF_PACKET), 3, 0],
        ),
        ("alg", libc::SYS_socket, [i64::from(libc::AF_ALG), 5, 0]),
        (
            "netlink-audit",
            libc::SYS_socket,
            netlink(libc::NETLINK_AUDIT),
        ),
        (
            "netlink-route",
            libc::SYS_socket,
            netlink(libc::NETLINK_ROUTE),
        ),
        ("typing", libc::SYS_ioctl, typing),
        ("typing-widened", libc::SYS_ioctl, typing_widened),
        ("typing-console", libc::SYS_ioctl, [0, 0x541C, 0]),
        ("line-discipline", libc::SYS_ioctl, [0, 0x5423, 0]),
        ("time-namespace", libc::SYS_unshare, [0x80, 0, 0]),
        (
            "readable-is-executable",
            libc::SYS_personality,
            [0x0040_0000, 0, 0],
        ),
        ("personality", libc::SYS_personality, [0xFFFF_FFFF, 0, 0]),
        (
            "sctp",
            libc::SYS_socket,
            [i64::from(libc::AF_INET), 1, i64::from(libc::IPPROTO_SCTP)],
        ),
        (
            "udp",
            libc::SYS_socket,
            [i64::from(libc::AF_INET), 2, i64::from(libc::IPPROTO_UDP)],
        ),
        (
            "user-namespace",
            libc::SYS_unshare,
            flags(libc::CLONE_NEWUSER),
        ),
        (
            "mount-namespace",
            libc::SYS_unshare,
            flags(libc::CLONE_NEWNS),
        ),
        (
            "clone-user",
            libc::SYS_clone,
            flags(libc::CLONE_NEWUSER | libc::SIGCHLD),
        ),
        ("clone3", libc::SYS_clone3, [0, 0, 0]),
        (
            "trace",
            libc::SYS_ptrace,
            [libc::PTRACE_ATTACH as i64, 1, 0],
        ),
        ("memory", libc::SYS_process_vm_readv, [1, 0, 0]),
        ("keys", libc::SYS_keyctl, [0, -3, 0]),
        ("bpf", libc::SYS_bpf, [0, 0, 0]),
        ("perf", libc::SYS_perf_event_open, [0, 0, 0]),
        ("faults", libc::SYS_userfaultfd, [0, 0, 0]),
        ("ring", libc::SYS_io_uring_setup, [1, 0, 0]),
        ("mount", libc::SYS_mount, [0, 0, 0]),
        ("handles", libc::SYS_open_by_handle_at, [0, 0, 0]),
        ("descriptors", libc::SYS_pidfd_getfd, [0, 0, 0]),
        ("name-to-handle", libc::SYS_name_to_handle_at, [0, 0, 0]),
        ("kernel", libc::SYS_kexec_load, [0, 0, 0]),
        // Not on the list: these exist in the kernel, and not in a run.
        ("old-rings", libc::SYS_io_setup, [1, 0, 0]),
        ("hidden-memory", libc::SYS_memfd_secret, [0, 0, 0]),
        ("call-of-the-future", 4095, [0, 0, 0]),
    ];
    for (name, call, arguments) in attempts {
        finding(name, &call_kernel(*call, *arguments));
    }
    #[cfg(target_arch = "x86_64")]
    finding(
        "x32",
        &call_kernel(0x4000_0000 | libc::SYS_getpid, [0, 0, 0]),
    );
    Ok(ExitCode::SUCCESS)
}

fn call_kernel(number: libc::c_long, [a, b, c]: [i64; 3]) -> io::Result<()> {
    #[allow(unsafe_code, reason = "an attack makes raw system calls")]
    // SAFETY: every call is expected to be refused; if one is not, its pointer
    // arguments are null or a readable constant, and a child that a clone makes
    // goes on as a copy of this single-threaded program.
    let result = unsafe { libc::syscall(number, a, b, c, 0, 0, 0) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// `through-the-port LENGTH [SENT]`: sends so many bytes to the proxy that the
/// environment names, ends that way, makes the file SENT, and counts what comes
/// back until its end.
fn through_the_port(arguments: &[String]) -> Done {
    let length: usize = arguments.first().ok_or("LENGTH expected")?.parse()?;
    let proxy = std::env::var("HTTPS_PROXY")?;
    let address = proxy.strip_prefix("http://").ok_or("no proxy")?;
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&vec![b'x'; length])?;
    stream.shutdown(Shutdown::Write)?;
    if let Some(sent) = arguments.get(1) {
        std::fs::write(sent, "")?;
    }
    let mut back = Vec::new();
    stream.read_to_end(&mut back)?;
    println!("{}", back.len());
    Ok(ExitCode::SUCCESS)
}

/// Files that would make whoever starts them this user.
fn set_user_id() -> Done {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
    std::fs::write("plain", "")?;
    for bit in [0o4000, 0o2000] {
        let mode = std::fs::Permissions::from_mode(0o755 | bit);
        finding("set", &std::fs::set_permissions("plain", mode.clone()));
        let open = std::fs::File::open("plain")?;
        finding("set-open", &open.set_permissions(mode));
        let made = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755 | bit)
            .open("made");
        finding("made", &made.map(drop));
        let folder = std::fs::DirBuilder::new()
            .mode(0o755 | bit)
            .create("folder");
        finding("folder", &folder);
    }
    Ok(ExitCode::SUCCESS)
}

fn terminal() -> Done {
    println!(
        "terminals: {} {} {}",
        io::stdin().is_terminal(),
        io::stdout().is_terminal(),
        io::stderr().is_terminal()
    );
    let size = rustix::termios::tcgetwinsize(io::stdin());
    println!("size: {:?}", size.map(|size| (size.ws_col, size.ws_row)));
    println!("controlling: {}", std::fs::File::open("/dev/tty").is_ok());
    Ok(ExitCode::SUCCESS)
}

/// `storm COUNT READY TOKEN`: so many processes, each forked twice, in a session
/// of its own, deaf to signals; then the file READY; then it stays.
fn storm(arguments: &[String]) -> Done {
    let [count, ready, token] = arguments else {
        return Err("COUNT READY TOKEN expected".into());
    };
    let itself = std::env::current_exe()?;
    let script = r#"trap "" HUP INT TERM; (setsid "$0" stay "$1" </dev/null >/dev/null 2>&1 &)"#;
    for _ in 0..count.parse::<u32>()? {
        let started = Command::new("/bin/sh")
            .args(["-c", script])
            .args([itself.as_os_str(), token.as_ref()])
            .stdin(Stdio::null())
            .status()?;
        if !started.success() {
            return Err("cannot fork".into());
        }
    }
    std::fs::write(ready, "")?;
    stay()
}

/// Stays for a minute at most.
fn stay() -> Done {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(ExitCode::SUCCESS)
}
