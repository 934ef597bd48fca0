#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# One request on each of several connections, whose answers are read; then it says nothing more. Makes NAME.quiet, and
# prints how each connection ends: "reset", "closed", or "open" if it has not after twenty seconds.
#   quiet_client.py NAME ADDRESS...

import pathlib
import socket
import sys
import time


def ask(address):
    connection = socket.create_connection((address, 80), timeout=10)
    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\n\r\n")
    connection.recv(65536)
    return connection


def end_of(connection, deadline):
    connection.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        return "closed" if connection.recv(1) == b"" else "more"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "open"


def main():
    name, *addresses = sys.argv[1:]
    connections = [ask(address) for address in addresses]
    pathlib.Path(name + ".quiet").touch()
    deadline = time.monotonic() + 20
    print(*(end_of(connection, deadline) for connection in connections))


if __name__ == "__main__":
    main()
