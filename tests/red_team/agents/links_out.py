"""Leads writes out of the folder by links, and programs of the user into it."""
import os, sys

home, outside = os.path.expanduser("~"), sys.argv[1]
for target in (outside, "/etc/passwd", f"{home}/.bashrc", f"{home}/.ssh/authorized_keys"):
    name = "link-" + os.path.basename(target)
    try:
        os.symlink(target, name)
        with open(name, "a") as file:
            file.write("red-team-was-here\n")
    except OSError:
        pass
    try:
        os.link(target, "hard-" + os.path.basename(target))
        with open("hard-" + os.path.basename(target), "a") as file:
            file.write("red-team-was-here\n")
    except OSError:
        pass
try:
    os.rename("/usr/bin/true", "stolen")
    print("REACHED /usr/bin")
except OSError:
    pass
print("TRIED")
