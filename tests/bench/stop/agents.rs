//! The agents that are stopped: processes that write the time for as long as they
//! run, each with requests in flight that never end; and one that got away, and
//! asks again and again.

use super::clock;
use crate::machine;
use crate::wire::{Fault, Way};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

/// Nobody is asked.
pub(crate) const RULE: &str =
    "permit (principal, action, resource) when { principal.accounts.contains(resource) };\n";

/// The folder in each run's working folder in which its processes write and read.
pub(crate) const BOARD: &str = "board";
/// What the file of each process in it begins with.
pub(crate) const BEAT: &str = "beat-";
/// A file of one byte: how fast they write.
pub(crate) const PACE: &str = "board/pace";
pub(crate) const SLOW: u8 = b'0';
pub(crate) const FULL: u8 = b'1';
/// Why requests ended.
pub(crate) const TOLD: &str = "board/told";
/// What the one that got away was answered.
pub(crate) const PROBED: &str = "board/probed";

const SLOW_BEAT: Duration = Duration::from_millis(20);
const FULL_BEAT: Duration = Duration::from_millis(5);
/// Between two pieces of what streams.
pub(super) const PIECE_EVERY: Duration = Duration::from_millis(100);
/// So many refusals are enough.
const REFUSALS: usize = 50;

/// Ten of 25 are uploads, ten are replies, five are WebSockets.
const KINDS: [Kind; 5] = [Kind::Up, Kind::Down, Kind::Up, Kind::Down, Kind::Tunnel];

#[derive(Debug, Clone, Copy)]
enum Kind {
    Up,
    Down,
    Tunnel,
}

/// The processes of one run, of which this is one.
pub(crate) fn crowd(run: &str, processes: usize, each: usize) -> Result<Value, Fault> {
    let itself = std::env::current_exe()?;
    for index in 1..processes {
        Command::new(&itself)
            .args(["crowd-member", run, &index.to_string(), &each.to_string()])
            .spawn()?;
    }
    member(run, 0, each)
}

/// One of them, for ever.
pub(crate) fn member(run: &str, index: usize, each: usize) -> Result<Value, Fault> {
    let beats = File::create(Path::new(BOARD).join(format!("{BEAT}{run}-{index}")))?;
    let pace = File::open(PACE)?;
    // Every processor has something to do, and no more: what never runs would not be
    // seen to stop.
    let never_sleeps = index == 0 && run.parse::<usize>()? < machine::processors();
    std::thread::spawn(move || beat(&beats, &pace, never_sleeps));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let way = |host: &str, path: &str| Way::from_environment(&format!("https://{host}{path}"));
        let up = way(
            "uploads.github.com",
            "/repos/octo/tales/releases/1/assets?name=large.bin",
        )?;
        let down = way("api.github.com", "/repos/octo/tales/issues/1")?;
        let kinds = KINDS.into_iter().cycle().take(each);
        // One after the other, so that it is the stop that is measured and not a
        // thousand handshakes at once.
        let first: usize = run.parse::<usize>()? * 50 + index * each;
        let turn = |number: usize| Duration::from_millis(3 * (first + number) as u64);
        let tasks: Vec<_> = kinds
            .zip((0..).map(turn))
            .map(|(kind, turn)| {
                let way = match kind {
                    Kind::Up => up.clone(),
                    Kind::Down | Kind::Tunnel => down.clone(),
                };
                tokio::spawn(async move {
                    loop {
                        sleep(turn).await;
                        // It is cut, or could not be made yet.
                        if let Err(why) = hold(kind, &way).await {
                            tell(&format!("{kind:?}: {why}\n"));
                        }
                    }
                })
            })
            .collect();
        // For as long as this process runs: one that ends is missed at the far side.
        let _all = tasks;
        std::future::pending().await
    })
}

/// Writes the time for as long as this process runs.
fn beat(into: &File, pace: &File, never_sleeps: bool) -> io::Result<()> {
    loop {
        into.write_all_at(&clock::now().to_le_bytes(), 0)?;
        let mut byte = [SLOW];
        let _stays_slow = pace.read_at(&mut byte, 0);
        match byte {
            [FULL] if never_sleeps => {}
            [FULL] => std::thread::sleep(FULL_BEAT),
            _ => std::thread::sleep(SLOW_BEAT),
        }
    }
}

/// For who looks why not everything is under way.
fn tell(why: &str) {
    let told = File::options().append(true).open(TOLD);
    let _nobody_to_tell = told.and_then(|mut file| file.write_all(why.as_bytes()));
}

/// Makes a request and keeps it going until it is cut.
async fn hold(kind: Kind, way: &Way) -> Result<(), Fault> {
    let mut io = way.open().await?;
    let (host, path) = (way.host(), way.path());
    let head = match kind {
        Kind::Up => format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/octet-stream\r\ncontent-length: 100000000000\r\n\r\n"
        ),
        Kind::Down => format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"),
        // The key of RFC 6455 section 1.3.
        Kind::Tunnel => format!(
            "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ),
    };
    io.write_all(head.as_bytes()).await?;
    // A binary frame of 512 bytes, masked with zeros; an upload's piece may be one too.
    let mut piece = vec![0x82, 0x80 | 126, 2, 0, 0, 0, 0, 0];
    piece.resize(8 + 512, 0);
    let mut heard = vec![0; 4096];
    let (mut from, mut to) = tokio::io::split(io);
    let hears = async {
        let mut all = Vec::new();
        loop {
            match from.read(&mut heard).await? {
                0 => return Err::<(), Fault>("closed".into()),
                n => all.extend_from_slice(&heard[..n]),
            }
            if all.len() >= 12
                && !all.starts_with(b"HTTP/1.1 200")
                && !all.starts_with(b"HTTP/1.1 101")
            {
                return Err(String::from_utf8_lossy(&all).into_owned().into());
            }
            all.truncate(64);
        }
    };
    let says = async {
        loop {
            sleep(PIECE_EVERY).await;
            if !matches!(kind, Kind::Down) {
                to.write_all(&piece).await?;
            }
        }
    };
    tokio::select! { ended = hears => ended, ended = says => ended }
}

/// Asks again and again, each request with the time it was made in its path. Once
/// it was refused often enough, writes down when what was refused was made, and
/// when it was refused.
pub(crate) async fn probe(into: &str) -> Result<Value, Fault> {
    let way = Way::from_environment("https://api.github.com/")?;
    let mut sender = None;
    let mut refused = Vec::new();
    while refused.len() < REFUSALS {
        let made = clock::now();
        let answered = async {
            let mut there = match sender.take() {
                Some(sender) => sender,
                None => way.connect::<Empty<Bytes>>().await?,
            };
            let request = Request::get(format!("/repos/octo/tales/issues/{made}"))
                .header("host", way.host())
                .body(Empty::new())?;
            let reply = there.send_request(request).await?;
            let status = reply.status();
            reply.into_body().collect().await?;
            if !status.is_success() {
                return Err::<_, Fault>(status.to_string().into());
            }
            Ok(there)
        };
        match answered.await {
            Ok(there) => sender = Some(there),
            Err(_) => {
                refused.push(format!("{made} {}\n", clock::now()));
                sleep(Duration::from_millis(1)).await;
            }
        }
    }
    let part = format!("{into}.part");
    fs::write(&part, refused.concat())?;
    fs::rename(part, into)?;
    Ok(json!({}))
}
