//! One question to the authority, one answer.

use crate::cli::Timeline;
use crate::client::{Client, Failure};
use crate::home::Home;
use crate::say;
use countersign_model::{AgentId, Foreign, StopTrigger, Timestamp};
use countersign_protocol::control::{Ask, Reply};
use countersign_protocol::surface::TimelineFilter;
use std::fs::File;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A stop that is carried out is answered within this time, also where it takes
/// its time to be written down.
const ANSWERS: Duration = Duration::from_secs(3);
/// How long an authority may take to see a file.
const SEES_FILES: Duration = Duration::from_millis(500);

/// This user's folders.
pub(super) fn home() -> Result<Home, Failure> {
    Home::find().map_err(|e| Failure::new(e.to_string()))
}

/// Asks and waits for the answer.
pub(super) fn once(ask: &Ask) -> Result<Reply, Failure> {
    let mut client = Client::connect(&home()?)?;
    client.send(ask)?;
    client.answer()
}

/// Says what a [`Reply::Done`] says.
pub(super) fn said(reply: &Reply, json: bool) -> Result<(), Failure> {
    match reply {
        Reply::Done { .. } if json => say::json(reply),
        Reply::Done { sentence } => say::line(sentence),
        _ => return Err(unexpected()),
    }
    Ok(())
}

/// The authority speaks another protocol.
pub(super) fn unexpected() -> Failure {
    Failure::new("The authority is of another version. Start it anew: countersign shutdown")
}

pub(crate) fn status(json: bool) -> Result<(), Failure> {
    let Reply::Status(status) = once(&Ask::Status {})? else {
        return Err(unexpected());
    };
    if json {
        say::json(&status);
    } else {
        say::status(&status);
    }
    Ok(())
}

pub(crate) fn stop(
    reason: Option<String>,
    agent: Option<AgentId>,
    json: bool,
) -> Result<(), Failure> {
    let everything = agent.is_none();
    let ask = Ask::Stop {
        trigger: StopTrigger::Command,
        reason: reason.map(Foreign::new),
        agent,
    };
    let home = home()?;
    // On a thread that is left behind: to connect can take as long as others like.
    let (to, answer) = mpsc::channel();
    let asked = home.clone();
    std::thread::spawn(move || drop(to.send(heard(&asked, &ask))));
    let unheard = match answer.recv_timeout(ANSWERS) {
        Ok(Ok(Reply::Failed { exit, sentence })) => return Err(Failure(exit, sentence)),
        Ok(Ok(reply)) => return said(&reply, json),
        Ok(Err(why)) => why,
        Err(_) => Failure::new("The authority does not answer at its control socket."),
    };
    if everything && stop_by_file(&home) {
        let sentence = "Everything is stopped, though the authority does not answer at its control socket. Go on with: countersign resume";
        let sentence = sentence.to_owned();
        return said(&Reply::Done { sentence }, json);
    }
    Err(unheard)
}

fn heard(home: &Home, ask: &Ask) -> Result<Reply, Failure> {
    let mut client = Client::connect(home)?;
    client.send(ask)?;
    client.heard()
}

/// Asks for the stop by a file that the authority watches, which nobody can stand
/// before. Whether it is engaged then.
fn stop_by_file(home: &Home) -> bool {
    let asked = home.stop_asked();
    if File::create(&asked).is_err() {
        return false;
    }
    let began = Instant::now();
    while began.elapsed() < SEES_FILES {
        if asked.symlink_metadata().is_err() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // Nobody is there: nobody is to find it later.
    std::fs::remove_file(&asked).is_err()
}

pub(crate) fn resume(agent: Option<AgentId>, json: bool) -> Result<(), Failure> {
    said(&once(&Ask::Resume { agent })?, json)
}

pub(crate) fn shutdown(json: bool) -> Result<(), Failure> {
    said(&once(&Ask::Shutdown {})?, json)
}

pub(crate) fn deny(id: String, because: Option<String>, json: bool) -> Result<(), Failure> {
    said(&once(&Ask::Deny { id, because })?, json)
}

pub(crate) fn requests(json: bool) -> Result<(), Failure> {
    let Reply::Requests { waiting } = once(&Ask::Requests {})? else {
        return Err(unexpected());
    };
    if json {
        say::json(&waiting);
    } else if waiting.is_empty() {
        say::line("Nothing waits.");
    } else {
        waiting.iter().for_each(say::waiting);
    }
    Ok(())
}

pub(crate) fn timeline(wanted: Timeline, json: bool) -> Result<(), Failure> {
    let filter = TimelineFilter {
        agent: wanted.agent,
        account: wanted.account,
        effect: wanted.effect,
        decision: wanted.decision,
        request: wanted.request,
        run: wanted.run,
        since: wanted.since.as_deref().map(since).transpose()?,
        before: None,
        limit: wanted.limit,
    };
    let mut client = Client::connect(&home()?)?;
    client.send(&Ask::Timeline {
        filter,
        follow: wanted.follow,
    })?;
    loop {
        let Reply::Timeline { entries, more } = client.answer()? else {
            return Err(unexpected());
        };
        // Followed, it reads like a log: the newest last.
        let mut entries: Vec<_> = entries.iter().collect();
        if wanted.follow {
            entries.reverse();
        }
        for entry in entries {
            if json {
                say::json(entry);
            } else {
                say::entry(entry);
            }
        }
        if !wanted.follow {
            if more && !json {
                say::line("… and older ones: --limit, --since");
            }
            return Ok(());
        }
    }
}

/// A moment, or so long ago.
fn since(text: &str) -> Result<Timestamp, Failure> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_unix_ms(at.as_millisecond()));
    }
    let wrong = || {
        Failure::usage("--since: expected a time such as 2026-11-22T10:00:00Z, or 90s, 30m, 2h, 7d")
    };
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return Err(wrong()),
    };
    let number: i64 = text
        .get(..text.len() - 1)
        .and_then(|n| n.parse().ok())
        .ok_or_else(wrong)?;
    let ago = number
        .checked_mul(seconds * 1000)
        .filter(|ms| *ms >= 0)
        .ok_or_else(wrong)?;
    Ok(Timestamp::from_unix_ms(
        say::now().unix_ms().saturating_sub(ago),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_a_moment_or_a_length_of_time() {
        assert_eq!(since("1970-01-01T00:00:01Z").unwrap().unix_ms(), 1000);
        let hour_ago = since("1h").unwrap().unix_ms();
        assert!((say::now().unix_ms() - hour_ago - 3_600_000).abs() < 60_000);
        for wrong in ["", "h", "-1h", "1w", "ä", "99999999999999999999d"] {
            assert!(since(wrong).is_err(), "{wrong:?}");
        }
    }
}
