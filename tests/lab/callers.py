#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Clients that ask one small thing after another of a service whose backends say their names (named_server.py).
#
#   callers.py load ADDRESS…       two for each address with a connection per request, two that keep theirs, until SIGTERM;
#                                  then each takes its last answers. A line for each request: KIND ID OUTCOME, which is
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
OPEN = 60  # calls of one caller at a time
ENDED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)
stop = threading.Event()


def ask(connection, what, **fields):
    connection.request("GET", f"/?{what}", headers=fields)
    answer = connection.getresponse()
    body = answer.read().decode().strip()
    return body if answer.status == 200 else f"status-{answer.status}"


def fresh(address):
    return http.client.HTTPConnection(address, 80, timeout=PATIENCE_S)


def say(kind, what, outcome):
    os.write(1, f"{kind} {what} {outcome}\n".encode())  # as one piece: others write, too


def attempt(kind, what, once):
    try:
        say(kind, what, once(what))
    except (OSError, http.client.HTTPException) as error:
        say(kind, what, type(error).__name__)


class Keeper(threading.Thread):
    """One connection after another, each for as long as it lasts; one request at a time."""

    def __init__(self, address, name):
        super().__init__()
        self.address, self.label, self.connection = address, name, None

    def once(self, what):
        reused = self.connection is not None
        connection = self.connection or fresh(self.address)
        self.connection = None
        try:
            answer = ask(connection, what)
            self.connection = connection
            return answer
        except ENDED:
            if not reused:
                raise
            return self.once(f"{what}-again")

    def run(self):
        count = 0
        while not stop.wait(0.04):
            count += 1
            attempt("kept", f"{self.label}-{count}", self.once)


class Opener(threading.Thread):
    """A connection for each request, and the next one whether or not the last was answered."""

    def __init__(self, address, name):
        super().__init__()
        self.address, self.label = address, name

    def once(self, what):
        return ask(fresh(self.address), what, Connection="close")

    def run(self):
        count, calls = 0, []
        while not stop.wait(0.1):
            count += 1
            calls = [call for call in calls if call.is_alive()]
            if len(calls) < OPEN:
                calls.append(threading.Thread(target=attempt, args=("new", f"{self.label}-{count}", self.once)))
                calls[-1].start()
        for call in calls:
            call.join()


def load(addresses):
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    callers = [kind(address, f"{a}{kind.__name__}{n}") for a, address in enumerate(addresses)
               for kind in (Keeper, Opener) for n in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        while caller.is_alive():  # a signal is only heard between two waits
            caller.join(0.2)


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
