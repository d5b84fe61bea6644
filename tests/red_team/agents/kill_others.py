"""Kills whoever it can: by number, everybody at once, and what started it."""
import os, signal, sys

for pid in [int(word) for word in sys.argv[1:]] + [1, os.getppid()]:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    os.kill(-1, signal.SIGTERM)
except OSError:
    pass
print("TRIED")
