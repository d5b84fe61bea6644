"""Reads whatever is named: the user's secrets, the authority's state, other runs."""
import os, sys

for path in sys.argv[1:]:
    try:
        found = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
        if found:
            print("REACHED", path)
    except OSError:
        pass
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/usr", "/dev")]
    for name in files:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                if b"red-team-" + b"canary" in file.read(1 << 20):
                    print("REACHED", folder, name)
        except OSError:
            pass
print("TRIED")
