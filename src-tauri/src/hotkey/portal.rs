//! Wayland: the desktop's portal for global shortcuts.
//!
//! Only the desktop hears keys there, and it decides which key is bound: what
//! it says of that is what people are told. The portal and what stands behind
//! it can end and come back, so they are watched, and asked anew.
//!
//! Source: <https://flatpak.github.io/xdg-desktop-portal/docs/doc-org.freedesktop.portal.GlobalShortcuts.html>

use super::{HELD, Heard};
use async_io::{Async, Timer};
use countersign_model::{Foreign, Hotkey, Key, NamedKey};
use futures_util::future::{self, Either, FutureExt as _};
use futures_util::stream::{self, LocalBoxStream, StreamExt as _};
use serde::Deserialize;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::time::Duration;
use zbus::fdo::NameOwnerChanged;
use zbus::proxy::{Builder, CacheProperties};
use zbus::zvariant::{OwnedObjectPath, Type, Value, as_value};
use zbus::{Connection, MatchRule, Message, MessageStream, Proxy, message};

/// Our name for the stop among our shortcuts: we have one.
const STOP: &str = "stop";
const PORTAL: &str = "org.freedesktop.portal.Desktop";
const OBJECT: &str = "/org/freedesktop/portal/desktop";
/// What stands behind the portal has names that begin so.
const BEHIND: &str = "org.freedesktop.impl.portal.";
/// The desktop may ask the human first. Longer than this is told.
const QUICK: Duration = Duration::from_secs(3);
/// Before something that has just ended is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// More of what a portal says is not shown.
const SHOWN: usize = 120;

pub(super) fn fails(hotkey: Hotkey, why: &str) -> String {
    format!("{hotkey} is not listened for: {why}. Use the tray or `countersign stop`.")
}

/// What somebody else says, as a piece of a sentence of ours.
fn said(by: &dyn std::fmt::Display) -> String {
    Foreign::new(by.to_string()).quoted(SHOWN)
}

/// Listens until the other end of `until` is closed.
///
/// # Errors
/// When there is nothing to listen with any more.
pub(super) async fn until_closed(
    hotkey: Hotkey,
    until: OwnedFd,
    heard: &impl Fn(Heard),
) -> Result<(), String> {
    let until = Async::new(until).map_err(|e| e.to_string())?;
    let bus = Connection::session()
        .await
        .map_err(|e| format!("there is no session bus, {}", said(&e)))?;
    let ended = {
        let keep = pin!(keep_bound(hotkey, &bus, heard));
        let closed = pin!(until.readable());
        match future::select(keep, closed).await {
            Either::Left((failed, _)) => failed,
            Either::Right(_) => Ok(()),
        }
    };
    // With the connection goes the session, and with that the shortcut.
    let _ = bus.close().await;
    ended
}

/// Binds the shortcut, and again whenever the portal was another meanwhile.
async fn keep_bound(
    hotkey: Hotkey,
    bus: &Connection,
    heard: &impl Fn(Heard),
) -> Result<(), String> {
    let mut owners = owners(bus).await.map_err(|e| said(&e))?;
    for time in 1_u64.. {
        let ours = Ours::new(bus, time);
        let lost = bound_once(hotkey, bus, &ours, &mut owners, heard).await;
        heard(Heard::Fails(fails(hotkey, &lost.words())));
        let gone = matches!(lost, Lost::Portal);
        if gone {
            Timer::after(PAUSE).await;
        }
        while let Some(Some(_)) = owners.next().now_or_never() {}
        if gone {
            // To ask is to start it again.
            continue;
        }
        // Who has refused is not asked again before it is another.
        loop {
            match owners.next().await {
                Some(Change::Lost) => {}
                Some(Change::Came) => break,
                None => return Err("the session bus has ended".into()),
            }
        }
    }
    Ok(())
}

/// Why the shortcut is not bound, or no longer.
enum Lost {
    NoPortal,
    Refused,
    Closed,
    Portal,
    Failed(zbus::Error),
}

impl Lost {
    /// The rest of a sentence.
    fn words(&self) -> String {
        match self {
            Self::NoPortal => {
                "on Wayland only the desktop hears keys, and yours has no portal for \
                               global shortcuts"
                    .into()
            }
            Self::Refused => "your desktop refused the shortcut".into(),
            Self::Closed => "your desktop has taken the shortcut back".into(),
            Self::Portal => "your desktop's portal for global shortcuts has ended".into(),
            Self::Failed(error) => {
                format!(
                    "your desktop's portal for global shortcuts failed, {}",
                    said(error)
                )
            }
        }
    }
}

impl From<zbus::Error> for Lost {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, ..) if is_nobody(&name) => Self::NoPortal,
            other => Self::Failed(other),
        }
    }
}

/// Whether nobody is there, or nobody who knows of shortcuts.
fn is_nobody(error: &str) -> bool {
    error
        .strip_prefix("org.freedesktop.DBus.Error.")
        .is_some_and(|kind| {
            kind.starts_with("Spawn.")
                || [
                    "ServiceUnknown",
                    "NameHasNoOwner",
                    "UnknownObject",
                    "UnknownInterface",
                    "UnknownMethod",
                ]
                .contains(&kind)
        })
}

/// The portal, or something behind it.
enum Change {
    Came,
    Lost,
}

async fn owners(bus: &Connection) -> zbus::Result<LocalBoxStream<'static, Change>> {
    let rule = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .sender("org.freedesktop.DBus")?
        .interface("org.freedesktop.DBus")?
        .member("NameOwnerChanged")?
        .arg0ns("org.freedesktop")?
        .build();
    let all = MessageStream::for_match_rule(rule, bus, None).await?;
    let ours = all.filter_map(|message| {
        future::ready(message.ok().and_then(|message| {
            let change = NameOwnerChanged::from_message(message)?;
            let change = change.args().ok()?;
            let name = change.name.as_str();
            (name == PORTAL || name.starts_with(BEHIND)).then(|| match *change.new_owner {
                Some(_) => Change::Came,
                None => Change::Lost,
            })
        }))
    });
    Ok(ours.boxed_local())
}

/// Until the portal, or something behind it, is gone.
async fn lost(owners: &mut LocalBoxStream<'_, Change>) {
    while let Some(Change::Came) = owners.next().await {}
}

/// Asks, and listens for as long as it is bound. Why no longer.
async fn bound_once(
    hotkey: Hotkey,
    bus: &Connection,
    ours: &Ours,
    owners: &mut LocalBoxStream<'_, Change>,
    heard: &impl Fn(Heard),
) -> Lost {
    let bound = {
        let asking = pin!(ask(hotkey, bus, ours));
        let slow = pin!(async {
            Timer::after(QUICK).await;
            heard(Heard::Fails(fails(
                hotkey,
                "your desktop has not answered yet",
            )));
            future::pending::<()>().await;
        });
        let gone = pin!(lost(owners));
        match future::select(asking, future::select(slow, gone)).await {
            Either::Left((bound, _)) => bound,
            Either::Right(_) => return Lost::Portal,
        }
    };
    let (mut events, session, key) = match bound {
        Ok(bound) => bound,
        Err(why) => return why,
    };
    heard(known(&key));
    let why = listen(&mut events, owners, heard).await;
    // What stood behind it may be gone, and the session not. If the portal is
    // gone too, there is nothing to close.
    let _ = session.call_method("Close", &()).await;
    why
}

/// Hands on what is told until it is over; why.
async fn listen(
    events: &mut LocalBoxStream<'static, Told>,
    owners: &mut LocalBoxStream<'_, Change>,
    heard: &impl Fn(Heard),
) -> Lost {
    let gone = pin!(lost(owners));
    let mut ended = gone.map(|()| Lost::Portal);
    let mut held = Timer::never();
    loop {
        let next = future::select(events.next(), &mut held);
        match future::select(next, &mut ended).await {
            Either::Left((Either::Left((Some(told), _)), _)) => match told {
                Told::Pressed => {
                    heard(Heard::Pressed);
                    held = Timer::after(HELD);
                }
                Told::Released => held = Timer::never(),
                Told::Key(key) => heard(known(&key)),
                Told::Closed => return Lost::Closed,
            },
            Either::Left((Either::Left((None, _)), _)) => return Lost::Portal,
            Either::Left((Either::Right(_), _)) => {
                held = Timer::never();
                heard(Heard::Held);
            }
            Either::Right((why, _)) => return why,
        }
    }
}

/// Which key it is, in the desktop's words.
fn known(key: &str) -> Heard {
    let key = Foreign::new(key.trim());
    if key.raw().is_empty() {
        return Heard::Fails(
            "Your desktop took the stop's shortcut, but names no key for it. Give it one in \
             the desktop's settings; meanwhile use the tray or `countersign stop`."
                .into(),
        );
    }
    Heard::Works(key.neutral().chars().take(SHOWN).collect())
}

/// What the portal tells of a shortcut that is bound.
enum Told {
    Pressed,
    Released,
    /// It is another key now.
    Key(String),
    Closed,
}

/// Binds the shortcut in a session of its own, which lasts as long as the
/// connection. What is told of it, and which key it is.
async fn ask(
    hotkey: Hotkey,
    bus: &Connection,
    ours: &Ours,
) -> Result<(LocalBoxStream<'static, Told>, Proxy<'static>, String), Lost> {
    let portal = at(bus, OBJECT, "org.freedesktop.portal.GlobalShortcuts").await?;
    let token = Value::from(ours.token.as_str());
    let options = HashMap::from([("handle_token", &token), ("session_handle_token", &token)]);
    let session = at(bus, &ours.path("session"), "org.freedesktop.portal.Session").await?;
    let closed = session.receive_signal("Closed").await?;
    // Before it is bound, so that no press is missed.
    let pressed = portal.receive_signal("Activated").await?;
    let released = portal.receive_signal("Deactivated").await?;
    let changed = portal.receive_signal("ShortcutsChanged").await?;
    let _ = answer(bus, &portal, ours, "CreateSession", &options).await?;

    let (trigger, words) = (Value::from(trigger(hotkey)), Value::from("Stop all agents"));
    let told = HashMap::from([("description", &words), ("preferred_trigger", &trigger)]);
    let options = HashMap::from([("handle_token", &token)]);
    let arguments = (session.path(), vec![(STOP, told)], "", options);
    let response = answer(bus, &portal, ours, "BindShortcuts", &arguments).await?;
    let (_, bound): (u32, Bound) = response.body().deserialize()?;
    // One that is not among those bound was not bound.
    let key = key_of(bound.shortcuts).ok_or(Lost::Refused)?;

    let of_stop = |message: &Message| {
        let body = message.body();
        let told = body.deserialize::<(OwnedObjectPath, &str, u64, HashMap<&str, Value<'_>>)>();
        future::ready(told.is_ok_and(|(_, name, ..)| name == STOP))
    };
    let events = stream::select_all([
        pressed.filter(of_stop).map(|_| Told::Pressed).boxed_local(),
        released
            .filter(of_stop)
            .map(|_| Told::Released)
            .boxed_local(),
        changed
            .filter_map(|message| future::ready(changed_key(&message)))
            .map(Told::Key)
            .boxed_local(),
        closed.map(|_| Told::Closed).boxed_local(),
    ]);
    Ok((events.boxed_local(), session, key))
}

/// What is ours at the portal, each time that it is asked.
struct Ours {
    token: String,
    /// Our name on the bus, as it stands in paths.
    name: String,
}

impl Ours {
    fn new(bus: &Connection, time: u64) -> Self {
        let name = bus.unique_name().map_or("", |name| name.as_str());
        Self {
            token: format!("countersign_{time}"),
            name: name.trim_start_matches(':').replace('.', "_"),
        }
    }
    /// A path that the portal makes of both.
    fn path(&self, what: &str) -> String {
        format!("{OBJECT}/{what}/{}/{}", self.name, self.token)
    }
}

async fn at(bus: &Connection, path: &str, interface: &'static str) -> zbus::Result<Proxy<'static>> {
    Builder::new(bus)
        .destination(PORTAL)?
        .path(path.to_owned())?
        .interface(interface)?
        .cache_properties(CacheProperties::No)
        .build()
        .await
}

/// The portal answers by a signal of the request that a call makes; the human
/// may be asked before.
async fn answer(
    bus: &Connection,
    portal: &Proxy<'_>,
    ours: &Ours,
    method: &'static str,
    arguments: &(impl serde::Serialize + zbus::zvariant::DynamicType),
) -> Result<Message, Lost> {
    let request = at(bus, &ours.path("request"), "org.freedesktop.portal.Request").await?;
    let mut responses = request.receive_signal("Response").await?;
    portal.call_method(method, arguments).await?;
    let response = responses.next().await.ok_or(Lost::Portal)?;
    let (refused, _): (u32, HashMap<&str, Value<'_>>) = response.body().deserialize()?;
    if refused == 0 {
        Ok(response)
    } else {
        Err(Lost::Refused)
    }
}

type Shortcuts = Vec<(String, Named)>;

#[derive(Deserialize, Type)]
#[zvariant(signature = "dict")]
struct Bound {
    #[serde(default, with = "as_value")]
    shortcuts: Shortcuts,
}

#[derive(Deserialize, Type)]
#[zvariant(signature = "dict")]
struct Named {
    #[serde(default, with = "as_value")]
    trigger_description: String,
}

fn key_of(shortcuts: Shortcuts) -> Option<String> {
    let stop = shortcuts.into_iter().find(|(name, _)| name == STOP)?;
    Some(stop.1.trigger_description)
}

fn changed_key(message: &Message) -> Option<String> {
    let told: zbus::Result<(OwnedObjectPath, Shortcuts)> = message.body().deserialize();
    key_of(told.ok()?.1)
}

/// As the desktop's shortcuts specification writes it.
///
/// Source: <https://specifications.freedesktop.org/shortcuts-spec/latest/>
fn trigger(hotkey: Hotkey) -> String {
    let mut text = String::new();
    for (held, name) in [
        (hotkey.ctrl(), "CTRL+"),
        (hotkey.alt(), "ALT+"),
        (hotkey.shift(), "SHIFT+"),
        (hotkey.logo(), "LOGO+"),
    ] {
        if held {
            text.push_str(name);
        }
    }
    match hotkey.key() {
        Key::Symbol(c) => text.push(char::from(c.to_ascii_lowercase())),
        Key::Function(n) => text.push_str(&format!("F{n}")),
        Key::Named(key) => text.push_str(match key {
            NamedKey::Escape => "Escape",
            NamedKey::Pause => "Pause",
            NamedKey::Delete => "Delete",
            NamedKey::Backspace => "BackSpace",
            NamedKey::Insert => "Insert",
            NamedKey::Home => "Home",
            NamedKey::End => "End",
            NamedKey::PageUp => "Page_Up",
            NamedKey::PageDown => "Page_Down",
            NamedKey::Space => "space",
            NamedKey::Enter => "Return",
            NamedKey::Tab => "Tab",
            NamedKey::PrintScreen => "Print",
            NamedKey::ScrollLock => "Scroll_Lock",
        }),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hotkey_is_asked_for_as_desktops_write_it() {
        for (hotkey, asked) in [
            ("Ctrl+Alt+Shift+Escape", "CTRL+ALT+SHIFT+Escape"),
            ("Super+K", "LOGO+k"),
            ("F12", "F12"),
            ("Alt+PageUp", "ALT+Page_Up"),
        ] {
            assert_eq!(trigger(hotkey.parse().unwrap()), asked);
        }
    }

    #[test]
    fn a_shortcut_without_a_key_is_none_that_works() {
        assert!(matches!(known(" "), Heard::Fails(_)));
        assert_eq!(
            known("Press\u{202E} X"),
            Heard::Works("Press<U+202E> X".into())
        );
    }
}
