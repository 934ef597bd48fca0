#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Sends a request whose head comes in two pieces, the second one when the first has been acknowledged, and prints how many
# bytes the answer's body has.
#   slow_head.py SOURCE ADDRESS PORT BYTES

import fcntl
import socket
import struct
import sys
import time

SIOCOUTQ = 0x5411  # bytes that the other end has not acknowledged (tcp(7))


def main():
    source, address, port, count = sys.argv[1:]
    head = f"GET /{count} HTTP/1.1\r\nHost: lab.test\r\nConnection: close\r\nX: ".encode()
    head += b"x" * (1800 - len(head)) + b"\r\n\r\n"
    connection = socket.create_connection((address, int(port)), timeout=15, source_address=(source, 0))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(head[:1380])
    end = time.monotonic() + 5
    while struct.unpack("i", fcntl.ioctl(connection, SIOCOUTQ, b"\0" * 4))[0] and time.monotonic() < end:
        time.sleep(0.005)
    connection.sendall(head[1380:])
    answer = b""
    while len(answer) < int(count):
        more = connection.recv(65536)
        if not more:
            break
        answer += more
    print(len(answer.split(b"\r\n\r\n", 1)[-1]))


if __name__ == "__main__":
    main()
