//! Programs that know nothing of proxies, contained: they look names up, connect
//! to what they are told, and are judged like any other.

#![allow(clippy::unwrap_used, clippy::panic)] // a test that cannot go on has failed

use countersign_testkit::Scene;
use countersign_testkit::scene::said;
use std::time::{Duration, Instant};

const HOST: &str = "gmail.googleapis.com";

/// Python without a proxy: each case prints its name and what came of it.
const PROGRAM: &str = r#"
import http.client, socket, ssl, struct
HOST = 'gmail.googleapis.com'
LIST = '/gmail/v1/users/me/messages?maxResults=5'
trusting = ssl.create_default_context()
def case(name, do):
    try:
        print(name, do(), flush=True)
    except Exception as e:
        print(name, type(e).__name__, e, flush=True)
def get(kind, host, path=LIST, **more):
    c = kind(host, timeout=20, **more)
    c.request('GET', path)
    r = c.getresponse()
    return r.status, r.read().decode()
def tls(host, sni, port=443):
    s = socket.create_connection((host, port), timeout=20)
    ssl.create_default_context().wrap_socket(s, server_hostname=sni)
    return 'agreed'
def unnamed():
    blind = ssl._create_unverified_context()
    s = blind.wrap_socket(socket.create_connection((HOST, 443), timeout=20))
    s.sendall(f'GET {LIST} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n'.encode())
    return s.recv(15).decode()
def raw(data):
    s = socket.create_connection((HOST, 443), timeout=20)
    s.sendall(data)
    return s.recv(100)
def by_tcp(name):
    s = socket.create_connection(('127.0.0.1', 53), timeout=20)
    q = b'\0\7\1\0\0\1\0\0\0\0\0\0' + b''.join(bytes([len(l)]) + l.encode() for l in name.split('.')) + b'\0\0\1\0\1'
    s.sendall(struct.pack('>H', len(q)) + q)
    length = struct.unpack('>H', s.recv(2))[0]
    return s.recv(length)[-4:] == socket.inet_aton(socket.gethostbyname(name))

https, http = http.client.HTTPSConnection, http.client.HTTPConnection
case('read', lambda: get(https, HOST, context=trusting))
case('unnamed', unnamed)
case('address', lambda: socket.gethostbyname(HOST) == socket.gethostbyname(HOST.upper()))
case('families', lambda: sorted({f.name for f, *_ in socket.getaddrinfo(HOST, 443)}))
case('by-tcp', lambda: by_tcp(HOST))
case('stranger', lambda: get(https, 'not-assigned.example', context=trusting))
case('stranger-plain', lambda: get(http, 'not-assigned.example'))
case('plain', lambda: get(http, HOST))
case('other-name', lambda: tls(HOST, 'not-assigned.example'))
case('borrowed-address', lambda: tls('not-assigned.example', HOST))
case('nameless', lambda: tls('198.18.77.77', HOST))
case('nameless-plain', lambda: get(http, '198.18.77.77'))
case('loopback', lambda: tls('127.0.0.1', HOST))
case('literal', lambda: tls('192.0.2.1', HOST))
case('wrong-port', lambda: socket.create_connection((HOST, 8443), timeout=20))
case('garbage', lambda: raw(b'\0\1\2\3garbage'))
def websocket():
    s = trusting.wrap_socket(socket.create_connection((HOST, 443), timeout=30), server_hostname=HOST)
    s.sendall((f'GET /feed HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n'
               'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n').encode())
    return s.recv(1000).decode().split()[1]
case('websocket', websocket)
case('invalid', lambda: socket.gethostbyname('a.invalid'))
print('capabilities', [l.split()[1] for l in open('/proc/self/status') if l.startswith('Cap')])
print('inits', [l.split()[1] for l in open('/proc/1/status') if l.startswith('Cap')])
"#;

#[test]
fn a_program_that_ignores_proxies_is_judged_like_any_other_and_told_why_not() {
    let mut scene = Scene::start(3).unwrap();
    let began = Instant::now();
    let from = scene.authority.screen().len();
    let program = ["env", "-i", "PATH=/usr/bin", "python3", "-c", PROGRAM];
    let agent = scene.run(&program).unwrap();
    // The WebSocket is asked about, like any.
    let asked = scene.authority.wait_for(" to approve: ", from).unwrap();
    assert!(asked.contains("WebSocket"), "{asked}");
    scene.authority.type_line("n").unwrap();
    let output = agent.wait_with_output().unwrap();
    let told = said(&output);
    assert!(output.status.success(), "{told}");
    assert!(began.elapsed() < Duration::from_secs(15), "{told}");
    let of = |case: &str| {
        let begin = format!("{case} ");
        let line = told.lines().find_map(|line| line.strip_prefix(&begin));
        line.unwrap_or_else(|| panic!("no {case}: {told}"))
            .to_owned()
    };
    let has = |case: &str, text: &str| {
        let found = of(case);
        assert!(found.contains(text), "{case}: {found}");
    };
    has("read", "(200, ");
    has("read", "\"messages\"");
    has("unnamed", "HTTP/1.1 200 OK");
    has("address", "True");
    has("families", "['AF_INET']");
    has("by-tcp", "True");
    // What is neither account nor site, and what does not agree.
    for case in [
        "stranger",
        "other-name",
        "borrowed-address",
        "nameless",
        "loopback",
    ] {
        has(case, "ACCESS_DENIED");
    }
    has("stranger-plain", "(403, ");
    has("stranger-plain", "not-assigned");
    has("plain", "Plain http is not allowed for this account");
    has("nameless-plain", "No name was looked up");
    has("literal", "Network is unreachable");
    has("wrong-port", "ConnectionRefusedError");
    let garbage = of("garbage");
    let ended = garbage == "b''" || garbage.starts_with("ConnectionReset");
    assert!(ended, "{garbage}");
    has("websocket", "403");
    has("invalid", "Name or service not known");
    let none = "['0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000', '0000000000000000']";
    assert_eq!(of("capabilities"), none);
    assert_eq!(of("inits"), none);

    let seen = scene.mailbox.upstream.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(seen.iter().all(|s| s.bears(&scene.credential)));
    let timeline = said(&scene.countersign(&["timeline"]).unwrap());
    for refused in [
        "a connection to not-assigned.example:443",
        &format!("a connection to {HOST}:443"),
        "port 443 of an address without a name",
        "GET http://not-assigned.example:80",
        "http://an-address-without-a-name:80",
    ] {
        assert!(timeline.contains(refused), "{refused}: {timeline}");
    }
}

/// Node's fetch, which knows no proxy; and c-ares, which Node has beside the C
/// library's resolver.
const FETCH: &str = r"
import { resolve4, resolve6 } from 'node:dns/promises';
console.log('c-ares', await resolve4('gmail.googleapis.com'), await resolve6('gmail.googleapis.com').catch((e) => e.code));
const get = async (url, options) => {
  try {
    const r = await fetch(url, options);
    console.log(r.status, await r.text());
  } catch (e) {
    console.log(e.cause?.code ?? e.message);
  }
};
await get('https://gmail.googleapis.com/gmail/v1/users/me/messages?maxResults=5');
await get('https://not-assigned.example/');
await get('https://gmail.googleapis.com/gmail/v1/users/me/messages/ID/trash', { method: 'POST' });
";

#[test]
fn nodes_fetch_reads_alone_asks_to_delete_and_is_denied_clearly() {
    let mut scene = Scene::start(3).unwrap();
    let from = scene.authority.screen().len();
    let program = FETCH.replace("ID", &scene.mailbox.ids()[0]);
    let folder = scene.work().unwrap();
    let person = scene.desktop.person();
    person.write(&folder.join("fetch.mjs"), &program).unwrap();
    let agent = scene.run(&["node", "fetch.mjs"]).unwrap();
    scene.authority.wait_for("Approve? [y/N] ", from).unwrap();
    scene.authority.type_line("n").unwrap();
    let output = agent.wait_with_output().unwrap();
    let told = said(&output);
    let lines: Vec<&str> = told.lines().collect();
    assert!(
        told.contains("200 {") && told.contains("\"messages\""),
        "{told}"
    );
    assert!(told.contains("c-ares [ '198.18.0.1' ] ENODATA"), "{told}");
    assert!(told.contains("ERR_SSL_TLSV1_ALERT_ACCESS_DENIED"), "{told}");
    let last = lines.last().copied().unwrap_or_default();
    assert!(
        last.starts_with("403 ") && last.contains("denied-by-human"),
        "{told}"
    );
    assert_eq!(scene.mailbox.trashed(), 0);
}

/// Asks musl's resolver, which asks for both families at once.
const MUSL: &str = r#"
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
int main(int count, char **names) {
    for (int n = 1; n < count; n++) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
        int failed = getaddrinfo(names[n], "443", &hints, &found);
        if (failed) { printf("%s\n", gai_strerror(failed)); continue; }
        for (; found; found = found->ai_next)
            printf("%d %s\n", found->ai_family == AF_INET, inet_ntoa(((struct sockaddr_in *)found->ai_addr)->sin_addr));
    }
}
"#;

#[test]
fn musls_resolver_is_answered_too() {
    let scene = Scene::start(3).unwrap();
    let folder = scene.work().unwrap();
    let person = scene.desktop.person();
    person.write(&folder.join("resolve.c"), MUSL).unwrap();
    let script =
        format!("musl-gcc -static -o resolve resolve.c && ./resolve {HOST} localhost a.invalid");
    let told = scene.script(&script).unwrap();
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], "1 198.18.0.1", "{told}");
    assert!(lines.contains(&"1 127.0.0.1"), "{told}");
    assert_eq!(lines.last(), Some(&"Name does not resolve"), "{told}");
}
