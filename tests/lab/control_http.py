#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# What only raw sockets can ask of the purchase service: malformed, slow, pipelined, half-closed and reset requests.
#   control_http.py HOST PORT SALE     one line per thing that holds or does not; exit 0 if all hold
# The service is expected to be configured by control_http.conf (short time-outs, few connections).

import json
import re
import socket
import struct
import sys
import time

HOST, PORT, SALE = sys.argv[1], int(sys.argv[2]), sys.argv[3]
failures = 0


def check(sentence, good, seen=""):
    global failures
    print(f"{'ok' if good else 'not ok'}: {sentence}" + ("" if good else f"\n    seen: {seen!r}"))
    failures += not good


def dial():
    s = socket.create_connection((HOST, PORT), timeout=10)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_all(s):
    data = b""
    try:
        while chunk := s.recv(65536):
            data += chunk
    except ConnectionResetError:
        data += b"<reset>"
    return data


def read_answer(s, data=b""):
    """One answer: (status, fields, body, bytes behind it)."""
    while b"\r\n\r\n" not in data:
        chunk = s.recv(65536)
        if not chunk:
            return 0, {}, data, b""
        data += chunk
    head, data = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    fields = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}
    length = int(fields.get("content-length", 0))
    while len(data) < length:
        data += s.recv(65536)
    return int(lines[0].split()[1]), fields, data[:length], data[length:]


def raw(request):
    """Sends bytes, reads until the service closes; (status, whole answer)."""
    with dial() as s:
        s.sendall(request)
        data = read_all(s)
    found = re.match(rb"HTTP/1\.1 (\d+)", data)
    return int(found[1]) if found else 0, data


def reserve(key, body=b'{"quantity":1}', user="raw", more=b"", path=None):
    path = path or f"/v1/sales/{SALE}/reservations"
    return (f"POST {path} HTTP/1.1\r\nHost: shop\r\nX-Dropgate-User: {user}\r\nIdempotency-Key: {key}\r\n"
            f"Content-Type: application/json\r\n").encode() + more + b"Content-Length: %d\r\n\r\n" % len(body) + body


HOSTLINE = b"Host: shop\r\n"

MALFORMED = [
    ("an unknown version", 505, b"GET /healthz HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("the HTTP/2 preface", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("no host", 400, b"GET /healthz HTTP/1.1\r\n\r\n"),
    ("two hosts", 400, b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("a bare line feed", 400, b"GET /healthz HTTP/1.1\nHost: a\n\n"),
    ("a folded field", 400, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n"),
    ("a space before the colon", 400, b"GET /healthz HTTP/1.1\r\nHost : a\r\n\r\n"),
    ("a control character", 400, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n"),
    ("two lengths", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
    ("a signed length", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nx"),
    ("length and coding", 400, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("an odd coding", (400, 501), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("an odd chunk size", 400, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    ("a head that is too large", 431, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000 + b"\r\n\r\n"),
    ("a target that is too long", 414, b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("too many fields", 431, b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 70 + b"\r\n"),
    ("another expectation", 417, b"POST / HTTP/1.1\r\nHost: a\r\nExpect: magic\r\nContent-Length: 0\r\n\r\n"),
    ("an upgrade", (400, 501), b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("bytes that are no HTTP", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
]

REFUSED = [
    ("no key", 400, "missing-key", reserve("").replace(b"Idempotency-Key: \r\n", b"")),
    ("an empty key", 400, "missing-key", reserve("")),
    ("two keys", 400, "bad-key", reserve("a", more=b"Idempotency-Key: b\r\n")),
    ("a list of keys", 400, "bad-key", reserve("a, b")),
    ("a key of 256 bytes", 400, "bad-key", reserve("k" * 256)),
    ("no user", 401, "identity-required", reserve("k").replace(b"X-Dropgate-User: raw\r\n", b"")),
    ("two users", 400, "bad-user", reserve("k", more=b"X-Dropgate-User: eve\r\n")),
    ("a user that is not UTF-8", 400, "bad-user", reserve("k").replace(b": raw\r", b": \xff\r")),
    ("a user of 256 bytes", 400, "bad-user", reserve("k", user="u" * 256)),
    ("another media type", 415, "media-type", reserve("k").replace(b"application/json", b"text/plain")),
    ("no body", 400, "bad-body", reserve("k", b"")),
    ("a body that is no JSON", 400, "bad-body", reserve("k", b"quantity=1")),
    ("a quantity of zero", 400, "bad-body", reserve("k", b'{"quantity":0}')),
    ("an unknown member", 400, "bad-body", reserve("k", b'{"quantity":1,"colour":"red"}')),
    ("no such sale", 404, "no-such-sale", reserve("k", path="/v1/sales/2147483647/reservations")),
    ("a sale that is no number", 404, "not-found", reserve("k", path="/v1/sales/x/reservations")),
    ("more than the limit", 409, "limit-reached", reserve("k", b'{"quantity":10000}')),
]


def malformed_requests_are_refused():
    for what, wanted, request in MALFORMED:
        status, data = raw(request)
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        good = status in wanted and b"Connection: close" in data and b"problem+json" in data
        check(f"{what} is answered {'/'.join(map(str, wanted))}, and the connection is closed", good, data[:300])


def refusals_are_specific_and_keep_the_connection():
    with dial() as s:
        for what, wanted, name, request in REFUSED:
            s.sendall(request)
            status, fields, body, _ = read_answer(s)
            kind = json.loads(body)["type"].rsplit("/", 1)[-1]
            check(f"{what} is answered {wanted} {name}", (status, kind) == (wanted, name) and "connection" not in fields, body)


def any_split_of_the_bytes_is_the_same_request():
    request = reserve("split", user="split")
    with dial() as s:
        for i in range(len(request)):
            s.sendall(request[i:i + 1])
        first = read_answer(s)
    with dial() as s:
        s.sendall(request[:50])
        time.sleep(0.05)
        s.sendall(request[50:])
        second = read_answer(s)
    check("a request that comes byte by byte is granted", first[0] == 201, first)
    check("and in two pieces it is replayed with the same bytes", second[2] == first[2], second)


def pipelined_requests_are_answered_in_order():
    sale = b"GET /v1/sales/%s HTTP/1.1\r\nHost: shop\r\n\r\n" % SALE.encode()
    with dial() as s:
        s.sendall(b"".join(sale + reserve(f"pipe-{i}", user=f"pipe-{i}") for i in range(20)))
        statuses, data = [], b""
        for _ in range(40):
            status, _, _, data = read_answer(s, data)
            statuses.append(status)
        check("forty pipelined requests are answered in order", statuses == [200, 201] * 20, statuses)


def a_chunked_body_is_a_body():
    body = b'4\r\n{"qu\r\n6;x=y\r\nantity\r\n4\r\n":1}\r\n0\r\n\r\n'
    plain = body.replace(b";x=y", b"")
    head = reserve("chunked", b"", user="chunked").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    with dial() as s:
        s.sendall(head + plain)
        answer = read_answer(s)
    check("a chunked body is understood", answer[0] == 201, answer)


def a_large_body_is_refused():
    status, data = raw(reserve("large", b" " * 5000))
    check("a body of 5,000 bytes is answered 413", status == 413, data[:200])
    head = reserve("large", b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    status, data = raw(head + b"1000\r\n" + b" " * 4096 + b"\r\n1\r\n \r\n0\r\n\r\n")
    check("also when it is chunked", status == 413, data[:200])


def expectations():
    request = reserve("expect", user="expect", more=b"Expect: 100-continue\r\n")
    head, body = request.split(b"\r\n\r\n", 1)
    with dial() as s:
        s.sendall(head + b"\r\n\r\n")
        go_on = s.recv(65536)
        check("a client that asks first is told to continue", go_on == b"HTTP/1.1 100 Continue\r\n\r\n", go_on)
        s.sendall(body)
        answer = read_answer(s)
        check("and is then granted", answer[0] == 201, answer)
    status, data = raw(head.replace(b"Idempotency-Key: expect\r\n", b"") + b"\r\n\r\n")
    check("a head that is refused is refused before its body", status == 400 and b"100 Continue" not in data, data)


def ends():
    with dial() as s:
        s.sendall(reserve("half", user="half"))
        s.shutdown(socket.SHUT_WR)
        data = read_all(s)
        check("a client that has closed its own direction is answered", b" 201 " in data and not data.endswith(b"<reset>"), data)
    with dial() as s:
        s.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        check("a client that says close is closed", b"Connection: close" in (data := read_all(s)), data)
    with dial() as s:
        s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        check("HTTP/1.0 is closed", b"Connection: close" in (data := read_all(s)), data)
    with dial() as s:
        s.sendall(b"GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = read_answer(s)
        check("unless it asks to be kept", answer[1].get("connection") == "keep-alive", answer)
    with dial() as s:
        s.sendall(b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n" + b"x" * 9000)
        data = read_all(s)
        check("an answer survives a body that nobody reads", b" 413 " in data and not data.endswith(b"<reset>"), data)
    for i in range(50):  # resets at every stage must leave nothing behind
        s = dial()
        s.sendall(reserve(f"reset-{i}", user="reset")[: i * 5])
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.close()
    check("fifty resets do no harm", raw(b"GET /healthz HTTP/1.0\r\n\r\n")[0] == 200)


def closed_within(s, seconds):
    begin = time.monotonic()
    data = read_all(s)
    return time.monotonic() - begin < seconds, data


def slow_clients_are_shown_out():
    with dial() as idle, dial() as head, dial() as body:
        head.sendall(b"GET /healthz HTTP/1.1\r\n")
        body.sendall(reserve("slow")[:-5])
        begin = time.monotonic()
        while time.monotonic() - begin < 1.5:  # a byte now and then does not help
            time.sleep(0.25)
            try:
                head.sendall(b"X")
            except OSError:
                break
        good, data = closed_within(head, 3)
        check("a head that does not end is answered 408 and closed", good and b" 408 " in data, data)
        good, data = closed_within(body, 3)
        check("so is a body that does not end", good and b" 408 " in data, data)
        good, data = closed_within(idle, 5)
        check("an idle connection is closed without a word", good and data == b"", data)


def a_client_that_does_not_read_is_dropped():
    s = dial()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = b"GET /v1/sales/%s HTTP/1.1\r\nHost: shop\r\n\r\n" % SALE.encode()
    s.settimeout(0.5)
    sent, begin = 0, time.monotonic()
    gone = False
    while time.monotonic() - begin < 10 and not gone:
        try:
            sent += s.send(request * 100)
        except socket.timeout:
            pass
        except OSError:
            gone = True
    check("a client that takes no answers is dropped, and could not fill our memory", gone and sent < 64 << 20, sent)


def too_many_connections_are_told_so():
    held = [dial() for _ in range(64)]
    time.sleep(0.2)
    with dial() as s:
        data = read_all(s)
        check("one connection too many is told 503 with Retry-After", b" 503 " in data and b"Retry-After" in data, data)
    for h in held:
        h.close()
    time.sleep(0.3)
    check("and there is room again when the others are gone", raw(b"GET /healthz HTTP/1.0\r\n\r\n")[0] == 200)


malformed_requests_are_refused()
refusals_are_specific_and_keep_the_connection()
any_split_of_the_bytes_is_the_same_request()
pipelined_requests_are_answered_in_order()
a_chunked_body_is_a_body()
a_large_body_is_refused()
expectations()
ends()
slow_clients_are_shown_out()
a_client_that_does_not_read_is_dropped()
too_many_connections_are_told_so()
sys.exit(1 if failures else 0)
