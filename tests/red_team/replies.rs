//! An agent against what comes back: what a service says beside its answer, and
//! channels that nobody reads.

use crate::range::{Range, agent, got_nowhere};
use countersign_testkit::upstream::{Reply, Seen, Upstream};

/// A cookie's value, long enough to be looked for.
const SESSION: &str = "harvested-0123456789";

/// A service that sets a cookie, and repeats what it was sent: all of it, or the
/// cookie alone, in its answer or beside it.
fn careless(seen: &Seen) -> Reply {
    let cookie = seen.header("cookie").unwrap_or_default();
    match seen.path() {
        "/login" => {
            let set = format!("session={SESSION}; Path=/");
            return Reply::status(200).with("set-cookie", &set);
        }
        "/cookie" => {
            let mut reply = Reply::status(200);
            reply.body = cookie.as_bytes().to_vec();
            return reply;
        }
        "/cookie-beside" => return Reply::status(200).with("x-session", cookie),
        _ => {}
    }
    let mut reply = Reply::status(200).with("content-type", "text/plain");
    for (name, value) in &seen.headers {
        reply.body.extend_from_slice(name.as_bytes());
        reply.body.extend_from_slice(b": ");
        reply.body.extend_from_slice(value);
        reply.body.push(b'\n');
    }
    let range = seen.header("range").and_then(|r| {
        let (from, to) = r.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
    });
    if let Some((from, to)) = range {
        let to = reply.body.len().min(to + 1);
        reply.body = reply.body.get(from..to).unwrap_or_default().to_vec();
        reply.status = 206;
    }
    reply
}

#[test]
fn neither_cookies_nor_echoes_nor_slices_of_one_are_harvested() {
    let mut range = Range::new();
    let files = Upstream::start("files.example", careless).unwrap();
    let settings = "hosts = [\"files.example\"]\ncredential = \"bearer\"";
    let section = range.scene.account("files", settings, &files).unwrap();
    let config = range.scene.read_config().unwrap();
    let config = config.replace("[\"mail\"]", "[\"mail\", \"files\"]") + &section;
    range.scene.accept(&config).unwrap();
    let secret = countersign_testkit::random::credential();
    range.scene.set_credential("files", &secret).unwrap();
    let text = range.withstands(agent!("harvest.py"), &[]);
    assert!(!text.contains(&secret), "{text}");
    // What is cut was there to be harvested; what sets a cookie comes without it.
    for heard in [
        "/login 200",
        "/cookie reply-held-credential",
        "/cookie-beside reply-held-credential",
        "/echo reply-held-credential",
    ] {
        assert!(text.contains(&format!("heard {heard}\n")), "{text}");
    }
    let seen = files.seen();
    assert!(seen.iter().any(|seen| seen.bears(&secret)));
    let session = format!("session={SESSION}");
    assert!(
        seen.iter()
            .any(|seen| seen.header("cookie") == Some(&session))
    );
}

#[test]
fn a_websocket_with_the_look_of_a_read_is_asked_for_as_what_it_is() {
    let mut range = Range::new();
    let from = range.scene.authority.screen().len();
    let run = range.launch(agent!("websocket.py"), &[]);
    let block = range
        .scene
        .authority
        .wait_for(" to approve: ", from)
        .unwrap();
    assert!(block.contains("exec"), "{block}");
    range.scene.authority.type_line("no").unwrap();
    got_nowhere(run);
    assert_eq!(range.scene.mailbox.upstream.count(), 0);
}
