//! X11: raw key events of XInput2, on a thread of their own that blocks.
//!
//! A passive grab, which is what hotkey crates use, stays silent while a menu,
//! a screen locker or a game holds the keyboard; raw events come through grabs
//! since XInput 2.1. The key is looked up in every layout and level, and what
//! is held is followed by key, not by state: neither NumLock, CapsLock nor a
//! second layout matters, and more held keys than needed do not either (a stop
//! must not be missed).

use super::{HELD, Heard};
use countersign_model::{Hotkey, Key, NamedKey};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Instant;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xinput::{self, ConnectionExt as _, XIEventMask};
use x11rb::protocol::xproto::{ConnectionExt as _, Keycode};
use x11rb::rust_connection::RustConnection;

type Error = Box<dyn std::error::Error>;

/// Listens until the other end of `until` is closed.
pub(super) fn listen(
    hotkey: Hotkey,
    until: OwnedFd,
    heard: impl Fn(Heard) + Send + Sync + 'static,
) -> Result<(), String> {
    let run = move || match Listener::start(hotkey) {
        Err(error) => heard(Heard::Fails(format!(
            "{hotkey} cannot be listened for ({error}). Use the tray or `countersign stop`."
        ))),
        Ok(mut listener) => {
            heard(Heard::Works(hotkey.to_string()));
            if let Err(ended) = listener.run(&until, &heard) {
                heard(Heard::Fails(format!(
                    "{hotkey} is no longer listened for ({ended}). Use the tray or `countersign stop`."
                )));
            }
        }
    };
    match thread::Builder::new().name("hotkey".into()).spawn(run) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{hotkey} cannot be listened for: {error}.")),
    }
}

struct Listener {
    x: RustConnection,
    hotkey: Hotkey,
    keys: Keys,
    down: HashSet<Keycode>,
    /// The key that was pressed, and when [`HELD`] is over; `None` once that was
    /// told, or the key let go.
    held: Option<(Keycode, Instant)>,
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
            held: None,
        })
    }

    /// Runs until the other end of `until` is closed.
    ///
    /// # Errors
    /// When the connection fails before.
    fn run(&mut self, until: &OwnedFd, heard: impl Fn(Heard)) -> Result<(), Error> {
        loop {
            while let Some(event) = self.x.poll_for_event()? {
                self.take(&event, &heard)?;
            }
            let left = self
                .held
                .map(|(_, over)| over.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                self.held = None;
                heard(Heard::Held);
                continue;
            }
            let left = left.map(Timespec::try_from).transpose()?;
            let mut ready = [
                PollFd::new(self.x.stream(), PollFlags::IN),
                PollFd::new(until, PollFlags::IN),
            ];
            // Without a press there is no end to wait for: nothing wakes us.
            match poll(&mut ready, left.as_ref()) {
                Ok(_) if !ready[1].revents().is_empty() => return Ok(()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn take(&mut self, event: &Event, heard: &impl Fn(Heard)) -> Result<(), Error> {
        match event {
            Event::XinputRawKeyPress(press) => {
                let Ok(key) = Keycode::try_from(press.detail) else {
                    return Ok(());
                };
                let repeated = !self.down.insert(key);
                if !repeated && self.keys.trigger.contains(&key) {
                    self.trigger(key, heard);
                }
            }
            Event::XinputRawKeyRelease(release) => {
                if let Ok(key) = Keycode::try_from(release.detail) {
                    self.down.remove(&key);
                    self.held.take_if(|(held, _)| *held == key);
                }
            }
            Event::MappingNotify(_) => self.keys = Keys::read(&self.x, self.hotkey)?,
            _ => {}
        }
        Ok(())
    }

    /// The key was pressed: the rest may be held by the events that we saw, or by
    /// the server's word (keys that were down before we listened). What we saw is
    /// told at once, before anybody is asked. The server's word then replaces it,
    /// so that nothing sticks.
    fn trigger(&mut self, key: Keycode, heard: &impl Fn(Heard)) {
        let seen = self.needs(|k| self.down.contains(k));
        if seen {
            heard(Heard::Pressed);
        }
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
        let late = !seen && self.needs(|k| self.down.contains(k) || by_server.contains(k));
        if late {
            heard(Heard::Pressed);
        }
        if seen || late {
            self.held = Some((key, Instant::now() + HELD));
        }
        self.down = by_server;
    }

    /// Whether of each modifier that the hotkey needs a key is held.
    fn needs(&self, is_held: impl Fn(&Keycode) -> bool) -> bool {
        self.keys.needed.iter().all(|any| any.iter().any(&is_held))
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
            (hotkey.ctrl(), with(&CONTROL)),
            (hotkey.alt(), with(&ALT)),
            (hotkey.shift(), with(&SHIFT)),
            (hotkey.logo(), with(&LOGO)),
        ];
        Ok(Self {
            trigger: with(&[keysym(hotkey.key())]),
            needed: needed
                .into_iter()
                .filter(|(need, _)| *need)
                .map(|(_, keys)| keys)
                .collect(),
        })
    }
}

/// The keysym; of a letter, the small one. Source: keysymdef.h of the X11
/// protocol.
const fn keysym(key: Key) -> u32 {
    match key {
        Key::Symbol(c) => c.to_ascii_lowercase() as u32,
        Key::Function(n) => 0xffbd + n as u32,
        Key::Named(key) => match key {
            NamedKey::Escape => 0xff1b,
            NamedKey::Pause => 0xff13,
            NamedKey::Delete => 0xffff,
            NamedKey::Backspace => 0xff08,
            NamedKey::Insert => 0xff63,
            NamedKey::Home => 0xff50,
            NamedKey::End => 0xff57,
            NamedKey::PageUp => 0xff55,
            NamedKey::PageDown => 0xff56,
            NamedKey::Space => 0x20,
            NamedKey::Enter => 0xff0d,
            NamedKey::Tab => 0xff09,
            NamedKey::PrintScreen => 0xff61,
            NamedKey::ScrollLock => 0xff14,
        },
    }
}

#[cfg(test)]
mod tests;
