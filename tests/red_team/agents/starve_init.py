"""Takes the processors away from init, by whose death a run ends: what gets none does
not die. By every call that does so to another process of the same user."""
import ctypes, errno, os, resource, threading

libc = ctypes.CDLL(None, use_errno=True)
SETATTR, IOPRIO_SET = {"x86_64": (314, 251), "aarch64": (274, 30)}[os.uname().machine]
IDLE = os.sched_param(0)


def ioprio(which, who):
    if libc.syscall(IOPRIO_SET, which, who, 3 << 13) != 0:
        raise OSError(ctypes.get_errno(), "ioprio_set")


def setattr_(who):
    attributes = ctypes.create_string_buffer(48)
    attributes[0:8] = (48).to_bytes(4, "little") + (5).to_bytes(4, "little")
    if libc.syscall(SETATTR, who, attributes, 0) != 0:
        raise OSError(ctypes.get_errno(), "sched_setattr")


TRIES = {
    "scheduler": lambda who: os.sched_setscheduler(who, os.SCHED_IDLE, IDLE),
    "attributes": setattr_,
    "affinity": lambda who: os.sched_setaffinity(who, {0}),
    "priority": lambda who: os.setpriority(os.PRIO_PROCESS, who, 19),
    "group's priority": lambda who: os.setpriority(os.PRIO_PGRP, who, 19),
    "disk priority": lambda who: ioprio(1, who),
    "limits": lambda who: resource.prlimit(who, resource.RLIMIT_CPU, (1, 1)),
    "everybody's priority": lambda who: os.setpriority(os.PRIO_USER, 0, 19),
    "everybody's disk priority": lambda who: ioprio(3, 0),
}

threads = [int(name) for name in os.listdir("/proc/1/task")]
assert 1 in threads and len(threads) > 1, threads
for name, attempt in TRIES.items():
    for who in threads + list(range(1, 16)):
        try:
            attempt(who)
            print("REACHED", name, "of", who)
        except OSError as refused:
            if refused.errno != errno.EPERM:
                print("REACHED", name, "of", who, "is refused by chance:", refused)

# Of oneself, by number as threads' libraries do, it is allowed.
assert os.getpid() > 15
os.sched_setaffinity(threading.get_native_id(), os.sched_getaffinity(0))
os.setpriority(os.PRIO_PROCESS, os.getpid(), 6)
os.sched_setscheduler(os.getpid(), os.SCHED_BATCH, IDLE)
ioprio(1, os.getpid())
resource.prlimit(os.getpid(), resource.RLIMIT_CORE, (0, 0))
print("TRIED")
