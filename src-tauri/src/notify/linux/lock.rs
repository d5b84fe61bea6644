//! Whether the session is locked: an Approve behind a locked screen is none,
//! for nobody can have read what it is about.
//!
//! There is no one place that says so. Screen savers say it on the session bus,
//! and what locks by itself (i3lock and swaylock, by way of what started them)
//! on logind's hint, if at all. Who cannot say because nobody is there counts as
//! "not locked"; who is there and does not answer, as "locked".

use zbus::blocking::Connection;
use zbus::blocking::connection::Builder;
use zbus::blocking::fdo::DBusProxy;
use zbus::names::{BusName, WellKnownName};
use zbus::zvariant::Value;

/// The screen savers: name (of service and interface), and path.
const SAVERS: [(&str, &str); 3] = [
    (
        "org.freedesktop.ScreenSaver",
        "/org/freedesktop/ScreenSaver",
    ),
    ("org.gnome.ScreenSaver", "/org/gnome/ScreenSaver"),
    ("org.xfce.ScreenSaver", "/org/xfce/ScreenSaver"),
];

/// Source: org.freedesktop.login1(5). `auto` is the caller's session, or the
/// display session of its user.
const LOGIND: &str = "org.freedesktop.login1";
const SESSION: &str = "/org/freedesktop/login1/session/auto";
const SESSION_INTERFACE: &str = "org.freedesktop.login1.Session";

/// Whether anybody who would know says that the session is locked.
pub(super) fn locked(bus: &Connection) -> bool {
    SAVERS
        .into_iter()
        .any(|(name, path)| saver_is_on(bus, name, path))
        || logind_hints()
}

fn saver_is_on(bus: &Connection, name: &'static str, path: &str) -> bool {
    if !is_there(bus, name) {
        return false;
    }
    match bus.call_method(Some(name), path, Some(name), "GetActive", &()) {
        Ok(reply) => reply.body().deserialize().unwrap_or(true),
        // It has no such method: it is a mere inhibitor.
        Err(zbus::Error::MethodError(..)) => false,
        Err(_) => true,
    }
}

fn logind_hints() -> bool {
    let Ok(bus) = Builder::system()
        .map(|builder| builder.method_timeout(super::PATIENCE))
        .and_then(Builder::build)
    else {
        // No system bus, so no logind.
        return false;
    };
    if !is_there(&bus, LOGIND) {
        return false;
    }
    let asked = bus.call_method(
        Some(LOGIND),
        SESSION,
        Some("org.freedesktop.DBus.Properties"),
        "Get",
        &(SESSION_INTERFACE, "LockedHint"),
    );
    match asked {
        Ok(reply) => match reply.body().deserialize() {
            Ok(Value::Bool(locked)) => locked,
            _ => true,
        },
        // We belong to no session that it knows of.
        Err(zbus::Error::MethodError(..)) => false,
        Err(_) => true,
    }
}

/// Whether somebody owns the name. A bus that does not answer says yes: then
/// the next question fails, and that counts as locked.
fn is_there(bus: &Connection, name: &'static str) -> bool {
    let Ok(name) = WellKnownName::from_static_str(name) else {
        return false;
    };
    DBusProxy::new(bus)
        .and_then(|dbus| Ok(dbus.name_has_owner(BusName::WellKnown(name))?))
        .unwrap_or(true)
}
