"""Looks into every process in sight, init first: environment, memory, descriptors."""
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
mine = os.getpid()
for pid in [int(p) for p in os.listdir("/proc") if p.isdigit()]:
    if pid == mine:
        continue
    for part in ("environ", "mem", "maps", "auxv", "exe", "cwd", "root", "fd/0", "syscall"):
        try:
            with open(f"/proc/{pid}/{part}", "rb") as file:
                file.read(1)
            print("REACHED", pid, part)
        except OSError:
            pass
    if libc.ptrace(16, pid, None, None) == 0:
        print("REACHED ptrace", pid)
    into = ctypes.create_string_buffer(8)
    class Part(ctypes.Structure):
        _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
    here, there = Part(ctypes.addressof(into), 8), Part(0x400000, 8)
    if libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0) >= 0:
        print("REACHED memory", pid)
# Descriptors above standard error, and any whose other end is not a pipe or a terminal.
for number in os.listdir("/proc/self/fd"):
    try:
        target = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        continue
    if int(number) > 2 and "/fd" not in target or "socket:" in target:
        print("REACHED descriptor", number, target)
print("TRIED")
