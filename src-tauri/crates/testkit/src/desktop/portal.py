# What stands behind the desktop's portal for global shortcuts, as a compositor
# would; and, beside that, what a test tells it to do.
import sys
import time

from gi.repository import Gio, GLib

NAME, PATH = "org.freedesktop.impl.portal.desktop.test", "/org/freedesktop/portal/desktop"
SHORTCUTS, SESSION = "org.freedesktop.impl.portal.GlobalShortcuts", "org.freedesktop.impl.portal.Session"
PAGES = Gio.DBusNodeInfo.new_for_xml(
    f"""<node>
<interface name="{SHORTCUTS}">
  <method name="CreateSession">
    <arg type="o" direction="in"/><arg type="o" direction="in"/><arg type="s" direction="in"/>
    <arg type="a{{sv}}" direction="in"/><arg type="u" direction="out"/><arg type="a{{sv}}" direction="out"/>
  </method>
  <method name="BindShortcuts">
    <arg type="o" direction="in"/><arg type="o" direction="in"/><arg type="a(sa{{sv}})" direction="in"/>
    <arg type="s" direction="in"/><arg type="a{{sv}}" direction="in"/>
    <arg type="u" direction="out"/><arg type="a{{sv}}" direction="out"/>
  </method>
  <method name="ListShortcuts">
    <arg type="o" direction="in"/><arg type="o" direction="in"/>
    <arg type="u" direction="out"/><arg type="a{{sv}}" direction="out"/>
  </method>
  <signal name="Activated"><arg type="o"/><arg type="s"/><arg type="t"/><arg type="a{{sv}}"/></signal>
  <signal name="Deactivated"><arg type="o"/><arg type="s"/><arg type="t"/><arg type="a{{sv}}"/></signal>
  <signal name="ShortcutsChanged"><arg type="o"/><arg type="a(sa{{sv}})"/></signal>
  <property name="version" type="u" access="read"/>
</interface>
<interface name="{SESSION}">
  <method name="Close"/><signal name="Closed"/><property name="version" type="u" access="read"/>
</interface>
<interface name="app.countersign.test.Hands">
  <method name="Asked"><arg type="s" direction="out"/></method>
  <method name="Press"/><method name="Release"/><method name="TakeBack"/>
  <method name="Name"><arg type="s" direction="in"/></method>
</interface>
</node>"""
).interfaces
bus = Gio.bus_get_sync(Gio.BusType.SESSION)
# Session -> its shortcuts; what was asked for last; what the key is called.
sessions, asked, rule = {}, [""], sys.argv[1:]


def named(shortcuts):
    """As the portal wants them back: with the words for their key."""
    called = rule[1] if rule[:1] == ["call"] else None
    return [
        (name, {
            "description": GLib.Variant("s", told.get("description", "")),
            "trigger_description": GLib.Variant("s", told.get("preferred_trigger", "") if called is None else called),
        })
        for name, told in shortcuts
    ]


def tell(signal, *last):
    for session, shortcuts in sessions.items():
        for name, _ in shortcuts:
            now = int(time.monotonic() * 1000)
            bus.emit_signal(None, PATH, SHORTCUTS, signal, GLib.Variant("(osta{sv})", (session, name, now, {})))


def called(_bus, _sender, path, _interface, method, arguments, invocation):
    arguments, answer = arguments.unpack(), None
    if method == "CreateSession":
        session = arguments[1]
        sessions[session] = []
        bus.register_object(session, PAGES[1], called, version, None)
        answer = GLib.Variant("(ua{sv})", (0, {}))
    elif method == "BindShortcuts":
        asked[0] = arguments[2][0][1].get("preferred_trigger", "")
        refused = rule == ["refuse"]
        sessions[arguments[1]] = [] if refused else arguments[2]
        told = GLib.Variant("a(sa{sv})", named(sessions[arguments[1]]))
        answer = GLib.Variant("(ua{sv})", (int(refused), {"shortcuts": told}))
    elif method == "ListShortcuts":
        told = GLib.Variant("a(sa{sv})", named(sessions[arguments[1]]))
        answer = GLib.Variant("(ua{sv})", (0, {"shortcuts": told}))
    elif method == "Close":
        sessions.pop(path, None)
    elif method == "Asked":
        answer = GLib.Variant("(s)", (asked[0],))
    elif method == "Press":
        tell("Activated")
    elif method == "Release":
        tell("Deactivated")
    elif method == "TakeBack":
        for session in list(sessions):
            sessions.pop(session)
            bus.emit_signal(None, session, SESSION, "Closed", None)
    elif method == "Name":
        rule[:] = ["call", arguments[0]]
        for session, shortcuts in sessions.items():
            told = GLib.Variant("(oa(sa{sv}))", (session, named(shortcuts)))
            bus.emit_signal(None, PATH, SHORTCUTS, "ShortcutsChanged", told)
    invocation.return_value(answer)


def version(*_):
    return GLib.Variant("u", 1)


for page in (PAGES[0], PAGES[2]):
    bus.register_object(PATH, page, called, version, None)
Gio.bus_own_name_on_connection(bus, NAME, 0, None, None)
GLib.MainLoop().run()
