//! The load: a program of its own, that knows no more than an agent does. It
//! finds its way out by `HTTPS_PROXY` and trusts what `SSL_CERT_FILE` holds, so
//! that the very same program runs under each proxy, under none, and contained.

use crate::wire::{Fault, Sender, Way};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Requests before anything is counted: connections stand, caches are warm.
const WARM_UP: Duration = Duration::from_millis(400);
/// More than anybody reaches; what it holds is 8 bytes each.
const MOST_SAMPLES: usize = 4_000_000;

/// Reads `url` on so many connections for so long, each connection kept, each
/// asking again as soon as it was answered.
pub(crate) async fn read(url: &str, connections: usize, time: Duration) -> Result<Value, Fault> {
    let way = Way::from_environment(url)?;
    let mut senders = Vec::new();
    for _ in 0..connections {
        senders.push(way.connect().await?);
    }
    let counted_from = Instant::now() + WARM_UP;
    let until = counted_from + time;
    let tasks: Vec<_> = senders
        .into_iter()
        .map(|sender| {
            let way = way.clone();
            tokio::spawn(async move { one_connection(&way, sender, counted_from, until).await })
        })
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        times.extend(task.await??);
    }
    if times.is_empty() {
        return Err("not one request was answered in time".into());
    }
    times.sort_unstable();
    let part = |percent: usize| times[(times.len() - 1) * percent / 100] as f64 / 1e3;
    Ok(json!({
        "requests": times.len(),
        "per_second": times.len() as f64 / time.as_secs_f64(),
        "p50_us": part(50),
        "p99_us": part(99),
    }))
}

/// How long each request took, in nanoseconds.
async fn one_connection(
    way: &Way,
    mut sender: Sender<Empty<Bytes>>,
    counted_from: Instant,
    until: Instant,
) -> Result<Vec<u64>, Fault> {
    let mut times = Vec::new();
    loop {
        let asked = Instant::now();
        if asked >= until || times.len() >= MOST_SAMPLES {
            return Ok(times);
        }
        let request = Request::get(way.path())
            .header("host", way.host())
            .body(Empty::new())?;
        let reply = sender.send_request(request).await?;
        let status = reply.status();
        let body = reply.into_body().collect().await?.to_bytes();
        if !status.is_success() || body.len() != crate::SMALL {
            let words = String::from_utf8_lossy(&body).into_owned();
            return Err(format!("{status}, {} bytes: {words}", body.len()).into());
        }
        let answered = Instant::now();
        if asked >= counted_from && answered <= until {
            let took = answered.duration_since(asked).as_nanos();
            times.push(u64::try_from(took).unwrap_or(u64::MAX));
        }
    }
}
