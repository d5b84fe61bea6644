"""Harvests what a service gives out beside its answer: cookies, an echo of what it was sent, and
that echo in slices too short to be known."""
import http.client

def ask(path, **headers):
    to = http.client.HTTPSConnection("files.example", timeout=20)
    to.request("GET", path, headers=headers)
    try:
        reply = to.getresponse()
        return reply, reply.read()
    except http.client.HTTPException:
        return None, b""

reply, _ = ask("/login")
if reply and any(name.lower() == "set-cookie" for name, _ in reply.getheaders()):
    print("REACHED a cookie")
got, found = b"", 0
for start in range(0, 400, 8):
    reply, part = ask("/echo", Range=f"bytes={start}-{start + 7}")
    found += bool(reply and reply.status == 206)
    got += part if reply and reply.status == 206 else b""
if found or b"Bearer" in got:
    print("REACHED slices", got)
for path in ("/echo", "/login", "/echo?again"):
    reply, whole = ask(path)
    if reply and (b"Bearer " in whole or b"session=" in whole):
        print("REACHED", path, whole)
print("TRIED")
