//! Builds the program, runs it, ends it: events go to the desk, its outputs to
//! the adapters, one after the other.

use crate::authority::Authority;
use crate::bridge::{self, view};
use crate::cards;
use crate::desk::{Desk, Event, Output};
use crate::hotkey::{self, Heard, Listening};
use crate::notify::{self, Notifier};
use crate::tray::{self, Tray};
use crate::windows;
use countersign_model::{AgentId, BadHotkey, Foreign, Hotkey, StopTrigger};
use countersign_protocol::surface::FromSurface;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;
use tauri::{AppHandle, RunEvent};

/// What everything else reaches the desk through.
pub(crate) struct Hub {
    desk: Mutex<Desk>,
    pub(crate) authority: Authority,
    app: AppHandle,
    notifier: OnceLock<Box<dyn Notifier>>,
    tray: Mutex<Option<Tray>>,
    listening: Mutex<Option<Listening>>,
    on_trial: Mutex<Option<Listening>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs until the authority ends.
///
/// # Errors
/// When it cannot start, or the authority died; a sentence.
pub(crate) fn run(stream: UnixStream) -> Result<(), String> {
    let reading = stream.try_clone().map_err(|e| e.to_string())?;
    let authority = Mutex::new(Some((
        Authority::new(stream).map_err(|e| e.to_string())?,
        reading,
    )));
    let app = bridge::commands(tauri::Builder::default())
        .setup(move |app| {
            if let Some((authority, reading)) = lock(&authority).take() {
                start(app.handle(), authority, reading)?;
            }
            Ok(())
        })
        .build(tauri::generate_context!())
        .map_err(|e| format!("cannot start: {e}"))?;
    let code = app.run_return(|_, event| {
        // Closing the last window ends nothing.
        if let RunEvent::ExitRequested {
            code: None, api, ..
        } = event
        {
            api.prevent_exit();
        }
    });
    if code == 0 {
        Ok(())
    } else {
        Err("the authority ended unexpectedly".into())
    }
}

#[allow(clippy::print_stderr, reason = "there may be no window to say it in")]
fn complain(error: &std::io::Error) {
    eprintln!("countersign-desktop: the authority's words cannot be read: {error}");
}

fn start(
    app: &AppHandle,
    authority: Authority,
    mut reading: UnixStream,
) -> Result<(), Box<dyn std::error::Error>> {
    let hub = Arc::new(Hub {
        desk: Mutex::new(Desk::new()),
        authority,
        app: app.clone(),
        notifier: OnceLock::new(),
        tray: Mutex::new(None),
        listening: Mutex::new(None),
        on_trial: Mutex::new(None),
    });
    tauri::Manager::manage(app, Arc::clone(&hub));

    let to = Arc::clone(&hub);
    let tray = Tray::new(app, move |choice| to.handle(Event::Menu(choice)))?;
    *lock(&hub.tray) = Some(tray);

    let to = Arc::clone(&hub);
    let _ = hub.notifier.set(notify::start(move |said| to.handle(said)));

    let reader = Arc::clone(&hub);
    thread::Builder::new()
        .name("authority".into())
        .spawn(move || {
            let handed = reader.authority.read(&mut reading, |message| {
                reader.handle(Event::Authority(message));
            });
            // The desk knows whether it was in order; whoever looks for the reason
            // finds it where the program was started.
            if let Err(error) = handed {
                complain(&error);
            }
            reader.handle(Event::AuthorityGone);
        })?;

    #[cfg(target_os = "linux")]
    {
        let to = Arc::clone(&hub);
        thread::Builder::new()
            .name("tray-host".into())
            .spawn(move || to.handle(Event::Tray(notify::tray_host())))?;
    }
    Ok(())
}

impl Hub {
    pub(crate) fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    pub(crate) fn handle(self: &Arc<Self>, event: Event) {
        let outputs = self.desk().apply(event, Instant::now());
        for output in outputs {
            self.perform(output);
        }
    }

    pub(crate) fn perform(self: &Arc<Self>, output: Output) {
        match output {
            Output::Say(message) => {
                // If it is gone, the reader says so.
                let _ = self.authority.say(&message);
            }
            Output::Cards => {
                let cards = cards::cards(&self.desk());
                if let Some(notifier) = self.notifier.get() {
                    notifier.show(cards);
                }
            }
            Output::Tray => self.on_main(|hub| {
                let menu = tray::menu(&hub.desk());
                let drawn = match lock(&hub.tray).as_mut() {
                    Some(tray) => tray.draw(&hub.app, menu),
                    None => Ok(()),
                };
                if let Err(error) = drawn {
                    hub.warn("tray", format!("The tray cannot be drawn: {error}."));
                }
            }),
            Output::Open(at) => self.on_main(move |hub| {
                let to = Arc::clone(&hub);
                let opened = windows::open(&hub.app, at.as_ref(), move |open| {
                    to.handle(Event::Window { open });
                });
                if let Err(error) = opened {
                    hub.warn("window", format!("The window cannot be opened: {error}."));
                }
            }),
            Output::PageState => windows::tell(&self.app, "state", &view::state(&self.desk())),
            Output::PageWaiting => {
                windows::tell(&self.app, "waiting", &view::waiting(&self.desk()));
            }
            Output::PageEntry(entry) => {
                windows::tell(&self.app, "timeline", &bridge::timeline::row(&entry));
            }
            Output::PageProblem(sentence) => windows::tell(&self.app, "problem", &sentence),
            Output::Listen(keys) => self.listen(&keys),
            Output::Try(hotkey) => self.listen_on_trial(hotkey),
            Output::End { clean } => {
                if let Some(notifier) = self.notifier.get() {
                    notifier.end(!clean);
                }
                self.app.exit(i32::from(!clean));
            }
        }
    }

    /// Listens for this stop key from now on, and no longer for another.
    fn listen(self: &Arc<Self>, keys: &str) {
        let to = Arc::clone(self);
        let listening = keys
            .parse()
            .map_err(|why: BadHotkey| format!("{}: {why}.", Foreign::new(keys).quoted(64)))
            .and_then(|hotkey| hotkey::listen(&self.app, hotkey, move |heard| to.stop_key(heard)));
        // Before anything of it is told: the last one has nothing to say any more.
        let problem = listening.as_ref().err().cloned();
        *lock(&self.listening) = listening.ok();
        if let Some(why) = problem {
            self.handle(Event::Hotkey(Err(why)));
        }
    }

    fn stop_key(self: &Arc<Self>, heard: Heard) {
        match heard {
            // A press that is held is a press more: it ends what the first froze.
            Heard::Pressed => {
                let _ = self.authority.stop_by_hotkey(false);
            }
            Heard::Held => {
                let _ = self.authority.stop_by_hotkey(true);
            }
            Heard::Works(keys) => self.handle(Event::Hotkey(Ok(keys))),
            Heard::Fails(why) => self.handle(Event::Hotkey(Err(why))),
        }
    }

    /// Listens for a combination that may become the stop key.
    fn listen_on_trial(self: &Arc<Self>, hotkey: Option<Hotkey>) {
        let listening = hotkey.map(|hotkey| {
            let to = Arc::clone(self);
            hotkey::listen(&self.app, hotkey, move |heard| match heard {
                Heard::Pressed => to.handle(Event::Tried(hotkey, Ok(()))),
                Heard::Fails(why) => to.handle(Event::Tried(hotkey, Err(why))),
                Heard::Works(_) | Heard::Held => {}
            })
            .map_err(|why| (hotkey, why))
        });
        let problem = match listening {
            Some(Err(problem)) => Some(problem),
            Some(Ok(listening)) => {
                *lock(&self.on_trial) = Some(listening);
                None
            }
            None => {
                *lock(&self.on_trial) = None;
                None
            }
        };
        if let Some((hotkey, why)) = problem {
            self.handle(Event::Tried(hotkey, Err(why)));
        }
    }

    /// Whatever touches the toolkit does so on its thread.
    fn on_main(self: &Arc<Self>, what: impl FnOnce(Arc<Self>) + Send + 'static) {
        let hub = Arc::clone(self);
        // It fails only when the program is ending.
        let _ = self.app.run_on_main_thread(move || what(hub));
    }

    fn warn(&self, topic: &str, sentence: String) {
        let _ = self.authority.say(&FromSurface::Warning {
            topic: topic.into(),
            sentence,
        });
    }

    /// The button in the window, of all agents or of one.
    pub(crate) fn stop(&self, agent: Option<AgentId>) -> Result<(), String> {
        self.authority
            .say(&FromSurface::Stop {
                trigger: StopTrigger::Window,
                held: false,
                agent,
            })
            .map_err(|_| "The authority is gone; nothing is released.".to_owned())
    }
}
