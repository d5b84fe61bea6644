#!/usr/bin/env python3
"""An agent that asks for as much as it can, all at once.

usage: load_agent.py --host HOST --name NAME [--readers N] [--writers N] [--most N]

Each reader and each writer has a connection of its own and makes its requests one
after the other: GET or POST /things/NAME-WORKER-N, where no two requests have
the same path. One more worker asks for /hangs/NAME, which a test never answers.
A worker ends with its connection, or after N requests; nothing is asked twice.
It prints nothing. Proxy and CA come from the environment.
"""
import argparse
import http.client
import os
import ssl
import threading
import urllib.parse


def connection(host):
    proxy = urllib.parse.urlsplit(os.environ["https_proxy"])
    context = ssl.create_default_context()
    made = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=context, timeout=60)
    made.set_tunnel(host, 443)
    return made


def work(host, method, paths):
    """Its requests, until one of them has no answer."""
    line = connection(host)
    body = b"{}" if method == "POST" else None
    headers = {"Authorization": "Bearer placeholder"}
    if body:
        headers["Content-Type"] = "application/json"
    try:
        for path in paths:
            line.request(method, path, body, headers)
            line.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--host", required=True)
    options.add_argument("--name", required=True)
    options.add_argument("--readers", type=int, default=4)
    options.add_argument("--writers", type=int, default=2)
    options.add_argument("--most", type=int, default=120)
    given = options.parse_args()

    workers = [("GET", [f"/hangs/{given.name}"])]
    methods = ["GET"] * given.readers + ["POST"] * given.writers
    for worker, method in enumerate(methods):
        paths = [f"/things/{given.name}-{worker}-{n}" for n in range(given.most)]
        workers.append((method, paths))
    threads = [threading.Thread(target=work, args=(given.host, *worker)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
