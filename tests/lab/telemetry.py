#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Asks a running dataplane over DPDK's telemetry socket (version 2: SOCK_SEQPACKET, one JSON answer per command) and
# prints what stands under the command's name.  telemetry.py SOCKET /dropgate/verdicts[,PARAMETER]

import json
import socket
import sys


def ask(path, command):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5)
        s.connect(path)
        room = json.loads(s.recv(1024))["max_output_len"]
        s.send(command.encode())
        return json.loads(s.recv(room))[command.split(",")[0]]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: telemetry.py SOCKET /COMMAND[,PARAMETER]")
    try:
        print(json.dumps(ask(sys.argv[1], sys.argv[2])))
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"telemetry {sys.argv[2]} at {sys.argv[1]}: {error}")
