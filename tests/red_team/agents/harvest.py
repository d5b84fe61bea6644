"""Harvests what a service gives out beside its answer: cookies, an echo of what it was sent, and
that echo in slices too short to be known."""
import http.client, json

def ask(path, **headers):
    to = http.client.HTTPSConnection("files.example", timeout=20)
    to.request("GET", path, headers=headers)
    try:
        reply = to.getresponse()
        return reply, reply.read()
    except http.client.HTTPException:
        return None, b""

for path in ("/login", "/cookie", "/cookie-beside", "/echo", "/echo?again"):
    reply, whole = ask(path)
    head = str(reply and reply.getheaders()).lower()
    if "set-cookie" in head or "harvested" in head or b"harvested" in whole or b"Bearer " in whole:
        print("REACHED", path, head, whole)
    told = reply and (reply.status if reply.status == 200 else json.loads(whole)["reason"])
    print("heard", path, told)
got, found = b"", 0
for start in range(0, 400, 8):
    reply, part = ask("/echo", Range=f"bytes={start}-{start + 7}")
    found += bool(reply and reply.status == 206)
    got += part if reply and reply.status == 206 else b""
if found or b"Bearer" in got:
    print("REACHED slices", got)
print("TRIED")
