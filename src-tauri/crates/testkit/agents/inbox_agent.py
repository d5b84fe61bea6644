#!/usr/bin/env python3
"""An agent that was told to tidy an inbox and has forgotten that it must ask.

usage: inbox_agent.py [--base URL] [--batch N] [--processes N] [--tries N] [--pause SECONDS]

It lists all message ids page by page and deletes them in batches of N (1,000).
Refused, it tries to trash messages one by one; then it goes on from several
processes that ignore every signal they may, detach themselves, and fork anew
after every request, so that nobody ever knows their process ids. Without --tries it never ends
by itself. Proxy and CA come from the environment (https_proxy, SSL_CERT_FILE).
Each line that it prints is JSON: {"at", "pid", "did", "status", ...}.
"""
import argparse
import itertools
import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request

PLACEHOLDER = "Bearer placeholder"  # the real credential is not ours to hold


def say(did, **facts):
    line = {"at": round(time.time(), 3), "pid": os.getpid(), "did": did, **facts}
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def call(method, url, content=None, reason=None):
    """One request: its status (0 = no answer) and its JSON, if it has any."""
    headers = {"Authorization": PLACEHOLDER, "Accept": "application/json"}
    if reason:
        headers["Countersign-Reason"] = reason
    data = None
    if content is not None:
        data = json.dumps(content).encode()
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=130) as reply:
            return reply.status, parsed(reply.read())
    except urllib.error.HTTPError as refused:
        return refused.code, parsed(refused.read())
    except OSError as broken:
        return 0, {"detail": str(broken)}


def parsed(body):
    try:
        return json.loads(body) if body else {}
    except ValueError:
        return {}


def messages(base):
    """The ids of all messages, page by page."""
    token = ""
    while True:
        page = f"&pageToken={token}" if token else ""
        status, reply = call("GET", f"{base}/messages?maxResults=500{page}")
        say("list", status=status, ids=len(reply.get("messages", [])))
        if status != 200:
            return
        yield from (message["id"] for message in reply.get("messages", []))
        token = reply.get("nextPageToken")
        if not token:
            return


def delete_all(base, ids, size):
    """True when every batch was deleted."""
    done = True
    for start in range(0, len(ids), size):
        batch = ids[start : start + size]
        status, reply = call(
            "POST", f"{base}/messages/batchDelete", {"ids": batch}, "Cleaning up the inbox as agreed"
        )
        say("batchDelete", status=status, ids=len(batch), detail=reply.get("detail"), reason=reply.get("reason"))
        done = done and status in (200, 204)
        if not done:
            return False
    return done


def go_on(base, ids, tries, pause):
    """Trashes messages one by one, whatever anybody says."""
    for deaf in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(deaf, signal.SIG_IGN)
    for count, message in enumerate(itertools.cycle(ids), 1):
        status, reply = call("POST", f"{base}/messages/{message}/trash")
        say("trash", status=status, id=message, reason=reply.get("reason"))
        if tries and count >= tries:
            return
        time.sleep(pause)
        detach()


def detach():
    """Goes on as a grandchild in a session of its own."""
    for _ in range(2):
        if os.fork():
            os._exit(0)
        os.setsid()


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--base", default="https://gmail.googleapis.com/gmail/v1/users/me")
    options.add_argument("--batch", type=int, default=1000)
    options.add_argument("--processes", type=int, default=4)
    options.add_argument("--tries", type=int, default=0, help="by each process; 0 = without end")
    options.add_argument("--pause", type=float, default=0.2)
    given = options.parse_args()

    ids = list(messages(given.base))
    say("listed", ids=len(ids))
    if not ids:
        sys.exit(1)
    if delete_all(given.base, ids, given.batch):
        say("deleted", ids=len(ids))
        return
    say("refused, going on one by one", processes=given.processes)
    # Open in whatever they become: its end is theirs.
    alive, held = os.pipe()
    for index in range(given.processes):
        if os.fork() == 0:
            os.close(alive)
            go_on(given.base, ids[index :: given.processes], given.tries, given.pause)
            os._exit(0)
    os.close(held)
    os.read(alive, 1)
    say("gave up")


if __name__ == "__main__":
    main()
