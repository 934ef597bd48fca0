#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A payment provider for tests: speaks what docs/payments.md asks of one, keeps books, and misbehaves as providers do. What becomes of
# an attempt is chosen by its method (`ok`, `decline`, …: see METHODS), or for `any` by the seed. Its webhooks come late, twice
# and in any order.
#
#   simulator.py --listen HOST:PORT --key FILE [--tls CERT KEY] [--webhook URL… --secret FILE] [--seed N] [--slow SECONDS]
#
# GET /_books (without a key): every attempt with its state, and how often its money was taken and given back.
# GET /_under_way (without a key): how many decisions and webhooks are still to come though nobody asks for anything more, and how
# often an attempt has changed so far. At rest are only those whose provider has nothing under way.

import argparse
import hashlib
import hmac
import http.client
import json
import random
import socket
import ssl
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

EVENT_TRIED_FOR = 120  # seconds; real providers try for days

# method: what it does
METHODS = {
    "ok": "authorised at once, captured when asked",
    "decline": "declined",
    "decline_capture": "authorised, and declined when it is captured",
    "action": "the shopper must go to the bank, and is done there after a moment",
    "action_never": "the shopper never comes to the bank",
    "pending": "decided after a moment",
    "pending_decline": "declined after a moment",
    "slow": "authorised, but the answer comes too late",
    "lost": "authorised, but the connection ends without an answer",
    "capture_slow": "captured, but that answer comes too late",
    "capture_lost": "captured, but the connection ends without that answer",
    "capture_fails": "the first two captures do nothing and are answered 503",
    "late": "authorised only after the shop's patience, voided or not, which it does tell",
    "zombie": "declined, and captured all the same after a moment, which it does tell",
    "void_fails": "pending; the first two voids are answered 500; never authorised",
    "refund_lost": "as zombie, later, and the first refund is done without an answer",
}


class Attempt:
    def __init__(self, body, method):
        self.id, self.amount, self.currency, self.method = body["attempt"], body.get("amount"), body.get("currency"), method
        self.reservation = body.get("reservation")
        self.state = "pending"
        self.taken = self.returned = 0  # how often money has moved
        self.reason = None
        self.tries = {"capture": 0, "void": 0, "refund": 0}

    def view(self):
        view = {"attempt": self.id, "amount": self.amount, "currency": self.currency, "state": self.state}
        if self.state == "requires_action":
            view["action"] = f"https://bank.example/challenge/{self.id}"
        if self.state == "declined":
            view["reason"] = self.reason
        return {name: value for name, value in view.items() if value is not None}


class Provider:
    def __init__(self, options):
        self.options = options
        self.lock = threading.RLock()
        self.attempts = {}
        self.random = random.Random(options.seed)
        self.secret = open(options.secret, "rb").read().strip() if options.secret else b""
        self.key = open(options.key, encoding="ascii").read().strip()
        self.events = 0
        self.under_way = 0  # decisions and webhooks that come by themselves
        self.moves = 0

    # --- state ---

    def move(self, attempt, state, reason=None):
        """With the lock held. Money moves on the way into captured and refunded, and only there."""
        if attempt.state == state:
            return
        attempt.state, attempt.reason = state, reason
        self.moves += 1
        attempt.taken += state == "captured"
        attempt.returned += state == "refunded"
        self.tell(attempt, state)

    def later(self, seconds, attempt, state, unless=("voided", "captured", "refunded", "declined"), reason=None):
        def act():
            with self.lock:
                if attempt.state not in unless:
                    self.move(attempt, state, reason)
                self.under_way -= 1

        with self.lock:
            self.under_way += 1
        timer = threading.Timer(seconds, act)
        timer.daemon = True
        timer.start()

    def authorise(self, body):
        with self.lock:
            attempt = self.attempts.get(body["attempt"])
            if attempt:
                return attempt
            method = body["method"]
            if method == "any":
                method = self.random.choice(sorted(METHODS))
            attempt = self.attempts[body["attempt"]] = Attempt(body, method)
            moment = self.random.uniform(0.05, 0.6)
            if method in ("decline", "zombie", "refund_lost"):
                self.move(attempt, "declined", "insufficient_funds")
                if method != "decline":
                    self.later(moment if method == "zombie" else 2, attempt, "captured", unless=("voided",))
            elif method in ("action", "action_never"):
                self.move(attempt, "requires_action")
                if method == "action":
                    self.later(moment, attempt, "authorised")
            elif method == "pending":
                self.later(moment, attempt, "authorised")
            elif method == "pending_decline":
                self.later(moment, attempt, "declined", reason="fraud_suspected")
            elif method == "late":
                self.later(self.options.late, attempt, "authorised", unless=("captured",))
            elif method != "void_fails":
                self.move(attempt, "authorised")
            return attempt

    def capture(self, attempt):
        attempt.tries["capture"] += 1
        if attempt.method == "capture_fails" and attempt.tries["capture"] <= 2:
            return False
        if attempt.state == "authorised":
            if attempt.method == "decline_capture":
                self.move(attempt, "declined", "authorisation_expired")
            else:
                self.move(attempt, "captured")
        return True

    def void(self, attempt):
        attempt.tries["void"] += 1
        if attempt.method == "void_fails" and attempt.tries["void"] <= 2:
            return False
        if attempt.state in ("pending", "requires_action", "authorised"):
            self.move(attempt, "voided")
        return True

    def refund(self, attempt):
        attempt.tries["refund"] += 1
        if attempt.state == "captured":
            self.move(attempt, "refunded")
        return True

    # --- webhooks ---

    def tell(self, attempt, kind):
        sure = attempt.method in ("zombie", "refund_lost", "late")  # else nobody could know of it
        if not self.options.webhook or not sure and self.random.random() < self.options.silent:
            return
        self.events += 1
        event = {"id": f"evt-{self.options.seed}-{self.events}", "type": kind, "attempt": attempt.id, "created": int(time.time())}
        copies = 1 + (self.random.random() < 0.3)
        self.under_way += copies
        for _ in range(copies):
            delay = self.random.choice((0, 0.02, 0.3, 1.0))
            threading.Thread(target=self.send, args=(event, delay), daemon=True).start()

    def send(self, event, delay):
        time.sleep(delay)
        body = json.dumps(event).encode()
        give_up, tries = time.monotonic() + EVENT_TRIED_FOR, 0
        while not self.is_taken(body, self.options.webhook[tries % len(self.options.webhook)]) and time.monotonic() < give_up:
            time.sleep(0.3)
            tries += 1
        with self.lock:
            self.under_way -= 1

    def is_taken(self, body, url):
        at = str(int(time.time()))
        signature = hmac.new(self.secret, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json", "Dropgate-Signature": f"t={at},v1={signature}"})
        try:
            with urllib.request.urlopen(request, timeout=5):
                return True
        except (OSError, http.client.HTTPException):
            return False

    def rest(self):
        with self.lock:
            return {"under_way": self.under_way, "moves": self.moves}

    def books(self):
        with self.lock:
            return {a.id: {"state": a.state, "method": a.method, "amount": a.amount, "reservation": a.reservation, "taken": a.taken,
                           "returned": a.returned} for a in self.attempts.values()}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    @property
    def provider(self):
        return self.server.provider

    def answer(self, status, view):
        body = json.dumps(view).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def allowed(self):
        if hmac.compare_digest(self.headers.get("Authorization", ""), f"Bearer {self.provider.key}"):
            return True
        self.answer(401, {"error": "unauthorised"})
        return False

    def do_GET(self):
        if self.path == "/_books":
            self.answer(200, self.provider.books())
        elif self.path == "/_under_way":
            self.answer(200, self.provider.rest())
        elif self.allowed():
            with self.provider.lock:
                attempt = self.provider.attempts.get(self.path.rsplit("/", 1)[-1])
                view = attempt.view() if attempt else {"attempt": self.path.rsplit("/", 1)[-1], "state": "absent"}
            self.answer(200 if attempt else 404, view)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        parts = self.path.split("/")
        if parts[-1] == "payments":
            self.finish_call(self.provider.authorise(body), "authorise", True)
            return
        verb = parts[-1]
        with self.provider.lock:
            attempt = self.provider.attempts.get(body["attempt"])
            if not attempt and verb == "void":  # remembered, so that what is still on its way finds it void
                attempt = self.provider.attempts[body["attempt"]] = Attempt(body, "voided_first")
            if not attempt:
                self.answer(404, {"attempt": body["attempt"], "state": "absent"})
                return
            done = getattr(self.provider, verb)(attempt)
        self.finish_call(attempt, verb, done)

    def finish_call(self, attempt, verb, done):
        if not done:
            self.answer(500 if verb == "void" else 503, {"error": "try again"})
            return
        first = attempt.tries.get(verb, 1) <= 1
        if first and ((attempt.method == "lost" and verb == "authorise") or (attempt.method == "capture_lost" and verb == "capture")
                      or (attempt.method == "refund_lost" and verb == "refund")):
            self.hang_up()
            return
        if first and ((attempt.method == "slow" and verb == "authorise") or (attempt.method == "capture_slow" and verb == "capture")):
            time.sleep(self.provider.options.slow)
        with self.provider.lock:
            view = attempt.view()
        status = {"declined": 402, "pending": 202, "requires_action": 202}.get(view["state"], 201 if verb == "authorise" else 200)
        self.answer(status, view)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, client_address):
        pass  # a caller who has gone


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--tls", nargs=2)
    parser.add_argument("--webhook", action="append")
    parser.add_argument("--secret")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slow", type=float, default=2)
    parser.add_argument("--late", type=float, default=4)
    parser.add_argument("--silent", type=float, default=0.2, help="share of events that are never sent")
    options = parser.parse_args()
    host, port = options.listen.rsplit(":", 1)
    server = Server((host, int(port)), Handler)
    server.provider = Provider(options)
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*options.tls)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
