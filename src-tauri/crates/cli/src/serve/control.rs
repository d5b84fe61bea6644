//! The control socket. It refuses peers of another uid and processes that
//! belong to a run; and being able to talk here is not being the human.

use super::{Authority, acts, examine, lease, timeline, wire};
use crate::home::Home;
use crate::{exit, rights};
use countersign_broker::{Broker, Press};
use countersign_model::{AgentId, Effects, Foreign, Words};
use countersign_protocol::control::{Ask, Reply, Status, WaitingView};
use countersign_protocol::surface::{About, Question, ToSurface};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;

/// How long a command waits for a stop to be written down.
const WRITTEN_DOWN: Duration = Duration::from_secs(2);
/// So many wait to be accepted: a stop waits until those before it were.
const BEFORE_THE_DOOR: i32 = 256;
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
    listener.set_nonblocking(true).map_err(say)?;
    rustix::net::listen(&listener, BEFORE_THE_DOOR).map_err(|e| say(e.into()))?;
    rights::let_none_through(&listener);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(say)?;
    Ok(listener)
}

/// Hears one message, and does what it says. A stop among them was carried out
/// already (`stopped`), where [`super::door`] heard it.
pub(super) async fn connection(
    authority: &Arc<Authority>,
    mut stream: UnixStream,
    first_words: Duration,
    stopped: Option<Stopped>,
) -> io::Result<()> {
    if let Err(sentence) = may_talk(authority, &stream) {
        return wire::write(&mut stream, &failed(exit::FAILED, sentence)).await;
    }
    // Whoever says half of it holds a place of those who would say all.
    let asked = tokio::time::timeout(first_words, wire::read::<Ask>(&mut stream));
    let Ok(Some(ask)) = asked.await.unwrap_or(Ok(None)) else {
        return Ok(());
    };
    let broker = &authority.broker;
    let reply = match ask {
        Ask::Status {} => {
            // It reads files, which may lie on a disk that hangs.
            let asked = Arc::clone(authority);
            let status = tokio::task::spawn_blocking(move || status(&asked)).await;
            Reply::Status(Box::new(status.map_err(io::Error::other)?))
        }
        Ask::Stop { .. } => match stopped.or_else(|| Stopped::by(broker, ask)) {
            Some(stopped) => {
                written_down(broker).await;
                done(stopped.sentence())
            }
            None => return Ok(()),
        },
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
            // What ends the run, and its ports, are to come by this.
            rights::let_through(&stream);
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

/// A stop that was carried out.
pub(super) struct Stopped {
    /// The one agent, and how many runs it had; or everything.
    agent: Option<(AgentId, usize)>,
    /// How many runs are frozen.
    frozen: usize,
}

impl Stopped {
    /// Engages what is asked for; `None` when that is no stop. Waits for nothing.
    pub(super) fn by(broker: &Broker, ask: Ask) -> Option<Self> {
        let Ask::Stop {
            trigger,
            reason,
            agent,
        } = ask
        else {
            return None;
        };
        let Some(agent) = agent else {
            broker.engage(trigger, reason, Press::Once);
            return Some(Self {
                agent: None,
                frozen: broker.frozen(None),
            });
        };
        let runs = broker.stop_agent(&agent, trigger, reason, Press::Once);
        let frozen = broker.frozen(Some(&agent));
        Some(Self {
            agent: Some((agent, runs)),
            frozen,
        })
    }

    /// For whoever asked for it.
    pub(super) fn sentence(&self) -> String {
        match &self.agent {
            None => format!(
                "Everything is stopped.{} Go on with: countersign resume",
                second_press(self.frozen, "countersign stop")
            ),
            Some((agent, runs)) => format!(
                "{agent} is stopped, with {runs} run(s).{} Go on with: countersign resume --agent {agent}",
                second_press(self.frozen, &format!("countersign stop --agent {agent}"))
            ),
        }
    }
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
pub(super) fn may_talk(authority: &Authority, stream: &UnixStream) -> Result<(), &'static str> {
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
