#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A publisher of lists with every bad habit, by path. Each request is a line of JSON in LOG; what /changing gives stands in CONTENT.
#   feed_server.py ADDRESS PORT CERTIFICATE KEY CONTENT LOG

import gzip
import json
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LIST = b"198.51.100.0/24\n2001:db8:bad::/48\n"
DATE = "Sun, 22 Nov 2026 12:00:00 GMT"


class Publisher(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with open(sys.argv[6], "a") as log:
            log.write(json.dumps({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}) + "\n")
        self.close_connection = True
        getattr(self, self.path[1:].replace("-", "_"), self.missing)()

    def give(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Connection": "close", "Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def missing(self):
        self.give(404, b"<html>no such list</html>")

    def changing(self):
        with open(sys.argv[5], "rb") as file:
            body = file.read()
        etag = f'"{hash(body)}"'
        if self.headers["If-None-Match"] == etag:
            self.give(304, ETag=etag)
        else:
            self.give(200, body, ETag=etag)

    def dated(self):
        self.give(*((304,) if self.headers["If-Modified-Since"] == DATE else (200, LIST)), Last_Modified=DATE)

    def unasked(self):
        self.give(304)

    def packed(self):
        self.give(200, gzip.compress(LIST), Content_Encoding="gzip")

    def bomb(self):
        self.give(200, gzip.compress(bytes(64 << 20)), Content_Encoding="gzip")

    def large(self):
        self.give(200, LIST * 100000)

    def endless(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(LIST), LIST))

    def short(self):
        self.give(200, LIST, Content_Length=10 * len(LIST))

    def halting(self):
        self.give(200, LIST, Content_Length=2 * len(LIST))
        time.sleep(60)

    def silent(self):
        time.sleep(60)

    def empty(self):
        self.give(200)

    def moved(self):
        self.give(302, Location="/dated")

    def circular(self):
        self.give(302, Location="/circular")

    def downgraded(self):
        self.give(302, Location="http://" + self.headers["Host"] + "/dated")

    def to_a_file(self):
        self.give(302, Location="file:///etc/passwd")

    def keyed(self):
        self.give(*((200, LIST) if self.headers["X-Api-Key"] == "open sesame" else (403, b"no")))

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, ssl.SSLError):
            pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        super().finish_request(self.context.wrap_socket(request, server_side=True), client_address)

    def handle_error(self, *_):
        pass


if __name__ == "__main__":
    server = Server((sys.argv[1], int(sys.argv[2])), Publisher)
    server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.serve_forever()
