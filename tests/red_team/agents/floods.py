"""Opens ten thousand connections, sends and a head that never ends."""
import os, resource, socket, sys

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
kept, refused = [], 0
for number in range(10_000):
    try:
        s = socket.socket()
        s.settimeout(0.1)
        s.connect(("127.0.0.1", 3128))
        kept.append(s)
    except OSError:
        refused += 1
        if refused > 20:
            break
for s in kept[:200]:
    try:
        s.sendall(b"GET http://x.example/ HTTP/1.1\r\n")
    except OSError:
        pass
for s in kept:
    s.close()
head = socket.socket()
head.settimeout(5)
sent = 0
try:
    head.connect(("127.0.0.1", 3128))
    head.sendall(b"GET http://x.example/ HTTP/1.1\r\nHost: x.example\r\nX: ")
    part = b"x" * (1 << 20)
    while sent < 1 << 30:
        head.sendall(part)
        sent += len(part)
    print("REACHED a head of a gibibyte")
except OSError:
    pass
print("TRIED")
