//! X11: raw key events of XInput2, on a thread of their own that blocks.
//!
//! A passive grab, which is what hotkey crates use, stays silent while a menu,
//! a screen locker or a game holds the keyboard; raw events come through grabs
//! since XInput 2.1. The key is looked up in every layout and level, and what
//! is held is followed by key, not by state: neither NumLock, CapsLock nor a
//! second layout matters, and more held keys than needed do not either (a stop
//! must not be missed).

use super::Hotkey;
use std::collections::HashSet;
use std::sync::Arc;
use std::thread;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xinput::{self, ConnectionExt as _, XIEventMask};
use x11rb::protocol::xproto::{ConnectionExt as _, Keycode};
use x11rb::rust_connection::RustConnection;

type Error = Box<dyn std::error::Error>;

pub(super) fn listen(
    hotkey: Hotkey,
    fired: impl Fn() + Send + Sync + 'static,
    works: impl Fn(Result<(), String>) + Send + Sync + 'static,
) {
    let works = Arc::new(works);
    let told = Arc::clone(&works);
    let run = move || {
        let wayland = std::env::var_os("WAYLAND_DISPLAY").is_some();
        let started = Listener::start(hotkey);
        match (&started, wayland) {
            (Err(error), _) => {
                return works(Err(format!(
                    "{hotkey} cannot be listened for ({error}). Use the tray or `countersign stop`."
                )));
            }
            // Under Wayland an X client hears keys only while X windows have the focus.
            (Ok(_), true) => works(Err(
                "On Wayland there is no global hotkey yet. Use the tray or `countersign stop`."
                    .into(),
            )),
            (Ok(_), false) => works(Ok(())),
        }
        if let Ok(mut listener) = started {
            let ended = listener.run(fired);
            works(Err(format!(
                "{hotkey} is no longer listened for ({ended}). Use the tray or `countersign stop`."
            )));
        }
    };
    if let Err(error) = thread::Builder::new().name("hotkey".into()).spawn(run) {
        told(Err(format!("{hotkey} cannot be listened for: {error}.")));
    }
}

struct Listener {
    x: RustConnection,
    hotkey: Hotkey,
    keys: Keys,
    down: HashSet<Keycode>,
}

/// Which keys are which, by keycode.
#[derive(Debug, Default)]
struct Keys {
    trigger: HashSet<Keycode>,
    /// For each modifier that the hotkey needs, the keys that are it.
    needed: Vec<HashSet<Keycode>>,
}

const CONTROL: [u32; 2] = [0xffe3, 0xffe4];
const SHIFT: [u32; 2] = [0xffe1, 0xffe2];
/// Alt and Meta: with Shift held, Alt is Meta in many layouts.
const ALT: [u32; 4] = [0xffe9, 0xffea, 0xffe7, 0xffe8];
const LOGO: [u32; 2] = [0xffeb, 0xffec];

impl Listener {
    fn start(hotkey: Hotkey) -> Result<Self, Error> {
        let (x, screen) = RustConnection::connect(None)?;
        Self::over(x, screen, hotkey)
    }

    fn over(x: RustConnection, screen: usize, hotkey: Hotkey) -> Result<Self, Error> {
        let version = x.xinput_xi_query_version(2, 2)?.reply()?;
        if (version.major_version, version.minor_version) < (2, 1) {
            return Err("the X server has no XInput 2.1".into());
        }
        let root = x.setup().roots.get(screen).ok_or("no such screen")?.root;
        let mask = xinput::EventMask {
            deviceid: xinput::Device::ALL_MASTER.into(),
            mask: vec![XIEventMask::RAW_KEY_PRESS | XIEventMask::RAW_KEY_RELEASE],
        };
        x.xinput_xi_select_events(root, &[mask])?.check()?;
        let keys = Keys::read(&x, hotkey)?;
        if keys.trigger.is_empty() || keys.needed.iter().any(HashSet::is_empty) {
            return Err("this keyboard has no such key".into());
        }
        Ok(Self {
            x,
            hotkey,
            keys,
            down: HashSet::new(),
        })
    }

    /// Runs until the connection fails, and returns why.
    fn run(&mut self, fired: impl Fn()) -> Error {
        loop {
            let event = match self.x.wait_for_event() {
                Ok(event) => event,
                Err(error) => return error.into(),
            };
            match event {
                Event::XinputRawKeyPress(press) => {
                    let Ok(key) = Keycode::try_from(press.detail) else {
                        continue;
                    };
                    let repeated = !self.down.insert(key);
                    if !repeated && self.keys.trigger.contains(&key) && self.held() {
                        fired();
                    }
                }
                Event::XinputRawKeyRelease(release) => {
                    if let Ok(key) = Keycode::try_from(release.detail) {
                        self.down.remove(&key);
                    }
                }
                Event::MappingNotify(_) => match Keys::read(&self.x, self.hotkey) {
                    Ok(keys) => self.keys = keys,
                    Err(error) => return error,
                },
                _ => {}
            }
        }
    }

    /// Whether everything that the hotkey needs is held: by the events that we
    /// saw, or by the server's word (keys that were down before we listened).
    /// The server's word then replaces what we saw, so that nothing sticks.
    fn held(&mut self) -> bool {
        let by_server = self
            .x
            .query_keymap()
            .ok()
            .and_then(|cookie| cookie.reply().ok());
        let by_server: HashSet<Keycode> = by_server.map_or_else(HashSet::new, |reply| {
            (0..=Keycode::MAX)
                .filter(|key| {
                    reply
                        .keys
                        .get(usize::from(key / 8))
                        .is_some_and(|byte| byte & (1 << (key % 8)) != 0)
                })
                .collect()
        });
        let held = self.keys.needed.iter().all(|any| {
            any.iter()
                .any(|k| self.down.contains(k) || by_server.contains(k))
        });
        self.down = by_server;
        held
    }
}

impl Keys {
    fn read(x: &RustConnection, hotkey: Hotkey) -> Result<Self, Error> {
        let (min, max) = (x.setup().min_keycode, x.setup().max_keycode);
        let mapping = x.get_keyboard_mapping(min, max - min + 1)?.reply()?;
        let width = usize::from(mapping.keysyms_per_keycode).max(1);
        let with = |wanted: &[u32]| -> HashSet<Keycode> {
            (min..=max)
                .zip(mapping.keysyms.chunks(width))
                .filter(|(_, syms)| syms.iter().any(|sym| wanted.contains(sym)))
                .map(|(key, _)| key)
                .collect()
        };
        let needed = [
            (hotkey.ctrl, with(&CONTROL)),
            (hotkey.alt, with(&ALT)),
            (hotkey.shift, with(&SHIFT)),
            (hotkey.logo, with(&LOGO)),
        ];
        Ok(Self {
            trigger: with(&[hotkey.key.keysym()]),
            needed: needed
                .into_iter()
                .filter(|(need, _)| *need)
                .map(|(_, keys)| keys)
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests;
