//! The file system of a run, built up from nothing, as bubblewrap's options.
//!
//! The root is an empty tmpfs. What a run sees is what is added here: the
//! system read-only, `/etc` by allow-list, an empty home with tool chains
//! read-only, the working folder, and Countersign's own few files. Nobody in a
//! run can change the mounts: that takes a capability that none of them has.

use crate::bundles::{self, Form};
use crate::git::Repository;
use crate::later::Mounts;
use crate::places::{Owner, Places};
use crate::session::memory_file;
use crate::walk::{Found, walk};
use crate::{OwnFile, OwnFolder};
use rustix::fd::{AsRawFd, OwnedFd};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Countersign's own folder in a run.
pub(crate) const OWN: &str = "/run/countersign";
/// The program that holds our init.
pub(crate) const INIT: &str = "/run/countersign/init";
/// The socket for `countersign ask`.
pub(crate) const ASK: &str = "/run/countersign/ask.sock";
/// The run's CA.
pub(crate) const CA_PEM: &str = "/run/countersign/ca.pem";
/// The same as a Java key store.
pub(crate) const CA_JKS: &str = "/run/countersign/ca.jks";

/// Where systems keep the bundle of CAs that programs trust (Debian and Alpine,
/// Fedora, SUSE, OpenSSL's own). The run's CA is all of it: whatever a run can
/// reach is behind it.
const CA_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// The same for Java.
const JAVA_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
];

/// Of `/etc`, if they exist and everybody may read them: what programs need to
/// start and to draw. Nothing that may hold a proxy's password, a registry's
/// token or a machine's identity (`environment`, `npmrc`, `pip.conf`,
/// `machine-id`, `gitconfig`, …).
#[rustfmt::skip]
const ETC: &[&str] = &[
    "alternatives", "bash.bashrc", "crypto-policies", "debian_version", "fonts", "gai.conf",
    "host.conf", "inputrc", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "locale.alias", "localtime",
    "magic", "mailcap", "mime.types", "os-release", "perl", "pki/tls/openssl.cnf", "protocols",
    "services", "shells", "ssl/openssl.cnf", "terminfo", "timezone", "xattr.conf",
    "maven/m2.conf", "maven/logging",
];

/// Of `/etc`, by the beginning of their names: language runtimes.
const ETC_BEGINNING: &[&str] = &["java-", "python", "lsb-release"];

/// Of `/proc`: the kernel's memory, log, symbols and modules, its keys, its
/// hardware, and counters by which one can watch keys being pressed elsewhere.
#[rustfmt::skip]
const MACHINE: &[&str] = &[
    "acpi", "asound", "bus", "driver", "fs", "irq", "scsi", "config.gz", "interrupts", "iomem", "ioports",
    "kallsyms", "kcore", "key-users", "keys", "kmsg", "latency_stats", "modules", "sched_debug",
    "softirqs", "sysrq-trigger", "timer_list",
];

/// Package stores outside `/usr`, whole and read-only; what they hold is public.
const STORES: &[&str] = &["/nix/store", "/gnu/store"];

/// bubblewrap's options, and the memory files that some of them name by number.
pub(crate) struct Layout {
    options: Vec<OsString>,
    files: Vec<OwnedFd>,
}

/// What the layout is made from.
pub(crate) struct Plan<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) places: &'a Places,
    /// The working folder, checked.
    pub(crate) folder: &'a Path,
    /// What lies in it.
    pub(crate) found: &'a Found,
    /// What stands in for what other programs would execute later.
    pub(crate) later: Option<&'a Mounts>,
    /// More folders to read, checked.
    pub(crate) read_only: &'a [PathBuf],
    /// Kept folders and made files, checked.
    pub(crate) own: &'a [OwnFolder],
    pub(crate) files: &'a [OwnFile],
    pub(crate) program: &'a Path,
    pub(crate) ask: Option<&'a Path>,
    pub(crate) ca_pem: &'a str,
    pub(crate) ca_jks: &'a [u8],
    /// Size of each temporary file system.
    pub(crate) temporary_bytes: u64,
    /// The system call filters, in the order in which they are loaded.
    pub(crate) filters: &'a [Vec<u8>],
    /// The inner side of the run's pty, which needs a name in its `/dev`.
    pub(crate) console: Option<&'a Path>,
}

impl Layout {
    /// Writes it all down. Order matters: later mounts cover earlier ones.
    pub(crate) fn of(plan: &Plan<'_>) -> io::Result<Self> {
        let mut layout = Self {
            options: Vec::new(),
            files: Vec::new(),
        };
        layout.namespaces();
        layout.system(plan)?;
        layout.temporary(plan);
        layout.etc(plan)?;
        layout.home(plan);
        layout.working_folder(plan)?;
        layout.bundles(plan)?;
        layout.own_files(plan)?;
        for path in ["/run", "/dev", "/"] {
            layout.add(&["--remount-ro", path]);
        }
        for filter in plan.filters {
            let number = layout.file(filter)?;
            layout.add(&["--add-seccomp-fd", &number]);
        }
        layout.add(&[OsStr::new("--chdir"), plan.folder.as_os_str()]);
        Ok(layout)
    }

    /// The memory files, the options themselves as the last of them, and the
    /// number of that one for `--args`.
    pub(crate) fn into_files(mut self) -> io::Result<(Vec<OwnedFd>, String)> {
        let mut bytes = Vec::new();
        for option in &self.options {
            bytes.extend(option.as_bytes());
            bytes.push(0);
        }
        let number = self.file(&bytes)?;
        Ok((self.files, number))
    }

    fn namespaces(&mut self) {
        for option in [
            "--unshare-user",
            "--disable-userns",
            "--unshare-pid",
            "--unshare-ipc",
            "--unshare-uts",
            "--unshare-cgroup",
            "--unshare-net",
            "--die-with-parent",
            "--new-session",
            "--as-pid-1",
            "--clearenv",
        ] {
            self.add(&[option]);
        }
        self.add(&["--cap-drop", "ALL"]);
        self.add(&["--hostname", "countersign"]);
    }

    fn system(&mut self, plan: &Plan<'_>) -> io::Result<()> {
        self.show(Path::new("/usr"));
        for path in ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"] {
            match Path::new(path).read_link() {
                Ok(target) => {
                    self.add(&[OsStr::new("--symlink"), target.as_os_str(), path.as_ref()]);
                }
                Err(_) if Path::new(path).is_dir() => self.show(Path::new(path)),
                Err(_) => {}
            }
        }
        for store in STORES.iter().map(Path::new).filter(|store| store.is_dir()) {
            self.show(store);
        }
        self.processes()?;
        self.add(&["--dev", "/dev"]);
        if let Some(console) = plan.console {
            self.bind("--dev-bind", console, Path::new("/dev/console"));
        }
        Ok(())
    }

    /// `/proc` of the run's own processes: the kernel's settings read-only, and
    /// without what tells of the machine or of other people.
    fn processes(&mut self) -> io::Result<()> {
        self.add(&["--proc", "/proc"]);
        self.show(Path::new("/proc/sys"));
        for name in MACHINE {
            let path = Path::new("/proc").join(name);
            if path.is_dir() {
                self.add(&["--perms", "0555", "--size", "4096", "--tmpfs"]);
                self.add(&[&path]);
                self.add(&[OsStr::new("--remount-ro"), path.as_os_str()]);
            } else if path.exists() {
                self.lay(&path, b"")?;
            }
        }
        Ok(())
    }

    fn temporary(&mut self, plan: &Plan<'_>) {
        let size = plan.temporary_bytes.to_string();
        for path in ["/tmp", "/var/tmp", "/dev/shm"] {
            self.add(&["--perms", "1777", "--size", &size, "--tmpfs", path]);
        }
        self.add(&["--perms", "0755", "--size", "1048576", "--tmpfs", "/run"]);
        let home = [OsStr::new("--tmpfs"), plan.owner.home.as_os_str()];
        self.add(&["--perms", "0700", "--size", &size]);
        self.add(&home);
    }

    fn etc(&mut self, plan: &Plan<'_>) -> io::Result<()> {
        let etc = Path::new("/etc");
        let by_beginning = etc
            .read_dir()?
            .filter_map(Result::ok)
            .map(|entry| entry.file_name())
            .filter(|name| {
                let name = name.to_string_lossy();
                ETC_BEGINNING
                    .iter()
                    .any(|beginning| name.starts_with(beginning))
            });
        for name in ETC.iter().map(OsString::from).chain(by_beginning) {
            let path = etc.join(name);
            let everybody = |found: std::fs::Metadata| found.permissions().mode() & 0o004 != 0;
            if path.metadata().is_ok_and(everybody) {
                self.show(&path);
            }
        }
        self.add(&["--symlink", "/proc/mounts", "/etc/mtab"]);

        let Owner {
            name,
            uid,
            gid,
            home,
            shell,
            ..
        } = plan.owner;
        let (home, shell) = (home.display(), shell.display());
        let synthesised = [
            (
                "passwd",
                format!(
                    "{name}:x:{uid}:{gid}::{home}:{shell}\n\
                     nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n"
                ),
            ),
            ("group", format!("{name}:x:{gid}:\nnogroup:x:65534:\n")),
            ("hostname", "countersign\n".into()),
            ("hosts", "127.0.0.1 localhost countersign\n::1 localhost\n".into()),
            (
                "resolv.conf",
                "# The gateway of this run, to which every name leads.\n\
                 nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"
                    .into(),
            ),
            (
                "nsswitch.conf",
                "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n".into(),
            ),
        ];
        for (name, content) in synthesised {
            self.lay(&etc.join(name), content.as_bytes())?;
        }
        for bundle in CA_BUNDLES {
            self.lay(Path::new(bundle), plan.ca_pem.as_bytes())?;
        }
        for bundle in JAVA_BUNDLES {
            self.lay(Path::new(bundle), plan.ca_jks)?;
        }
        Ok(())
    }

    fn home(&mut self, plan: &Plan<'_>) {
        for path in plan.read_only {
            self.show(path);
        }
        for own in plan.own {
            let seen = plan.owner.home.join(&own.below_home);
            self.bind("--bind", &own.kept, &seen);
        }
    }

    fn working_folder(&mut self, plan: &Plan<'_>) -> io::Result<()> {
        self.bind("--bind", plan.folder, plan.folder);
        let not_to_be_changed = plan.places.not_to_be_changed_in(plan.folder);
        // A mount point cannot be renamed aside, nor can what holds one by its own name.
        let above: BTreeSet<&Path> = not_to_be_changed
            .iter()
            .flat_map(|path| path.ancestors().skip(1))
            .filter(|above| above.starts_with(plan.folder) && *above != plan.folder)
            .collect();
        for path in above {
            self.bind("--bind", path, path);
        }
        // After the folder: it may hold a tool chain (`~/go`), which stays read-only.
        for (seen, real) in &plan.places.tool_chains {
            self.bind("--ro-bind", real, seen);
        }
        for path in not_to_be_changed {
            self.show(path);
        }
        let repository = match plan.later {
            Some(_) => Repository::default(),
            None => Repository::of(plan.folder),
        };
        for path in &repository.pinned {
            self.bind("--bind", path, path);
        }
        if let Some(later) = plan.later {
            self.add(&["--perms", "0755", "--dir", OWN]);
            for (from, to) in &later.copies {
                self.bind("--bind", from, to);
            }
        }
        let kept = plan.later.map_or(&[][..], |later| &later.read_only);
        for path in repository.read_only.iter().chain(kept) {
            self.show(path);
        }
        let also = plan.later.map_or(&[][..], |later| &later.also_read_only);
        for (from, to) in also {
            self.bind("--ro-bind", from, to);
        }
        for (path, content) in plan.later.map_or(&[][..], |later| &later.files) {
            self.lay(path, content)?;
        }
        let sockets = sockets_of_others(plan)?;
        for path in sockets.into_iter().chain(repository.absent) {
            self.lay(&path, b"")?;
        }
        Ok(())
    }

    /// The run's CA over those that programs bring along, wherever it is that
    /// the run cannot change anything.
    fn bundles(&mut self, plan: &Plan<'_>) -> io::Result<()> {
        let system = ["/usr", "/usr/local", "/usr/lib/jvm"].map(Path::new);
        let mut found = bundles::below(
            system.into_iter().map(|path| (path, path)),
            bundles::OF_SYSTEM,
        );
        let tools = plan.places.tool_chains.iter();
        let also = plan.read_only.iter().map(|path| (path, path));
        let places = tools.map(|(seen, real)| (seen, real)).chain(also);
        found.extend(bundles::below(
            places.map(|(seen, real)| (&**seen, &**real)),
            bundles::OF_TOOLS,
        ));
        for (path, form) in found {
            match form {
                Form::Pem => self.lay(&path, plan.ca_pem.as_bytes())?,
                Form::Java => self.lay(&path, plan.ca_jks)?,
            }
        }
        Ok(())
    }

    fn own_files(&mut self, plan: &Plan<'_>) -> io::Result<()> {
        self.add(&["--perms", "0755", "--dir", OWN]);
        self.bind("--ro-bind", plan.program, Path::new(INIT));
        if let Some(ask) = plan.ask {
            self.bind("--ro-bind", ask, Path::new(ASK));
        }
        self.lay(Path::new(CA_PEM), plan.ca_pem.as_bytes())?;
        self.lay(Path::new(CA_JKS), plan.ca_jks)?;
        for file in plan.files {
            self.lay(&file.path, file.content.as_bytes())?;
        }
        Ok(())
    }

    fn add(&mut self, words: &[impl AsRef<OsStr>]) {
        self.options
            .extend(words.iter().map(|word| word.as_ref().to_owned()));
    }

    fn bind(&mut self, how: &str, from: &Path, to: &Path) {
        self.add(&[how.as_ref(), from.as_os_str(), to.as_os_str()]);
    }

    /// Read-only, at its own path.
    fn show(&mut self, path: &Path) {
        self.bind("--ro-bind", path, path);
    }

    /// A read-only file with this content.
    fn lay(&mut self, path: &Path, content: &[u8]) -> io::Result<()> {
        let number = self.file(content)?;
        self.add(&["--perms", "0444", "--ro-bind-data", &number]);
        self.add(&[path]);
        Ok(())
    }

    fn file(&mut self, content: &[u8]) -> io::Result<String> {
        let file = memory_file(content)?;
        let number = file.as_raw_fd().to_string();
        self.files.push(file);
        Ok(number)
    }
}

/// Sockets in what the run sees of the user's: each leads to whoever listens,
/// outside, and a read-only mount does not keep one from connecting. The working
/// folder is searched, whoever bound them and by whatever name. Of the rest, which
/// is large and where nobody works, the kernel's table is believed, except when
/// it has relative names.
///
/// One that is bound later, while the run goes on, is not among them.
fn sockets_of_others(plan: &Plan<'_>) -> io::Result<BTreeSet<PathBuf>> {
    let mut sockets = plan.found.sockets.clone();
    let chains = plan.places.tool_chains.iter().map(|(_, real)| real);
    let read: Vec<&PathBuf> = plan.read_only.iter().chain(chains).collect();
    let (bound, some_are_relative) = bound_sockets()?;
    let shown = |socket: &PathBuf| {
        socket.starts_with(plan.folder) || read.iter().any(|path| socket.starts_with(path))
    };
    sockets.extend(bound.into_iter().filter(shown));
    if some_are_relative {
        for path in read {
            sockets.extend(walk(path)?.sockets);
        }
    }
    Ok(sockets)
}

/// Unix sockets of the host that have a path and exist now, from the kernel's
/// table, and whether the table also has some by a relative name, which lie
/// nobody knows where.
fn bound_sockets() -> io::Result<(Vec<PathBuf>, bool)> {
    let table = std::fs::read("/proc/net/unix")?;
    // "Num: RefCount Protocol Flags Type St Inode Path"
    let name = |line: &[u8]| {
        let name = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty())
            .nth(7);
        name.is_some_and(|name| !matches!(name.first(), Some(b'/' | b'@')))
    };
    let some_are_relative = table.split(|byte| *byte == b'\n').skip(1).any(name);
    let path = |line: &[u8]| {
        let from = line.iter().position(|byte| *byte == b'/')?;
        let path = PathBuf::from(OsStr::from_bytes(&line[from..]));
        let is_socket = path
            .symlink_metadata()
            .is_ok_and(|found| found.file_type().is_socket());
        is_socket.then(|| path.canonicalize().ok()).flatten()
    };
    let mut paths: Vec<PathBuf> = table
        .split(|byte| *byte == b'\n')
        .filter_map(path)
        .collect();
    paths.sort();
    paths.dedup();
    Ok((paths, some_are_relative))
}
