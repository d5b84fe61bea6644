//! The control socket. It refuses peers of another uid and processes that
//! belong to a run; and being able to talk here is not being the human.

use super::{Authority, acts, examine, lease, timeline, wire};
use crate::exit;
use crate::home::Home;
use countersign_broker::{Broker, Press};
use countersign_model::{Effects, Foreign, Words};
use countersign_protocol::control::{Ask, Reply, Status, WaitingView};
use countersign_protocol::surface::{About, Question, ToSurface};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many commands and runs at once.
const CONNECTIONS: usize = 128;
/// So many that have not said yet what they want.
const SILENT: usize = 64;
/// How long a peer may take to say what it wants.
const FIRST_WORDS: Duration = Duration::from_secs(5);
/// How long a command waits for a stop to be written down.
const WRITTEN_DOWN: Duration = Duration::from_secs(2);
/// How far up the chain of parents a run is looked for.
const ANCESTORS: usize = 64;

/// Listens. Whoever holds the lock owns the path: a stale socket is replaced.
pub(super) fn listen(home: &Home) -> Result<UnixListener, String> {
    let path = home.control();
    let say = |e: io::Error| format!("{}: {e}", path.display());
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(say(e)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(say)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(say)?;
    Ok(listener)
}

/// Serves until the authority ends.
pub(super) async fn serve(authority: Arc<Authority>, listener: UnixListener) {
    let silent = Arc::new(Semaphore::new(SILENT));
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(silence) = Arc::clone(&silent).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            // No descriptors left: wait for one to come back.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (authority, places) = (Arc::clone(&authority), Arc::clone(&places));
        tokio::spawn(async move {
            // A peer that is gone has nothing left to hear.
            let _ = connection(&authority, stream, silence, places).await;
        });
    }
}

async fn connection(
    authority: &Arc<Authority>,
    mut stream: UnixStream,
    silence: OwnedSemaphorePermit,
    places: Arc<Semaphore>,
) -> io::Result<()> {
    if let Err(sentence) = may_talk(authority, &stream) {
        return wire::write(&mut stream, &failed(exit::FAILED, sentence)).await;
    }
    // Whoever connects and says nothing holds a place of those who would.
    let asked = tokio::time::timeout(FIRST_WORDS, wire::read::<Ask>(&mut stream));
    let Ok(Some(ask)) = asked.await.unwrap_or(Ok(None)) else {
        return Ok(());
    };
    drop(silence);
    let broker = &authority.broker;
    // The stop needs no place: runs may hold them all.
    let _place = match places.try_acquire_owned() {
        Ok(place) => Some(place),
        Err(_) if matches!(ask, Ask::Stop { .. }) => None,
        Err(_) => {
            let sentence = "Too many commands and runs are under way at once. End some first.";
            return wire::write(&mut stream, &failed(exit::FAILED, sentence)).await;
        }
    };
    let reply = match ask {
        Ask::Status {} => {
            // It reads files, which may lie on a disk that hangs.
            let asked = Arc::clone(authority);
            let status = tokio::task::spawn_blocking(move || status(&asked)).await;
            Reply::Status(Box::new(status.map_err(io::Error::other)?))
        }
        Ask::Stop {
            trigger,
            reason,
            agent: None,
        } => {
            broker.engage(trigger, reason, Press::Once);
            let frozen = broker.frozen(None);
            written_down(broker).await;
            done(format!(
                "Everything is stopped.{} Go on with: countersign resume",
                second_press(frozen, "countersign stop")
            ))
        }
        Ask::Stop {
            trigger,
            reason,
            agent: Some(agent),
        } => {
            let runs = broker.stop_agent(&agent, trigger, reason, Press::Once);
            let frozen = broker.frozen(Some(&agent));
            written_down(broker).await;
            done(format!(
                "{agent} is stopped, with {runs} run(s).{} Go on with: countersign resume --agent {agent}",
                second_press(frozen, &format!("countersign stop --agent {agent}"))
            ))
        }
        Ask::Resume { agent } => return acts::resume(authority, &mut stream, agent).await,
        Ask::BeginRun {
            agent,
            task,
            argv,
            folder,
            contained,
            loopback,
            stop,
        } => {
            return lease::hold(
                authority,
                stream,
                lease::Wanted {
                    agent,
                    task,
                    argv,
                    folder,
                    // What is not started here is contained by nobody.
                    contained: contained && !loopback,
                    loopback,
                    stop,
                },
            )
            .await;
        }
        Ask::Tree {} | Ask::Passages {} | Ask::Listening {} | Ask::EndRun { .. } => {
            failed(exit::USAGE, "No run was begun on this connection.")
        }
        Ask::ConfigDiff {} => acts::config_diff(authority),
        Ask::ConfigAccept {} => return acts::config_accept(authority, &mut stream).await,
        Ask::AcceptLeftBehind {
            agent,
            folder,
            summary,
            diff,
            content,
        } => {
            let neutral = |lines: Vec<Foreign>| lines.iter().map(Foreign::neutral).collect();
            let about = About::LeftBehind {
                agent,
                folder,
                summary: neutral(summary),
                diff: neutral(diff),
                content,
            };
            return acts::accept_left_behind(authority, &mut stream, about, content).await;
        }
        Ask::CredentialSet { account, length } => {
            return acts::credential_set(authority, &mut stream, account, length).await;
        }
        Ask::CredentialRemove { account } => {
            return acts::credential_remove(authority, &mut stream, account).await;
        }
        Ask::CredentialList {} => Reply::Credentials {
            credentials: broker.credentials(),
        },
        Ask::Requests {} => Reply::Requests {
            waiting: broker.desk().open().iter().map(waiting).collect(),
        },
        Ask::Timeline { filter, follow } => {
            return timeline::give(authority, &mut stream, filter, follow).await;
        }
        Ask::Deny { id, because } => {
            if broker.deny(&id, because) {
                done("Denied.")
            } else {
                failed(exit::FAILED, "Nothing of that id waits for an answer.")
            }
        }
        Ask::Checkpoint {} => match broker.ledger().checkpoint().await {
            Ok(note) => Reply::Checkpoint { note },
            Err(e) => failed(exit::FAILED, e.to_string()),
        },
        Ask::Examine {} => examine::itself(authority).await,
        Ask::TestQuestion {} => return acts::test_question(authority, &mut stream).await,
        Ask::ShowWindow {} => {
            if broker
                .desk()
                .surfaces()
                .iter()
                .any(|s| s == super::desktop::NAME)
            {
                broker.desk().tell(&ToSurface::ShowWindow {});
                done("The window is open.")
            } else {
                failed(
                    exit::FAILED,
                    "The authority runs without the tray app; start it with: countersign serve --desktop",
                )
            }
        }
        Ask::Shutdown {} => {
            authority.end.notify_one();
            done("The authority ends.")
        }
    };
    wire::write(&mut stream, &reply).await
}

/// Whoever is told that it is stopped may rely on it after a loss of power, if
/// the disk does not hang.
async fn written_down(broker: &Broker) {
    let _ = tokio::time::timeout(WRITTEN_DOWN, broker.written_down()).await;
}

fn second_press(frozen: usize, command: &str) -> String {
    match frozen {
        0 => String::new(),
        frozen => format!(
            " {frozen} run(s) are frozen: once more `{command}` kills them, and so do ten minutes."
        ),
    }
}

/// Guarantee G6: of our uid, and no process of a run.
fn may_talk(authority: &Authority, stream: &UnixStream) -> Result<(), &'static str> {
    let peer = stream
        .peer_cred()
        .map_err(|_| "Who you are cannot be told.")?;
    if peer.uid() != nix::unistd::getuid().as_raw() {
        return Err("This authority is another user's.");
    }
    let mut pid = peer
        .pid()
        .filter(|pid| *pid > 0)
        .ok_or("Who you are cannot be told.")?;
    if authority.launchers.has(pid) {
        return Ok(());
    }
    for _ in 0..ANCESTORS {
        pid = match parent_of(pid) {
            Some(parent) if parent > 1 => parent,
            Some(_) => return Ok(()),
            // It has gone, and with it what would tell whose it was.
            None => return Err("Who started you cannot be told."),
        };
        if authority.launchers.has(pid) {
            return Err("A process of a run may not command the authority.");
        }
    }
    Err("Who started you cannot be told.")
}

/// The parent, from `/proc/PID/stat`: the second field after the last `)`.
fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

fn status(authority: &Authority) -> Status {
    let broker = &authority.broker;
    let state = broker.state();
    let force = broker.force();
    let on_disk = super::accepted::read_disk(&authority.home)
        .map(|c| c.digest)
        .ok();
    Status {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        since: authority.since,
        stopped: state.stopped,
        stopped_agents: state.stopped_agents,
        runs: state.runs,
        waiting: state.waiting,
        records: broker.ledger().size(),
        config: force.as_ref().map(|f| f.counter),
        config_changed: on_disk != force.map(|f| f.digest),
        surfaces: broker.desk().surfaces(),
        warnings: state.warnings,
    }
}

fn waiting(question: &Question) -> WaitingView {
    let request = match &question.about {
        About::Request(r) => Some(r),
        _ => None,
    };
    WaitingView {
        question: question.id.clone(),
        request: request.map(|r| r.request.clone()),
        run: request.map(|r| r.run.clone()),
        agent: request.map(|r| r.agent.clone()),
        words: request.map_or_else(
            || Words::new(crate::say::about(&question.about)),
            |r| r.action.words.clone(),
        ),
        effects: request.map_or(Effects::NONE, |r| r.action.effects),
        assurance: question.assurance,
        since: question.asked,
        times: question.times,
    }
}

pub(super) fn done(sentence: impl Into<String>) -> Reply {
    Reply::Done {
        sentence: sentence.into(),
    }
}

pub(super) fn failed(exit: u8, sentence: impl Into<String>) -> Reply {
    Reply::Failed {
        exit,
        sentence: sentence.into(),
    }
}
