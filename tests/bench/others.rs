//! The proxies that are measured beside ours: squid and mitmproxy, each with a
//! CA of its own, each intercepting TLS, neither writing down what passes.

use crate::origin::{Ca, Origin};
use countersign_testkit::{Desktop, random};
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where Debian and Ubuntu put squid and its maker of certificates.
const SQUID: &str = "/usr/sbin/squid";
const CERTGEN: &str = "/usr/lib/squid/security_file_certgen";
const SHARED: &str = "/dev/shm";
const READY: Duration = Duration::from_secs(60);

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// The file of the CA that its clients must trust.
    pub(crate) ca: PathBuf,
    /// What it calls itself.
    pub(crate) version: String,
    /// Ended when dropped; squid ends with the desktop that it runs at.
    child: Option<Child>,
    /// What the names of squid's shared memory begin with: it is left there when
    /// squid has no time to end in order.
    shared: Option<String>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ended_already = child.kill();
            let _ended = child.wait();
        }
        if let Some(name) = &self.shared {
            for entry in fs::read_dir(SHARED).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(name) {
                    let _gone_already = fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// squid with ssl-bump: one worker, no access log, no cache, certificates made
/// as they are needed. It runs as the desktop's person, for it refuses to be root.
pub(crate) fn squid(desktop: &mut Desktop, origin: &Origin) -> io::Result<Proxy> {
    let folder = desktop.path("squid");
    let port = free_port()?;
    let ca = Ca::new("CA of squid").map_err(io::Error::other)?;
    let (at, pem, far) = (
        folder.display(),
        folder.join("ca.pem"),
        folder.join("origin.pem"),
    );
    let person = desktop.person();
    person.write(&pem, format!("{}{}", ca.certificate, ca.key))?;
    person.write(&far, &origin.ca_pem)?;
    person.write(&folder.join("hosts"), "127.0.0.1 localhost\n")?;
    let config = format!(
        "http_port 127.0.0.1:{port} ssl-bump tls-cert={at}/ca.pem generate-host-certificates=on dynamic_cert_mem_cache_size=4MB\n\
         sslcrtd_program {CERTGEN} -s {at}/certificates -M 4MB\n\
         sslcrtd_children 1\n\
         ssl_bump bump all\n\
         tls_outgoing_options cafile={at}/origin.pem\n\
         http_access allow localhost\n\
         http_access deny all\n\
         workers 1\n\
         cache deny all\n\
         access_log none\n\
         cache_store_log none\n\
         cache_log {at}/cache.log\n\
         pid_filename none\n\
         netdb_filename none\n\
         pinger_enable off\n\
         hosts_file {at}/hosts\n\
         coredump_dir {at}\n\
         visible_hostname localhost\n\
         shutdown_lifetime 0 seconds\n"
    );
    person.write(&folder.join("squid.conf"), config)?;
    let certificates = format!("{at}/certificates");
    desktop.must(CERTGEN, &["-c", "-s", &certificates, "-M", "4MB"])?;
    let config = format!("{at}/squid.conf");
    // A name of its own, so that it shares nothing with another squid.
    let name = format!("bench{}", random::hex::<4>());
    desktop.background("squid", SQUID, &["-N", "-n", &name, "-f", &config])?;
    answers(port).map_err(|e| {
        let log = fs::read_to_string(folder.join("cache.log")).unwrap_or_default();
        io::Error::other(format!("squid: {e}: {}\n{log}", desktop.log("squid")))
    })?;
    Ok(Proxy {
        port,
        ca: pem,
        version: first_line(Command::new(SQUID).arg("-v")),
        child: None,
        shared: Some(name),
    })
}

/// mitmdump with an addon that does nothing.
pub(crate) fn mitmproxy(program: &Path, folder: &Path, origin: &Origin) -> io::Result<Proxy> {
    fs::create_dir_all(folder)?;
    let port = free_port()?;
    let far = folder.join("origin.pem");
    fs::write(&far, &origin.ca_pem)?;
    let addon = folder.join("nothing.py");
    fs::write(&addon, "def request(flow):\n    pass\n")?;
    let log = fs::File::create(folder.join("log"))?;
    let child = Command::new(program)
        .args(["--quiet", "--listen-host", "127.0.0.1"])
        .args(["--listen-port", &port.to_string()])
        .args(["--set", "http2=false"])
        .arg("--set")
        .arg(format!("confdir={}", folder.display()))
        .arg("--set")
        .arg(format!("ssl_verify_upstream_trusted_ca={}", far.display()))
        .arg("--scripts")
        .arg(&addon)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|e| io::Error::other(format!("{}: {e}", program.display())))?;
    let proxy = Proxy {
        port,
        ca: folder.join("mitmproxy-ca-cert.pem"),
        version: first_line(Command::new(program).arg("--version")),
        child: Some(child),
        shared: None,
    };
    answers(port).map_err(|e| {
        let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
        io::Error::other(format!("mitmdump: {e}: {log}"))
    })?;
    Ok(proxy)
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn answers(port: u16) -> io::Result<()> {
    let until = Instant::now() + READY;
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(()),
            Err(e) if Instant::now() > until => return Err(e),
            Err(_) => sleep(Duration::from_millis(50)),
        }
    }
}

fn first_line(command: &mut Command) -> String {
    let said = command.output().map(|o| o.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    said.lines().next().unwrap_or_default().trim().to_owned()
}
