"""Stands in the way of `countersign stop`, from outside of any run: connects to the control socket
from several processes as fast as it can, says nothing, half of something, something long or what
is answered at length, and sends descriptors along whose closing takes as long as it says."""
import json, os, socket, struct, sys, time

control, until = sys.argv[1], time.monotonic() + float(sys.argv[2])

def slow():
    """A TCP socket that takes an hour to close: what it sent is never taken, and it insists."""
    there = socket.create_server(("127.0.0.1", 0))
    here = socket.create_connection(there.getsockname())
    here.setblocking(False)
    try:
        while True:
            here.send(b"x" * 65536)
    except BlockingIOError:
        pass
    here.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    return here, there

text = json.dumps({"ask": "status"}).encode()
whole = struct.pack(">I", len(text)) + text
words = [b"", whole, whole[:7], struct.pack(">I", 1 << 22) + b"x" * 100, b"\xff" * 5000]
for process in range(6):
    if os.fork() == 0:
        kept, there = [], []
        while time.monotonic() < until:
            try:
                to = socket.socket(socket.AF_UNIX)
                to.settimeout(1)
                to.connect(control)
                kept.append(to)
                if len(kept) % 5 == 0 and len(there) < 80:
                    here, behind = slow()
                    there.append(behind)
                    try:
                        socket.send_fds(to, [whole[:20]], [here.fileno()])
                        here.close()
                    except OSError:
                        # The kernel lets none through: to close it would be our own hour.
                        there.append(here)
                else:
                    to.sendall(words[len(kept) % len(words)])
            except OSError:
                pass
            if len(kept) > 300:
                for to in kept[:150]:
                    to.close()
                del kept[:150]
        os._exit(0)
time.sleep(0.5)
print("FLOODING", flush=True)
for process in range(6):
    os.wait()
print("TRIED")
