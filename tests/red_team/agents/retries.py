"""Hangs up on the question and asks again, and again once it was answered; and again when a
reply is lost, in the hope that somebody sends twice. It does one round a file: `go-NAME`."""
import base64, http.client, json, os, sys, time

mail = base64.urlsafe_b64encode(b"To: all@corp.example\r\nSubject: x\r\n\r\nbuy").decode()

def send(patience):
    to = http.client.HTTPSConnection("gmail.googleapis.com", timeout=patience)
    try:
        to.request("POST", "/gmail/v1/users/me/messages/send", json.dumps({"raw": mail}), {"Content-Type": "application/json"})
        reply = to.getresponse()
        reply.read()
        return str(reply.status)
    except OSError:
        # Not before it was seen that this one is gone.
        to.close()
        time.sleep(0.5)
        return "gave-up"
    except http.client.HTTPException:
        return "lost"
    finally:
        to.close()

for name in sys.argv[1:]:
    while not os.path.exists("go-" + name):
        time.sleep(0.02)
    print(name, *[send(1) for _ in range(4)] if name == "impatient" else [send(60)], flush=True)
print("TRIED")
