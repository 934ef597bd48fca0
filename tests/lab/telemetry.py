# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Asks a running dataplane over DPDK's telemetry socket (version 2: SOCK_SEQPACKET, one JSON answer per command), for
# other programs here; tools/telemetry.c does it for scenarios.

import json
import socket


def ask(path, command):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5)
        s.connect(path)
        room = json.loads(s.recv(1024))["max_output_len"]
        s.send(command.encode())
        return json.loads(s.recv(room))[command.split(",")[0]]
