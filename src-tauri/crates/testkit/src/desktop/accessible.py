# find NAME [ROLE] prints "x y" of the centre of the first such thing that
# shows, or nothing; list prints role, name and text of all that shows.
import sys

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib

DEEPEST = 40


def walk(thing, depth=0):
    if thing is None or depth > DEEPEST:
        return
    yield thing
    try:
        count = thing.get_child_count()
    except GLib.Error:  # it has just gone
        return
    for index in range(count):
        try:
            child = thing.get_child_at_index(index)
        except GLib.Error:
            continue
        yield from walk(child, depth + 1)


def shows(thing):
    return thing.get_state_set().contains(Atspi.StateType.SHOWING)


def text(thing):
    content = thing.get_text_iface()
    return Atspi.Text.get_text(content, 0, -1) if content else ""


def find(name, role=""):
    for thing in walk(Atspi.get_desktop(0)):
        try:
            if thing.get_name() == name and role in ("", thing.get_role_name()) and shows(thing):
                place = thing.get_extents(Atspi.CoordType.SCREEN)
                if place.width > 0 and place.height > 0:
                    print(place.x + place.width // 2, place.y + place.height // 2)
                    return
        except GLib.Error:
            pass


def listing():
    for thing in walk(Atspi.get_desktop(0)):
        try:
            words = (thing.get_name() or "", text(thing))
            if any(words) and shows(thing):
                print("\t".join(repr(word)[1:-1] for word in (thing.get_role_name(), *words)))
        except GLib.Error:
            pass


if sys.argv[1] == "find":
    find(*sys.argv[2:])
else:
    listing()
