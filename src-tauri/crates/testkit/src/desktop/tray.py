# list prints every menu entry of every tray item; choose LABEL chooses one.
import sys
import time

from gi.repository import Gio, GLib

MENU = "com.canonical.dbusmenu"
ITEM = "org.kde.StatusNotifierItem"
WATCHER = "org.kde.StatusNotifierWatcher"
bus = Gio.bus_get_sync(Gio.BusType.SESSION)


def call(owner, path, interface, method, arguments):
    reply = bus.call_sync(owner, path, interface, method, arguments, None, Gio.DBusCallFlags.NONE, 5000, None)
    return reply.unpack()


def get(owner, path, interface, name):
    arguments = GLib.Variant("(ss)", (interface, name))
    return call(owner, path, "org.freedesktop.DBus.Properties", "Get", arguments)[0]


def entries(owner, path):
    """(id, label, enabled) of every entry of a menu, submenus included."""
    call(owner, path, MENU, "AboutToShow", GLib.Variant("(i)", (0,)))
    arguments = GLib.Variant("(iias)", (0, -1, ["label", "enabled", "visible"]))
    stack = [call(owner, path, MENU, "GetLayout", arguments)[1]]
    while stack:
        number, properties, children = stack.pop()
        stack.extend(reversed(children))
        if properties.get("label") and properties.get("visible", True):
            # An underscore marks the key that chooses the entry.
            yield number, properties["label"].replace("__", "\0").replace("_", "").replace("\0", "_"), properties.get(
                "enabled", True
            )


def items():
    for name in get(WATCHER, "/StatusNotifierWatcher", WATCHER, "RegisteredStatusNotifierItems"):
        owner, slash, path = name.partition("/")
        yield owner, slash + path if slash else "/StatusNotifierItem"


def find(wanted=None):
    for owner, path in items():
        menu = get(owner, path, ITEM, "Menu")
        facts = [get(owner, path, ITEM, name) for name in ("Id", "Title", "Status")]
        for number, label, enabled in entries(owner, menu):
            if wanted is None:
                print("\t".join(repr(word)[1:-1] for word in (*facts, label)))
            elif label == wanted and enabled:
                now = int(time.time()) & 0xFFFFFFFF
                event = GLib.Variant("(isvu)", (number, "clicked", GLib.Variant("s", ""), now))
                call(owner, menu, MENU, "Event", event)
                return True
    return wanted is None


sys.exit(0 if find(sys.argv[2] if sys.argv[1] == "choose" else None) else 1)
