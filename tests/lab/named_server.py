#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A backend that answers every request by its own name, so that a scenario sees who served whom; as many requests on a
# connection as its client likes. What it was asked for goes to the file SEEN the moment it has been read, so that a
# scenario knows what a killed one had in its hands.  named_server.py NAME PORT SEEN ADDRESS…

import os
import socketserver
import sys
import threading

SEEN = os.open(sys.argv[3], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)


class Answer(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self):
        while self.answer():
            pass

    def answer(self):
        line = self.rfile.readline()
        close = False
        while field := self.rfile.readline().strip().lower():
            close |= field == b"connection: close"
        if not line:
            return False
        os.write(SEEN, line.split()[1] + b"\n")
        body = f"{sys.argv[1]}\n".encode()
        head = b"Connection: close\r\n" if close else b""
        self.wfile.write(b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (head, len(body), body))
        return not close


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, address, port):
        self.address_family = socketserver.socket.AF_INET6 if ":" in address else socketserver.socket.AF_INET
        super().__init__((address, port), Answer)

    def handle_error(self, request, client_address):
        pass  # clients may go as they like


if __name__ == "__main__":
    servers = [Server(address, int(sys.argv[2])) for address in sys.argv[4:]]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()
