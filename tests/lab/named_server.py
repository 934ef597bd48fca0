#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A backend that answers every request by its own name, so that a scenario sees who served whom; one connection for each
# request.  named_server.py NAME PORT ADDRESS…

import socketserver
import sys
import threading


class Answer(socketserver.StreamRequestHandler):
    def handle(self):
        while self.rfile.readline().strip():
            pass
        body = f"{sys.argv[1]}\n".encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address, port):
        self.address_family = socketserver.socket.AF_INET6 if ":" in address else socketserver.socket.AF_INET
        super().__init__((address, port), Answer)


if __name__ == "__main__":
    servers = [Server(address, int(sys.argv[2])) for address in sys.argv[3:]]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
