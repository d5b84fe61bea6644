//! Services that take a credential and send it back in every way they can.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_testkit::upstream::{Ending, Reply, Seen, Upstream};
use std::io;

/// What becomes of a reply at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It holds the credential and is withheld: the agent gets a refusal.
    Withheld,
    /// It is passed on, without the header that held the credential.
    Stripped,
    /// It breaks off.
    Cut,
}
use Fate::{Cut, Stripped, Withheld};

/// The paths, and what the agent must get there.
pub(crate) const PATHS: [(&str, Fate); 19] = [
    ("/raw", Withheld),
    ("/base64-0", Withheld),
    ("/base64-1", Withheld),
    ("/base64-2", Withheld),
    ("/percent", Withheld),
    ("/json", Withheld),
    ("/json-escapes", Withheld),
    ("/hex", Withheld),
    ("/html", Withheld),
    ("/header", Withheld),
    ("/header-base64", Withheld),
    ("/page-of-an-error", Withheld),
    ("/redirect", Withheld),
    ("/cookie", Stripped),
    ("/session", Stripped),
    ("/challenge", Stripped),
    ("/late", Cut),
    ("/dies-after", Cut),
    ("/dies-within", Cut),
];

/// A service for this host. It mints `session` as a cookie at `/session`.
pub(crate) fn start(host: &str, session: &str) -> io::Result<Upstream> {
    let session = session.to_owned();
    Upstream::start(host, move |seen| match presented(seen) {
        Some(secret) => echo(seen, &secret, &session),
        None => Reply::status(401),
    })
}

/// The secret that came, by whichever way it came.
pub(crate) fn presented(seen: &Seen) -> Option<String> {
    if let Some(key) = seen.header("x-key").or_else(|| seen.query("key")) {
        return Some(key.to_owned());
    }
    let (scheme, value) = seen.header("authorization")?.split_once(' ')?;
    match scheme {
        "Bearer" => Some(value.to_owned()),
        "Basic" => {
            let pair = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
            pair.split_once(':')
                .map(|(_, password)| password.to_owned())
        }
        _ => None,
    }
}

fn echo(seen: &Seen, secret: &str, session: &str) -> Reply {
    let each = |write: &dyn Fn(u8) -> String| secret.bytes().map(write).collect::<String>();
    let body = |text: String| {
        let mut reply = Reply::status(200).with("content-type", "text/plain");
        reply.body = text.into_bytes();
        reply
    };
    let filler = |n: usize| "filler ".repeat(n);
    match seen.path() {
        "/raw" => body(format!("you sent {secret}.")),
        "/base64-0" => body(STANDARD.encode(secret)),
        "/base64-1" => body(STANDARD.encode(format!("a{secret}b"))),
        "/base64-2" => body(STANDARD.encode(format!("ab{secret}c"))),
        "/percent" => body(each(&|b| format!("%{b:02X}"))),
        "/json" => Reply::json(200, &serde_json::json!({"you": {"sent": [secret]}})),
        "/json-escapes" => body(format!("\"{}\"", each(&|b| format!("\\u{b:04x}")))),
        "/hex" => body(each(&|b| format!("{b:02x}"))),
        "/html" => body(each(&|b| format!("&#{b};"))),
        "/header" => Reply::status(204).with("x-echo", secret),
        "/header-base64" => body(String::new()).with("x-echo", &STANDARD.encode(secret)),
        "/page-of-an-error" => Reply {
            status: 500,
            ..body(format!("<h1>Error</h1>token={secret}"))
        },
        "/redirect" => {
            let to = format!("https://{}/elsewhere?key={secret}", "elsewhere.example");
            Reply::status(302).with("location", &to)
        }
        "/cookie" => body("ok".into()).with("set-cookie", &format!("echo={secret}; Path=/cookie")),
        "/session" => body("ok".into()).with("set-cookie", &format!("s={session}; Path=/session")),
        "/challenge" => {
            let realm = format!("Bearer realm=\"{secret}\"");
            Reply::status(401).with("www-authenticate", &realm)
        }
        "/late" => body(format!("{}{secret}", filler(40_000))),
        // The first half of the body is all that comes of these.
        "/dies-after" => body(format!("{secret}{}", filler(2000))).ending(Ending::Dies),
        "/dies-within" => {
            let around = filler(2000);
            body(format!("{around}{secret}{around}")).ending(Ending::Dies)
        }
        _ => body("hello".into()),
    }
}
