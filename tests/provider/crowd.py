#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Shoppers who reserve and pay, each with one method of the simulator's, and repeat with the same key until they know where they are.
# The instances may die under them. Prints what each was told last, as JSON.
#
#   crowd.py --sale N --shoppers N [--seed N] URL…

import argparse
import collections
import json
import random
import threading
import time
import urllib.error
import urllib.request

from simulator import METHODS


def call(url, user, key, body, timeout=8):
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None,
                                     {"Content-Type": "application/json", "X-Dropgate-User": user, "Idempotency-Key": key})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except (OSError, ValueError):
        return 0, {}


class Shopper(threading.Thread):
    def __init__(self, options, number, seed):
        super().__init__(daemon=True)
        self.options, self.user, self.random = options, f"shopper-{number}", random.Random(seed * 100003 + number)
        self.method = sorted(METHODS)[number % len(METHODS)]
        self.told = {"user": self.user, "method": self.method, "reserved": None, "paid": None}

    def until_told(self, path, key, body):
        """Whatever is not an answer is asked again, with the same key, anywhere."""
        while time.monotonic() < self.options.until:
            status, answer = call(self.random.choice(self.options.urls) + path, self.user, key, body)
            if status not in (0, 500, 503) and not answer.get("type", "").endswith("key-in-flight"):
                return status, answer
            time.sleep(self.random.uniform(0.1, 0.5))
        return 0, {}

    def run(self):
        time.sleep(self.random.uniform(0, self.options.within))
        status, answer = self.until_told(f"/v1/sales/{self.options.sale}/reservations", "k", {"quantity": 1})
        self.told["reserved"] = status
        if status != 201:
            return
        path = f"/v1/reservations/{answer['id']}"
        # Who was declined tries again; the money that comes for the first attempt after all is then too much.
        second = {"refund_lost": ["ok"], "zombie": ["ok"], "decline": ["decline"]}.get(self.method, [])
        for attempt, method in enumerate([self.method] + second):
            status, answer = self.until_told(path + "/payment", f"p{attempt}", {"method": method})
            while status == 202 and time.monotonic() < self.options.until:
                time.sleep(0.3)
                status, answer = self.until_told(path + "/payment", f"p{attempt}", {"method": method})
        self.told["paid"] = status


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sale", type=int, required=True)
    parser.add_argument("--shoppers", type=int, default=100)
    parser.add_argument("--within", type=float, default=5)
    parser.add_argument("--deadline", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("urls", nargs="+")
    options = parser.parse_args()
    options.until = time.monotonic() + options.deadline
    shoppers = [Shopper(options, n, options.seed) for n in range(options.shoppers)]
    for shopper in shoppers:
        shopper.start()
    for shopper in shoppers:
        shopper.join()
    told = collections.Counter(f"{s.method} {s.told['reserved']} {s.told['paid']}" for s in shoppers)
    print(json.dumps({"told": dict(sorted(told.items())), "paid": sum(s.told["paid"] == 200 for s in shoppers),
                      "unanswered": sum(s.told["reserved"] in (0, None) or s.told["reserved"] == 201 and s.told["paid"] in (0, None, 202)
                                        for s in shoppers)}))


if __name__ == "__main__":
    main()
