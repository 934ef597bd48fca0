#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# One client per source address: each is answered once and keeps its connection open. Says "open", and then waits to be
# ended.  kept_open.py HOST SOURCE…

import signal
import socket
import sys

kept = []
for source in sys.argv[2:]:
    s = socket.create_connection((sys.argv[1], 80), timeout=20, source_address=(source, 0))
    s.sendall(b"GET /v1/sales/1 HTTP/1.1\r\nHost: shop\r\n\r\n")
    if not s.recv(65536).startswith(b"HTTP/1.1 "):
        sys.exit(f"{source} is not answered")
    kept.append(s)
print("open", flush=True)
signal.pause()
