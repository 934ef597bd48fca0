#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Connects, makes NAME.connected, waits for NAME.go, then asks for the service's health and prints the answer's status,
# "reset", or "silence" after ten seconds.
#   late_request.py ADDRESS NAME

import os
import pathlib
import socket
import sys
import time


def main():
    address, name = sys.argv[1:]
    connection = socket.create_connection((address, 80), timeout=10)
    pathlib.Path(name + ".connected").touch()
    while not os.path.exists(name + ".go"):
        time.sleep(0.02)
    try:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        print(connection.recv(4096).split(b" ")[1].decode())
    except ConnectionResetError:
        print("reset")
    except TimeoutError:
        print("silence")


if __name__ == "__main__":
    main()
