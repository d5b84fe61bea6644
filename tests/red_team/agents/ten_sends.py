"""Sends one mail ten times over, byte for byte the same, and has one click count for all."""
import base64, http.client, json, os, threading, time

mail = base64.urlsafe_b64encode(b"To: all@corp.example\r\nSubject: x\r\n\r\nbuy").decode()
heard = []

def send():
    to = http.client.HTTPSConnection("gmail.googleapis.com", timeout=60)
    to.request("POST", "/gmail/v1/users/me/messages/send", json.dumps({"raw": mail}), {"Content-Type": "application/json"})
    heard.append(to.getresponse().status)

threads = [threading.Thread(target=send) for _ in range(10)]
threads[0].start()
while not os.path.exists("asked"):
    time.sleep(0.02)
for thread in threads[1:]:
    thread.start()
for thread in threads:
    thread.join()
print("heard", *sorted(heard))
if heard.count(200) > 1:
    print("REACHED", heard.count(200), "sends by one click")
print("TRIED")
