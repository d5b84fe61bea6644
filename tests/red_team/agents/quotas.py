"""Uses up what the kernel counts for all of the user's processes together: inotify instances,
descriptors that are under way, timers. Then it holds them until it is let go."""
import array, ctypes, socket, sys

libc = ctypes.CDLL(None, use_errno=True)
used = {"inotify": 0, "under-way": 0, "timers": 0}
while libc.inotify_init1(0) >= 0:
    used["inotify"] += 1
with open("/dev/null") as one:
    carry = array.array("i", [one.fileno()] * 200)
    pairs = []
    while True:
        try:
            pairs.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
            pairs[-1][0].setblocking(False)
            while True:
                pairs[-1][0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, carry)])
                used["under-way"] += 200
        except BlockingIOError:
            continue
        except OSError:
            break
timer = ctypes.c_void_p()
while used["timers"] < 300_000 and libc.timer_create(1, None, ctypes.byref(timer)) == 0:
    used["timers"] += 1
print("USED", *[f"{name}={count}" for name, count in used.items()], flush=True)
sys.stdin.read()
print("TRIED")
