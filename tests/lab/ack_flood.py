#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Opens a connection, asks for some bytes, and sends copies of the kernel's last acknowledgement, thousands of times; then
# asks once more on the same connection. Prints how many copies were sent and whether both answers came.
#   ack_flood.py DEVICE ADDRESS PORT COPIES

import ctypes
import json
import socket
import struct
import sys
import time

ETH_P_ALL, SO_ATTACH_FILTER, BYTES = 3, 26, 1000


def ask(connection):
    connection.sendall(f"GET /{BYTES} HTTP/1.1\r\nHost: lab.test\r\n\r\n".encode())
    answer = b""
    while len(answer.split(b"\r\n\r\n", 1)[-1]) < BYTES or b"\r\n\r\n" not in answer:
        more = connection.recv(65536)
        if not more:
            return False
        answer += more
    return True


def listen(device, port):
    """A socket on the link that is only given what leaves from that port, by IPv4 without options."""
    link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    code = struct.pack("HBBI" * 4, 0x28, 0, 0, 34, 0x15, 0, 1, port, 0x06, 0, 0, 0xFFFF, 0x06, 0, 0, 0)
    instructions = ctypes.create_string_buffer(code)
    link.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", 4, ctypes.addressof(instructions)))
    link.bind((device, ETH_P_ALL))
    return link


def last_acknowledgement(link, port):
    """The last frame without data that left from that port."""
    last, end = None, time.monotonic() + 2
    link.settimeout(0.3)
    while time.monotonic() < end:
        try:
            frame, address = link.recvfrom(2048)
        except socket.timeout:
            if last:
                return last
            continue
        if address[2] != socket.PACKET_OUTGOING or frame[12:14] != b"\x08\x00" or frame[23] != 6:
            continue
        tcp = 14 + (frame[14] & 15) * 4
        total = 14 + struct.unpack("!H", frame[16:18])[0]
        header = (frame[tcp + 12] >> 4) * 4
        if struct.unpack("!H", frame[tcp : tcp + 2])[0] == port and total == tcp + header and frame[tcp + 13] == 0x10:
            last = frame
    return last


def main():
    device, address, port, copies = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    connection = socket.create_connection((address, port), timeout=20)
    link = listen(device, connection.getsockname()[1])
    first = ask(connection)
    frame = last_acknowledgement(link, connection.getsockname()[1])
    sent = 0
    for _ in range(copies if frame else 0):
        try:
            sent += link.send(frame) > 0
        except OSError:  # the queue is full
            time.sleep(0.001)
    print(json.dumps({"sent": sent, "first": first, "second": ask(connection)}))


if __name__ == "__main__":
    main()
