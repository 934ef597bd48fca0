#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A system that follows the events, by all instances in turn. It believes nothing: positions must rise by one, no id may
# come twice, and `next` must be the last position. A page that was read is kept before the next is asked for, and what
# could not be read is asked for again, elsewhere.
#   events_reader.py AFTER TOKEN_FILE STOP_FILE OUT HOST:PORT…   writes one event per line to OUT. Ends when it finds nothing
#   new although STOP_FILE was there before it asked: exit 0, with a line of counts; 1 at the first thing that is wrong.

import http.client
import json
import os
import sys
import time

AFTER, TOKEN_FILE, STOP, OUT = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
TARGETS = sys.argv[5:]
TOKEN = open(TOKEN_FILE).read().strip()
LIMIT = 150  # so that there are many pages

seen = set()
counts = {"events": 0, "pages": 0, "elsewhere": 0}
after = AFTER


def wrong(text):
    print(text, flush=True)
    sys.exit(1)


def ask(target, wait):
    connection = http.client.HTTPConnection(target, timeout=wait + 10)
    try:
        connection.request("GET", f"/v1/events?after={after}&limit={LIMIT}&wait={wait}", headers={"Authorization": "Bearer " + TOKEN})
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status == 503:
        raise OSError("503")
    if answer.status != 200:
        wrong(f"{answer.status}: {body.decode()}")
    return json.loads(body)


def take(page, out):
    global after
    for event in page["events"]:
        if event["position"] != after + 1:
            wrong(f"position {event['position']} follows {after}")
        if event["id"] in seen:
            wrong(f"id {event['id']} comes twice")
        seen.add(event["id"])
        after += 1
        out.write(json.dumps(event, sort_keys=True) + "\n")
    out.flush()
    if page["next"] != after:
        wrong(f"next is {page['next']} behind {after}")
    counts["events"] += len(page["events"])
    counts["pages"] += 1


turn = 0
end = time.monotonic() + 600
with open(OUT, "w") as out:
    while True:
        last = os.path.exists(STOP)
        if time.monotonic() > end:
            wrong("it takes too long")
        try:
            page = ask(TARGETS[turn % len(TARGETS)], 0 if last else 1)
        except (OSError, http.client.HTTPException, ValueError):
            counts["elsewhere"] += 1
            turn += 1
            time.sleep(0.02)
            continue
        take(page, out)
        turn += 1
        if last and not page["events"]:
            break
print(json.dumps(counts))
