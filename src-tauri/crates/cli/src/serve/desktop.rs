//! The tray app as a surface: started by the authority over a socket pair, and
//! started again when it dies. It holds no secret and decides nothing.
//!
//! Two plain threads carry its messages, so that a press of the hotkey never
//! waits for the runtime.

use super::{Authority, acts, examine, timeline};
use command_fds::{CommandFdExt as _, FdMapping};
use countersign_broker::{Broker, Press, SurfaceId};
use countersign_model::{AgentId, Assurance, Hotkey, StopTrigger};
use countersign_protocol::frame;
use countersign_protocol::surface::{FD_VARIABLE, FromSurface, ToSurface, VERSION};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The name of this surface in `status`.
pub(super) const NAME: &str = "desktop";
const PROGRAM: &str = "countersign-desktop";
/// On which descriptor it finds its end of the pair.
const SOCKET: i32 = 3;
/// A tray app that lived this long has not just failed to start.
const LIVED: Duration = Duration::from_secs(10);
/// After so many failed starts in a row it is given up, and `status` says so.
const FAILED_STARTS: u32 = 5;

/// Starts the tray app and keeps it running until the authority ends.
pub(super) fn keep_running(authority: &Arc<Authority>) {
    let runtime = Handle::current();
    let authority = Arc::clone(authority);
    let spawned = std::thread::Builder::new().name("desktop".into()).spawn({
        let authority = Arc::clone(&authority);
        move || keep(&authority, &runtime)
    });
    if spawned.is_err() {
        authority.broker.warn(
            NAME,
            "The tray app could not be started: no thread to be had.",
        );
    }
}

fn keep(authority: &Arc<Authority>, runtime: &Handle) {
    let mut failed = 0;
    while failed < FAILED_STARTS {
        let began = Instant::now();
        match once(authority, runtime) {
            Ok(()) => return,
            Err(_) if authority.ending.load(Ordering::SeqCst) => return,
            Err(error) => {
                let sentence = format!("The tray app is not running: {error}");
                crate::say::problem(&sentence);
                authority.broker.warn(NAME, &sentence);
            }
        }
        failed = if began.elapsed() >= LIVED {
            1
        } else {
            failed + 1
        };
        std::thread::sleep(Duration::from_millis(200) * failed);
    }
}

/// One life of the tray app. `Ok` when the authority is to end.
fn once(authority: &Arc<Authority>, runtime: &Handle) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = start(theirs)?;
    let ended = talk(authority, runtime, ours);
    // Its socket is closed, so it ends; if it does not, it is ended.
    end(&mut child);
    ended
}

fn start(theirs: UnixStream) -> io::Result<Child> {
    let mut command = Command::new(program()?);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .env(FD_VARIABLE, SOCKET.to_string());
    // The one descriptor that is handed on; all others close at exec.
    let socket = FdMapping {
        parent_fd: OwnedFd::from(theirs),
        child_fd: SOCKET,
    };
    command
        .fd_mappings(vec![socket])
        .map_err(io::Error::other)?;
    command.spawn()
}

/// The tray app lies beside this program.
fn program() -> io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(PROGRAM))
}

fn end(child: &mut Child) {
    for _ in 0..20 {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn talk(authority: &Arc<Authority>, runtime: &Handle, ours: UnixStream) -> io::Result<()> {
    let broker = &authority.broker;
    let mut write = ours.try_clone()?;
    let mut read = ours;
    let hotkey = broker
        .force()
        .map_or(Hotkey::STOP, |f| f.config.hotkey.stop)
        .to_string();
    frame::write(
        &mut write,
        &ToSurface::Hello {
            protocol: VERSION,
            program: env!("CARGO_PKG_VERSION").into(),
            hotkey,
        },
    )?;
    let up_to = loop {
        match frame::read::<FromSurface>(&mut read)? {
            Some(FromSurface::Ready {
                protocol: VERSION,
                up_to,
            }) => break up_to.min(Assurance::Window),
            Some(FromSurface::Ready { .. }) => {
                return Err(io::Error::other("it is of another version"));
            }
            // What it finds out at its start may come first.
            Some(FromSurface::Warning { topic, sentence }) => {
                broker.warn(&format!("desktop/{topic}"), &sentence);
            }
            Some(FromSurface::Stop {
                trigger,
                held,
                agent,
            }) => press(broker, trigger, held, agent.as_ref()),
            Some(_) => return Err(io::Error::other("it broke the protocol")),
            None => return Err(io::Error::other("it ended before it was ready")),
        }
    };
    broker.warn(NAME, "");
    let (id, to, mut messages) = broker.desk().attach(NAME, up_to);
    let attached = Attached {
        authority,
        id,
        news: runtime.spawn(timeline::tell(
            broker.clone(),
            broker.ledger().subscribe(),
            to.clone(),
        )),
    };
    let writer = std::thread::Builder::new()
        .name("desktop-writer".into())
        .spawn(move || {
            while let Some(message) = messages.blocking_recv() {
                if frame::write(&mut write, &message).is_err() {
                    break;
                }
            }
            // The desk let go of it, or it hears no more: close, so that the
            // reader ends too, and the tray app is started again.
            let _ = write.shutdown(std::net::Shutdown::Both);
        })?;
    broker.publish();
    let ended = listen(authority, runtime, &mut read, &to);
    drop(attached);
    let _ = read.shutdown(std::net::Shutdown::Both);
    let _ = writer.join();
    ended
}

struct Attached<'a> {
    authority: &'a Arc<Authority>,
    id: SurfaceId,
    news: JoinHandle<()>,
}

impl Drop for Attached<'_> {
    fn drop(&mut self) {
        self.news.abort();
        self.authority.broker.desk().detach(self.id);
    }
}

fn press(broker: &Broker, trigger: StopTrigger, held: bool, agent: Option<&AgentId>) {
    let press = if held { Press::Held } else { Press::Once };
    match agent {
        None => broker.engage(trigger, None, press),
        Some(agent) => {
            broker.stop_agent(agent, trigger, None, press);
        }
    }
}

fn listen(
    authority: &Arc<Authority>,
    runtime: &Handle,
    read: &mut UnixStream,
    to: &mpsc::WeakSender<ToSurface>,
) -> io::Result<()> {
    let broker = &authority.broker;
    while let Some(message) = frame::read::<FromSurface>(read)? {
        match message {
            // First, and on this very thread.
            FromSurface::Stop {
                trigger,
                held,
                agent,
            } => press(broker, trigger, held, agent.as_ref()),
            FromSurface::Shown { question, digest } => broker.desk().shown(&question, digest),
            FromSurface::Answered {
                question,
                digest,
                answer,
                assurance,
                surface,
                because,
            } => {
                broker
                    .desk()
                    .answer(&question, digest, answer, assurance, surface, because);
            }
            FromSurface::Resume {
                call,
                presses,
                agent,
            } => {
                let (authority, to) = (Arc::clone(authority), to.clone());
                runtime.spawn(async move {
                    // Gone when the desk has let go of the surface meanwhile.
                    let lifted = match agent {
                        None => acts::lift(&authority, "window", presses).await,
                        Some(agent) => {
                            let broker = &authority.broker;
                            broker.resume_agent(&agent, "window", presses).await
                        }
                    };
                    if let Err(sentence) = lifted
                        && let Some(to) = to.upgrade()
                    {
                        let _ = to.send(ToSurface::Failed { call, sentence }).await;
                    }
                });
            }
            FromSurface::SetHotkey { call, keys } => {
                let (authority, to) = (Arc::clone(authority), to.clone());
                runtime.spawn(async move {
                    if let Err(sentence) = acts::set_hotkey(&authority, &keys).await
                        && let Some(to) = to.upgrade()
                    {
                        let _ = to.send(ToSurface::Failed { call, sentence }).await;
                    }
                });
            }
            FromSurface::Timeline { call, filter } => {
                // Reading the disk takes time, and a stop may be next.
                let (broker, to) = (broker.clone(), to.clone());
                runtime.spawn_blocking(move || {
                    let message = match timeline::entries(&broker, &filter) {
                        Ok((entries, more)) => ToSurface::Timeline {
                            call,
                            entries,
                            more,
                        },
                        Err(e) => ToSurface::Failed {
                            call,
                            sentence: e.to_string(),
                        },
                    };
                    if let Some(to) = to.upgrade() {
                        let _ = to.try_send(message);
                    }
                });
            }
            FromSurface::Examine { call } => {
                let to = to.clone();
                runtime.spawn(async move {
                    let message = match examine::doctor().await {
                        Ok(checks) => ToSurface::Examined { call, checks },
                        Err(sentence) => ToSurface::Failed { call, sentence },
                    };
                    if let Some(to) = to.upgrade() {
                        let _ = to.send(message).await;
                    }
                });
            }
            FromSurface::Warning { topic, sentence } => {
                broker.warn(&format!("desktop/{topic}"), &sentence);
            }
            FromSurface::Quit {} => {
                authority.end.notify_one();
                return Ok(());
            }
            FromSurface::Ready { .. } => return Err(io::Error::other("it broke the protocol")),
        }
    }
    Err(io::Error::other("it ended"))
}
