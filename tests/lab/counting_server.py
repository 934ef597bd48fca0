#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
"""A backend that counts: every request is answered 200 on a connection that is kept, and counted by its client's
address; at the end (SIGTERM) the counts are printed as JSON. /readyz is the gateway's own and does not count."""
import asyncio
import collections
import json
import signal
import sys

COUNTS = collections.Counter()
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n'


async def serve(reader, writer):
    client = writer.get_extra_info('peername')[0]
    try:
        while True:
            head = await reader.readuntil(b'\r\n\r\n')
            if not head.startswith(b'GET /readyz'):
                COUNTS[client] += 1
            writer.write(ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    for address in sys.argv[1:]:
        host, port = address.rsplit(':', 1)
        await asyncio.start_server(serve, host.strip('[]'), int(port), backlog=1024)
    print('ready', flush=True)
    await stop.wait()
    print(json.dumps(COUNTS), flush=True)


asyncio.run(main())
