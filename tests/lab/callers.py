#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Clients that ask one small thing after another of a service whose backends say their names (named_server.py).
#
#   callers.py load ADDRESS…       two for each address with a connection per request, two that keep theirs, until SIGTERM;
#                                  then each takes its last answer. A line for each request: KIND ID OUTCOME, which is
#                                  the name, an HTTP status that is not 200, or an error. What was sent on a kept
#                                  connection that ended before the answer began is sent once more on a new one, as
#                                  browsers do.
#   callers.py hold ADDRESS NAME   a connection that is served by NAME: says so, and then, for each line of its input,
#                                  asks again on it and says who answered.

import http.client
import os
import signal
import sys
import threading
import time

PATIENCE_S = 60
ENDED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
stop = threading.Event()


def ask(connection, what, **fields):
    connection.request("GET", f"/?{what}", headers=fields)
    answer = connection.getresponse()
    body = answer.read().decode().strip()
    return body if answer.status == 200 else f"status-{answer.status}"


def fresh(address):
    return http.client.HTTPConnection(address, 80, timeout=PATIENCE_S)


class Caller(threading.Thread):
    def __init__(self, address, number, kept):
        super().__init__()
        self.address, self.number, self.kept = address, number, kept
        self.connection = None

    def once(self, what):
        if not self.kept:
            return ask(fresh(self.address), what, Connection="close")
        reused = self.connection is not None
        self.connection = self.connection or fresh(self.address)
        try:
            return ask(self.connection, what)
        except ENDED:
            self.connection = None
            if not reused:
                raise
            return self.once(f"{what}-again")

    def run(self):
        kind = "kept" if self.kept else "new"
        count = 0
        while not stop.is_set():
            count += 1
            what = f"{self.number}-{count}"
            try:
                outcome = self.once(what)
            except (OSError, http.client.HTTPException) as error:
                outcome = type(error).__name__
                self.connection = None
            os.write(1, f"{kind} {what} {outcome}\n".encode())  # as one piece: others write, too
            time.sleep(0.02)


def load(addresses):
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    callers = [Caller(address, f"{a}{n}", n % 2 == 0) for a, address in enumerate(addresses) for n in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()


def hold(address, name):
    for _ in range(200):
        connection = fresh(address)
        if ask(connection, "hold") == name:
            break
        connection.close()
    else:
        sys.exit(f"nobody is served by {name}")
    print(name, flush=True)
    for _ in sys.stdin:
        try:
            print(ask(connection, "hold"), flush=True)
        except (OSError, http.client.HTTPException) as error:
            print(type(error).__name__, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "load":
        load(sys.argv[2:])
    else:
        hold(*sys.argv[2:])
