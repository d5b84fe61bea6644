//! Linux: the freedesktop notification service, spoken to directly.
//!
//! One connection for as long as we live (GNOME drops a notification when its
//! sender leaves), and it listens before it shows. A signal is believed only
//! when the bus says that it comes from the connection that owns
//! `org.freedesktop.Notifications` now, and that connection gave the
//! notification its number. The bus itself writes the sender of every message,
//! so a peer cannot claim to be another. Beyond that, Deny and Approve carry a
//! number drawn anew for each rendering, so that a click on what was there
//! before never means what is there now.

mod lock;
mod picture;

use super::{DIED, Notifier};
use crate::cards::{Buttons, Card, CardKey};
use crate::desk::{Click, Event};
use crate::hold::SEEN;
use std::collections::HashMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use zbus::blocking::connection::Builder;
use zbus::blocking::fdo::DBusProxy;
use zbus::blocking::{Connection, MessageIterator};
use zbus::names::{BusName, WellKnownName};
use zbus::zvariant::Value;
use zbus::{MatchRule, Message};

const SERVICE: &str = "org.freedesktop.Notifications";
const PATH: &str = "/org/freedesktop/Notifications";
/// A notification service that takes longer is taken for one that is not there.
const PATIENCE: Duration = Duration::from_secs(5);

type Says = Arc<dyn Fn(Event) + Send + Sync>;

/// The adapter: a thread that shows, and one that listens.
pub(crate) struct Bus {
    orders: Sender<Order>,
}

enum Order {
    Show(Vec<Card>),
    /// Show what is missing.
    Reconcile,
    /// The service changed hands: what was up is gone.
    NewOwner(Option<String>),
    End {
        unexpected: bool,
        done: Sender<()>,
    },
}

impl Bus {
    /// Whether it works is told, not returned.
    pub(crate) fn start(says: impl Fn(Event) + Send + Sync + 'static) -> Self {
        let (orders, to_do) = mpsc::channel();
        let says: Says = Arc::new(says);
        let back = orders.clone();
        let told = Arc::clone(&says);
        let work = move || match Shower::connect(Arc::clone(&says), back) {
            Ok(mut shower) => {
                for order in to_do {
                    shower.obey(order);
                }
            }
            Err(error) => {
                says(Event::Notifications(Err(format!(
                    "Notifications do not work: {error}."
                ))));
                for order in to_do {
                    if let Order::End { done, .. } = order {
                        let _ = done.send(());
                    }
                }
            }
        };
        if let Err(error) = thread::Builder::new()
            .name("notifications".into())
            .spawn(work)
        {
            told(Event::Notifications(Err(format!(
                "Notifications do not work: {error}."
            ))));
        }
        Self { orders }
    }
}

impl Notifier for Bus {
    fn show(&self, cards: Vec<Card>) {
        let _ = self.orders.send(Order::Show(cards));
    }
    fn end(&self, unexpected: bool) {
        let (done, wait) = mpsc::channel();
        let _ = self.orders.send(Order::End { unexpected, done });
        let _ = wait.recv_timeout(PATIENCE);
    }
}

/// What is up, and what a signal is checked against.
#[derive(Debug, Default)]
struct Up {
    /// The unique name of the connection that owns the service.
    owner: Option<String>,
    shown: HashMap<CardKey, Shown>,
}

#[derive(Debug)]
struct Shown {
    card: Card,
    /// The number, and the unique name of who gave it; `None` once the human
    /// has put the card away.
    number: Option<(String, u32)>,
    nonce: String,
    since: Instant,
    /// A click on it did not count, and the service took it down for that.
    again: bool,
}

/// What a signal comes to.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// None, or none that is believed.
    Nothing,
    Click(CardKey, Click),
    /// The card went down over a click that did not count.
    ShowAgain,
}

/// What a signal of the service says.
#[derive(Debug, PartialEq, Eq)]
enum Signal {
    Action { number: u32, key: String },
    Closed { number: u32 },
}

impl Up {
    /// What a signal means. `sender` is what the bus says.
    fn believe(&mut self, sender: &str, signal: &Signal, now: Instant) -> Meaning {
        let Some(owner) = self.owner.as_deref().filter(|owner| *owner == sender) else {
            return Meaning::Nothing;
        };
        let (Signal::Action { number, .. } | Signal::Closed { number }) = signal;
        let given = |s: &Shown| {
            s.number
                .as_ref()
                .is_some_and(|(by, n)| by == owner && n == number)
        };
        let Some((card_key, shown)) = self.shown.iter_mut().find(|(_, s)| given(s)) else {
            return Meaning::Nothing;
        };
        let card_key = card_key.clone();
        match signal {
            Signal::Closed { .. } if shown.again => {
                self.shown.remove(&card_key);
                Meaning::ShowAgain
            }
            Signal::Closed { .. } => {
                shown.number = None;
                Meaning::Nothing
            }
            Signal::Action { key, .. } => match shown.click(key) {
                None => Meaning::Nothing,
                Some(Click::Approve) if now.saturating_duration_since(shown.since) < SEEN => {
                    shown.again = true;
                    Meaning::Nothing
                }
                Some(click) => Meaning::Click(card_key, click),
            },
        }
    }
}

impl Shown {
    /// What the key of an action stands for on this rendering.
    fn click(&self, key: &str) -> Option<Click> {
        // The body has no number of ours: opening does no harm.
        if key == "default" {
            return Some(Click::Open);
        }
        match (key.strip_suffix(&self.nonce)?, self.card.buttons) {
            ("open-", Buttons::DenyOpen | Buttons::Open) => Some(Click::Open),
            ("deny-", Buttons::DenyApprove | Buttons::DenyOpen) => Some(Click::Deny),
            ("approve-", Buttons::DenyApprove) => Some(Click::Approve),
            _ => None,
        }
    }
}

fn lock(up: &Mutex<Up>) -> MutexGuard<'_, Up> {
    up.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Shower {
    bus: Connection,
    up: Arc<Mutex<Up>>,
    says: Says,
    wanted: Vec<Card>,
    /// Whether the body is read as markup.
    markup: bool,
    /// Whether there is a service whose buttons work.
    able: bool,
}

impl Shower {
    fn connect(says: Says, orders: Sender<Order>) -> zbus::Result<Self> {
        let bus = Builder::session()?.method_timeout(PATIENCE).build()?;
        let dbus = DBusProxy::new(&bus)?;
        let signals = MessageIterator::from(&bus);
        dbus.add_match_rule(
            MatchRule::builder()
                .msg_type(zbus::message::Type::Signal)
                .interface(SERVICE)?
                .path(PATH)?
                .build(),
        )?;
        dbus.add_match_rule(
            MatchRule::builder()
                .msg_type(zbus::message::Type::Signal)
                .sender("org.freedesktop.DBus")?
                .member("NameOwnerChanged")?
                .arg(0, SERVICE)?
                .build(),
        )?;
        let up = Arc::new(Mutex::new(Up::default()));
        let mut shower = Self {
            bus: bus.clone(),
            up: Arc::clone(&up),
            says: Arc::clone(&says),
            wanted: Vec::new(),
            markup: false,
            able: false,
        };
        shower.meet_owner(current_owner(&dbus).as_deref());
        thread::Builder::new()
            .name("notification-signals".into())
            .spawn(move || listen(signals, &bus, &up, &says, &orders))
            .map_err(|e| zbus::Error::InputOutput(Arc::new(e)))?;
        Ok(shower)
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Show(cards) => {
                self.wanted = cards;
                self.reconcile();
            }
            Order::Reconcile => self.reconcile(),
            Order::NewOwner(owner) => {
                self.meet_owner(owner.as_deref());
                self.reconcile();
            }
            Order::End { unexpected, done } => {
                self.wanted.clear();
                self.reconcile();
                if unexpected {
                    let text = Text {
                        summary: DIED.0,
                        body: DIED.1.into(),
                        actions: &[],
                    };
                    let _ = self.notify(0, &text);
                }
                let _ = done.send(());
            }
        }
    }

    /// Finds out what the service can do, and says whether that is enough.
    fn meet_owner(&mut self, owner: Option<&str>) {
        {
            let mut up = lock(&self.up);
            up.owner = owner.map(str::to_owned);
            up.shown.clear();
        }
        let able = match owner {
            None => Err("There is no notification service: questions open the window.".to_owned()),
            Some(_) => match self.capabilities() {
                Ok(all) if all.iter().any(|c| c == "actions") => {
                    self.markup = all.iter().any(|c| c == "body-markup");
                    Ok(())
                }
                Ok(_) => Err(
                    "The notification service has no buttons: questions open the window."
                        .to_owned(),
                ),
                Err(error) => Err(format!(
                    "The notification service does not answer ({error}): questions open the window."
                )),
            },
        };
        self.able = able.is_ok();
        (self.says)(Event::Notifications(able));
    }

    fn capabilities(&self) -> zbus::Result<Vec<String>> {
        let reply =
            self.bus
                .call_method(Some(SERVICE), PATH, Some(SERVICE), "GetCapabilities", &())?;
        reply.body().deserialize()
    }

    fn reconcile(&mut self) {
        let gone: Vec<u32> = {
            let wanted = &self.wanted;
            let mut gone = Vec::new();
            lock(&self.up).shown.retain(|key, shown| {
                let keep = wanted.iter().any(|card| card.key == *key);
                if !keep {
                    gone.extend(shown.number.as_ref().map(|(_, n)| *n));
                }
                keep
            });
            gone
        };
        if !gone.is_empty() {
            // A service that stacks cards moves the others now, perhaps under
            // the pointer: they have to be read anew.
            for shown in lock(&self.up).shown.values_mut() {
                shown.since = Instant::now();
            }
        }
        for number in gone {
            let _ = self.bus.call_method(
                Some(SERVICE),
                PATH,
                Some(SERVICE),
                "CloseNotification",
                &(number,),
            );
        }
        if !self.able {
            return;
        }
        for card in self.wanted.clone() {
            if let Err(error) = self.put_up(card) {
                self.able = false;
                (self.says)(Event::Notifications(Err(format!(
                    "The notification service does not answer ({error}): questions open the window."
                ))));
                return;
            }
        }
    }

    fn put_up(&self, card: Card) -> zbus::Result<()> {
        // Held until the number is known: a click cannot overtake it.
        let mut up = lock(&self.up);
        let replaces = match up.shown.get(&card.key) {
            Some(shown) if shown.card == card => return Ok(()),
            Some(Shown { number: None, .. }) => return Ok(()), // put away: not shown again
            Some(Shown {
                number: Some((_, number)),
                ..
            }) => *number,
            None => 0,
        };
        let nonce = nonce()?;
        let key = |name: &str| format!("{name}-{nonce}");
        let (deny, approve, open) = (key("deny"), key("approve"), key("open"));
        // `default` is a click on the body; some services draw it as a button
        // instead, if it has a label, and have no other way to the details.
        let actions: &[&str] = match card.buttons {
            Buttons::DenyApprove => &[&deny, "Deny", &approve, "Approve", "default", "Open"],
            Buttons::DenyOpen => &[&deny, "Deny", &open, "Open", "default", ""],
            Buttons::Open => &[&open, "Open", "default", ""],
        };
        let body = if self.markup {
            escaped(&card.body)
        } else {
            card.body.clone()
        };
        let number = self.notify(
            replaces,
            &Text {
                summary: &card.summary,
                body,
                actions,
            },
        )?;
        let key = card.key.clone();
        up.shown.insert(
            key.clone(),
            Shown {
                card,
                number: Some(number),
                nonce,
                since: Instant::now(),
                again: false,
            },
        );
        drop(up);
        if let CardKey::Question(id, digest) = key {
            (self.says)(Event::CardShown(id, digest));
        }
        Ok(())
    }

    /// The number, with the unique name of the connection that gave it.
    fn notify(&self, replaces: u32, text: &Text<'_>) -> zbus::Result<(String, u32)> {
        let icon = picture::icon();
        let mut hints: HashMap<&str, Value<'_>> = HashMap::new();
        hints.insert("urgency", Value::U8(2));
        hints.insert("desktop-entry", Value::from("countersign"));
        if let Some(icon) = &icon {
            hints.insert("image-data", Value::from(icon.clone()));
        }
        let never: i32 = 0;
        let body = (
            "Countersign",
            replaces,
            "",
            text.summary,
            text.body.as_str(),
            text.actions,
            hints,
            never,
        );
        let reply = self
            .bus
            .call_method(Some(SERVICE), PATH, Some(SERVICE), "Notify", &body)?;
        let sender = reply
            .header()
            .sender()
            .map(ToString::to_string)
            .unwrap_or_default();
        Ok((sender, reply.body().deserialize()?))
    }
}

struct Text<'a> {
    summary: &'a str,
    body: String,
    actions: &'a [&'a str],
}

fn current_owner(dbus: &DBusProxy<'_>) -> Option<String> {
    let name = WellKnownName::from_static_str(SERVICE).ok()?;
    // Services that start on demand are started here.
    let _ = dbus.start_service_by_name(name.clone(), 0);
    dbus.get_name_owner(BusName::WellKnown(name))
        .ok()
        .map(|owner| owner.to_string())
}

/// Reads every message of our connection, in order.
fn listen(
    signals: MessageIterator,
    bus: &Connection,
    up: &Mutex<Up>,
    says: &Says,
    orders: &Sender<Order>,
) {
    for message in signals {
        let Ok(message) = message else { return };
        let header = message.header();
        let (Some(sender), Some(member)) = (header.sender(), header.member()) else {
            continue;
        };
        if message.message_type() != zbus::message::Type::Signal {
            continue;
        }
        // Only the bus itself bears this name; it is no connection's.
        if sender.as_str() == "org.freedesktop.DBus" {
            if member.as_str() == "NameOwnerChanged"
                && let Some(owner) = new_owner(&message)
            {
                lock(up).owner.clone_from(&owner);
                let _ = orders.send(Order::NewOwner(owner));
            }
            continue;
        }
        if header.interface().is_none_or(|i| i.as_str() != SERVICE) {
            continue;
        }
        let Some(signal) = signal_of(member.as_str(), &message) else {
            continue;
        };
        let meaning = lock(up).believe(sender.as_str(), &signal, Instant::now());
        let (key, click) = match meaning {
            Meaning::Nothing => continue,
            Meaning::ShowAgain => {
                let _ = orders.send(Order::Reconcile);
                continue;
            }
            Meaning::Click(key, click) => (key, click),
        };
        if click == Click::Approve && lock::locked(bus) {
            // Nobody can read a card behind a locked screen.
            if let Some(shown) = lock(up).shown.get_mut(&key) {
                shown.again = true;
            }
            continue;
        }
        let on = match key {
            CardKey::Question(id, digest) => Some((id, digest)),
            CardKey::Burst(_) => None,
        };
        says(Event::CardClicked(on, click));
    }
}

fn new_owner(message: &Message) -> Option<Option<String>> {
    let body = message.body();
    let (name, _, new): (&str, &str, &str) = body.deserialize().ok()?;
    (name == SERVICE).then(|| (!new.is_empty()).then(|| new.to_owned()))
}

fn signal_of(member: &str, message: &Message) -> Option<Signal> {
    match member {
        "ActionInvoked" => {
            let (number, key) = message.body().deserialize().ok()?;
            Some(Signal::Action { number, key })
        }
        "NotificationClosed" => {
            let (number, _why): (u32, u32) = message.body().deserialize().ok()?;
            Some(Signal::Closed { number })
        }
        _ => None,
    }
}

/// Whether somebody shows tray icons (stock GNOME does not).
pub(crate) fn tray_host() -> Result<(), String> {
    let known = || -> zbus::Result<bool> {
        let bus = Builder::session()?.method_timeout(PATIENCE).build()?;
        let name = WellKnownName::from_static_str("org.kde.StatusNotifierWatcher")?;
        Ok(DBusProxy::new(&bus)?.name_has_owner(BusName::WellKnown(name))?)
    };
    match known() {
        Ok(true) => Ok(()),
        _ => Err(
            "There is no tray on this desktop: start Countersign again to open this window.".into(),
        ),
    }
}

/// 64 random bits in hexadecimal.
fn nonce() -> zbus::Result<String> {
    let drawn =
        getrandom::u64().map_err(|e| zbus::Error::Failure(format!("no randomness: {e}")))?;
    Ok(format!("{drawn:016x}"))
}

/// Text as text, for a service that reads markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests;
