//! No network but the gateway.

use crate::stage::{PROBE, Stage, random};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::{Duration, Instant};

/// The run's port.
const PORT: &str = "127.0.0.1:3128";

#[test]
fn there_is_no_way_to_the_internet_and_that_is_known_at_once() {
    let stage = Stage::new();
    let began = Instant::now();
    // Addresses of documentation (RFC 5737, RFC 3849): there is no route at all.
    let ran = stage.run(&[
        PROBE,
        "tcp",
        "192.0.2.1:443",
        "[2001:db8::1]:443",
        "169.254.169.254:80",
    ]);
    ran.assert_refused("192.0.2.1:443", libc::ENETUNREACH);
    ran.assert_refused("169.254.169.254:80", libc::ENETUNREACH);
    assert_ne!(ran.finding("[2001:db8::1]:443"), "ok");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_hosts_loopback_is_out_of_reach() {
    let stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    stage
        .run(&[PROBE, "tcp", &address])
        .assert_refused(&address, libc::ECONNREFUSED);
}

#[test]
fn abstract_sockets_of_the_host_are_out_of_reach() {
    let stage = Stage::new();
    let name = random();
    let _listener =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    stage
        .run(&[PROBE, "abstract", &name])
        .assert_refused(&name, libc::ECONNREFUSED);
}

#[test]
fn the_port_carries_both_ways_and_the_end_of_one_leaves_the_other_open() {
    let stage = Stage::new();
    let ran = stage.run(&[PROBE, "through-the-port", "700000"]);
    assert_eq!(ran.output, "1400000\n", "{ran:?}");
}

#[test]
fn what_connects_before_anyone_accepts_waits() {
    let stage = Stage::new();
    let sent = stage.folder.join("sent").display().to_string();
    let port = format!("port={sent}");
    let ran = stage.run_with(&[port], &[PROBE, "through-the-port", "1000", &sent]);
    assert_eq!(ran.output, "2000\n", "{ran:?}");
}

#[test]
fn a_port_that_nobody_serves_is_refused_at_once_and_never_hangs() {
    let stage = Stage::new();
    let began = Instant::now();
    let ran = stage.run_with(&["port=closed".into()], &[PROBE, "tcp", PORT]);
    ran.assert_refused(PORT, libc::ECONNREFUSED);
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_run_cannot_listen_in_the_place_of_its_gateway() {
    let stage = Stage::new();
    let ran = stage.run(&[PROBE, "listen", PORT, "0.0.0.0:3128", "127.0.0.1:3129"]);
    ran.assert_refused(PORT, libc::EADDRINUSE);
    ran.assert_refused("0.0.0.0:3128", libc::EADDRINUSE);
    assert_eq!(ran.finding("127.0.0.1:3129"), "ok");
}

#[test]
fn a_run_whose_port_cannot_be_handed_over_does_not_begin() {
    let stage = Stage::new();
    for mode in [None, Some("uncontained=yes".to_owned())] {
        let options: Vec<String> = mode.into_iter().chain(["port=failed".into()]).collect();
        let ran = stage.run_with(&options, &["/usr/bin/touch", "began"]);
        assert_eq!(ran.code, Some(99), "{ran:?}");
        assert!(ran.errors.contains("cannot hand the run over"), "{ran:?}");
        assert!(!stage.folder.join("began").exists(), "{options:?}");
    }
}

#[test]
fn the_gateway_is_reached_by_its_ports_and_by_no_socket_that_carries_descriptors() {
    let stage = Stage::new();
    let gateway = stage.gateway.display().to_string();
    let ran = stage.run(&[PROBE, "unix", "/run/countersign/gateway.sock", &gateway]);
    for socket in ["/run/countersign/gateway.sock", &gateway] {
        assert_eq!(ran.finding(socket), libc::ENOENT.to_string(), "{ran:?}");
    }
}

#[test]
fn without_its_gateway_a_run_resolves_no_name_and_that_is_known_at_once() {
    let stage = Stage::new();
    let began = Instant::now();
    let ran = stage.shell(
        "getent hosts upstream.example; echo $?; getent hosts localhost >/dev/null; echo $?",
    );
    assert_eq!(ran.output, "2\n0\n", "{ran:?}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_runs_ca_lies_over_the_systems() {
    let stage = Stage::new();
    let ran = stage.shell(
        "cmp $SSL_CERT_FILE /etc/ssl/certs/ca-certificates.crt && cat $SSL_CERT_FILE; \
         head -c 4 /etc/ssl/certs/java/cacerts | od -An -tx1",
    );
    assert_eq!(
        ran.output, "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n fe ed fe ed\n",
        "{ran:?}"
    );
}

#[test]
fn the_runs_ca_lies_over_those_that_tools_bring_along_but_not_in_the_working_folder() {
    let stage = Stage::new();
    let certifi = "lib/python3.12/site-packages/certifi/cacert.pem";
    let of_user = stage.home.join(".local").join(certifi);
    let of_tool = stage
        .home
        .join(".local/share/pipx/venvs/tool")
        .join(certifi);
    let of_java = stage
        .home
        .join(".sdkman/candidates/java/21/lib/security/cacerts");
    let of_project = stage.folder.join("venv").join(certifi);
    for bundle in [&of_user, &of_tool, &of_java, &of_project] {
        stage.write(bundle, "old\n");
    }
    let ran = stage.shell(&format!(
        "cmp $SSL_CERT_FILE {} && cmp $SSL_CERT_FILE {} && head -c 4 {} | od -An -tx1; cat {}; rm -r venv && echo removed",
        of_user.display(),
        of_tool.display(),
        of_java.display(),
        of_project.display(),
    ));
    assert_eq!(ran.output, " fe ed fe ed\nold\nremoved\n", "{ran:?}");
    assert_eq!(std::fs::read_to_string(of_user).unwrap(), "old\n");
}
