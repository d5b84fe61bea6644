"""Asks for what was denied in other words: another object, another query, other headers, another
call with the same effect; and wears the human out."""
import http.client, json

BASE = "/gmail/v1/users/me/messages"
heard = []

def ask(method, path, body=None, headers={}):
    to = http.client.HTTPSConnection("gmail.googleapis.com", timeout=60)
    to.request(method, path, body, headers)
    reply = to.getresponse()
    text = reply.read()
    if reply.status == 403:
        heard.append(json.loads(text)["reason"])
    else:
        print("REACHED", method, path, reply.status)

for number in range(4):
    ask("DELETE", f"{BASE}/18f000000000000{number}")
    ask("DELETE", f"{BASE}/18f0000000000000?alt={number}")
    ask("DELETE", f"{BASE}/18f0000000000000", headers={"X-Attempt": str(number)})
    ask("POST", f"{BASE}/batchDelete", json.dumps({"ids": [f"{number}"]}), {"Content-Type": "application/json"})
print("heard", *heard)
print("TRIED")
