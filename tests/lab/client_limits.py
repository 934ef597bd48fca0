#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
"""Clients with an address of their own each, who ask as their mode says; what they were answered goes out as JSON.

    once FILE-OF-ADDRESSES       each makes one request, some at a time
    kept ADDRESS COUNT           so many requests, one after the other, on connections that are kept
    pipelined ADDRESS COUNT      so many in one segment
    hold FILE-OF-ADDRESSES       each opens a connection, makes one request and stays until SIGTERM; with SIGUSR1 those
                                 that were refused try once more
    malformed ADDRESS COUNT      so many connections, each with bytes that are no request
"""
import asyncio
import collections
import json
import signal
import sys
import time

V4, V6, PORT = sys.argv[1:4]
HEAD = b'GET /thing HTTP/1.1\r\nHost: shop\r\n\r\n'


async def connect(address):
    to = V6 if ':' in address else V4
    return await asyncio.wait_for(asyncio.open_connection(to, PORT, local_addr=(address, 0)), 10)


async def answer(reader):
    """The status of one answer, or how the connection ended."""
    try:
        head = await asyncio.wait_for(reader.readuntil(b'\r\n\r\n'), 10)
        fields = dict(line.lower().split(b': ', 1) for line in head.split(b'\r\n')[1:] if b': ' in line)
        await reader.readexactly(int(fields.get(b'content-length', 0)))
        if head.startswith(b'HTTP/1.1 429'):
            assert int(fields[b'retry-after']) >= 1
        return head[9:12].decode()
    except asyncio.IncompleteReadError:
        return 'closed'
    except ConnectionError:
        return 'reset'
    except asyncio.TimeoutError:
        return 'silent'


async def ask(address, keep=None):
    try:
        reader, writer = await connect(address)
    except (OSError, asyncio.TimeoutError) as error:
        return type(error).__name__
    writer.write(HEAD)
    status = await answer(reader)
    if keep is None or status != '200':
        writer.close()
    else:
        keep.append((reader, writer))
    return status


def read_addresses(path):
    with open(path, encoding='ascii') as file:
        return file.read().split()


async def once(path):
    addresses = read_addresses(path)
    statuses, gate = collections.Counter(), asyncio.Semaphore(50)

    async def one(address):
        async with gate:
            statuses[await ask(address)] += 1
    await asyncio.gather(*map(one, addresses))
    return statuses


async def kept(address, count):
    statuses = collections.Counter()
    while sum(statuses.values()) < int(count):
        reader, writer = await connect(address)
        status = '200'
        while status == '200' and sum(statuses.values()) < int(count):
            writer.write(HEAD)
            status = await answer(reader)
            statuses[status] += 1
        writer.close()
    return statuses


async def pipelined(address, count):
    statuses = collections.Counter()
    reader, writer = await connect(address)
    writer.write(HEAD * int(count))
    while not set(statuses) & {'closed', 'reset', 'silent'}:
        statuses[await answer(reader)] += 1
    writer.close()
    return statuses


async def hold(path):
    loop, again, end = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, again.set)
    loop.add_signal_handler(signal.SIGTERM, lambda: (end.set(), again.set()))
    todo, held = read_addresses(path), []
    while not end.is_set():
        again.clear()
        gate, refused = asyncio.Semaphore(50), []

        async def one(address):
            async with gate:
                if await ask(address, held) != '200':
                    refused.append(address)
        await asyncio.gather(*map(one, todo))
        todo = refused
        print(json.dumps({'held': len(held), 'refused': len(todo)}), flush=True)
        await again.wait()
    return collections.Counter(held=len(held))


async def malformed(address, count):
    statuses = collections.Counter()
    for _ in range(int(count)):
        try:
            reader, writer = await connect(address)
            writer.write(b'no request at all\r\n\r\n')
            statuses[await answer(reader)] += 1
            writer.close()
        except (OSError, asyncio.TimeoutError) as error:
            statuses[type(error).__name__] += 1
    return statuses


begin = time.monotonic()
result = asyncio.run(globals()[sys.argv[4]](*sys.argv[5:]))
print(json.dumps({**result, 'seconds': time.monotonic() - begin}))
