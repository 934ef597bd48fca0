# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# A TCP relay between an instance and PostgreSQL that misbehaves once: at the Nth message of a kind it cuts, stalls or half-closes.
# It never changes a byte. A message of a kind is one whose chunk the test recognises; the client sends each of
# them in one piece, since it waits for the answer before it sends another.

import asyncio
import socket
import struct

CHUNK = 1 << 18


def reset(writer):
    """Ends a connection so that the other side sees a reset, and loses what is under way."""
    sock = writer.get_extra_info("socket")
    if not writer.is_closing() and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Pair:
    """One relayed connection."""

    def __init__(self, near, far):
        self.near_reader, self.near = near  # the instance
        self.far_reader, self.far = far     # PostgreSQL
        self.swallow = False                # the next answer ends the connection, unseen
        self.half = False                   # … half of it is seen
        self.near_ended = False             # the instance was told that nothing more comes

    def cut(self):
        reset(self.near)
        reset(self.far)


class Relay:
    def __init__(self, address, port, upstream, is_wanted, wanted_number, deed, pause):
        """`upstream` is a unix socket's path or (host, port); `deed` is one of DEEDS; `pause` is for those that take time."""
        self.address, self.port, self.upstream = address, port, upstream
        self.is_wanted, self.left = is_wanted, wanted_number
        self.deed, self.pause = deed, pause
        self.pairs = set()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.fired = asyncio.Event()
        self.over = asyncio.Event()  # what the deed does is done
        self.server = None
        self.tasks = set()

    async def open(self):
        self.server = await asyncio.start_server(self._relay, self.address, self.port, limit=CHUNK)

    async def close(self):
        if self.server:
            self.server.close()
        for pair in list(self.pairs):
            pair.cut()
        for task in self.tasks:
            task.cancel()

    async def _relay(self, near_reader, near):
        try:
            if isinstance(self.upstream, str):
                far_reader, far = await asyncio.open_unix_connection(self.upstream, limit=CHUNK)
            else:
                far_reader, far = await asyncio.open_connection(*self.upstream, limit=CHUNK)
        except OSError:
            reset(near)
            return
        pair = Pair((near_reader, near), (far_reader, far))
        self.pairs.add(pair)
        try:
            await asyncio.gather(self._forth(pair), self._back(pair))
        except (OSError, asyncio.IncompleteReadError):
            pair.cut()
        finally:
            self.pairs.discard(pair)
            near.close()
            far.close()

    async def _forth(self, pair):
        while chunk := await pair.near_reader.read(CHUNK):
            await self.flowing.wait()
            if self.left > 0 and self.is_wanted(chunk):
                self.left -= 1
                if self.left == 0:
                    self.fired.set()
                    if not await DEEDS[self.deed](self, pair, chunk):
                        return
                    continue
            pair.far.write(chunk)
            await pair.far.drain()
        if pair.far.can_write_eof():
            pair.far.write_eof()

    async def _back(self, pair):
        while chunk := await pair.far_reader.read(CHUNK):
            await self.flowing.wait()
            if pair.swallow:
                if pair.half:
                    pair.near.write(chunk[:len(chunk) // 2])
                    pair.near.close()  # these bytes still arrive
                    reset(pair.far)
                else:
                    pair.cut()
                if self.deed == "lose answer and refuse":
                    await self._refuse(pair, None)
                else:
                    self.over.set()
                return
            if not pair.near_ended:
                pair.near.write(chunk)
                await pair.near.drain()
        if not pair.near_ended and not pair.near.is_closing() and pair.near.can_write_eof():
            pair.near.write_eof()

    def later(self, work):
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # Each returns whether the connection goes on.

    async def _cut_before(self, pair, _):
        pair.cut()
        self.over.set()
        return False

    async def _cut_within(self, pair, chunk):
        pair.far.write(chunk[:len(chunk) // 2])
        await pair.far.drain()
        pair.cut()
        self.over.set()
        return False

    async def _cut_behind(self, pair, chunk):
        pair.far.write(chunk)
        await pair.far.drain()
        pair.cut()
        self.over.set()
        return False

    async def _lose_answer(self, pair, chunk):
        pair.swallow = True
        pair.far.write(chunk)
        await pair.far.drain()
        return True

    async def _halve_answer(self, pair, chunk):
        pair.half = True
        return await self._lose_answer(pair, chunk)

    async def _half_close_near(self, pair, chunk):
        """The instance sees the end of the stream; PostgreSQL keeps an open connection for a while."""
        pair.far.write(chunk)
        await pair.far.drain()
        pair.near_ended = True
        pair.near.write_eof()

        async def then():
            await asyncio.sleep(self.pause)
            pair.cut()
            self.over.set()
        self.later(then())
        return True

    async def _half_close_far(self, pair, chunk):
        """PostgreSQL sees the end of the stream behind this message, and its answer still arrives."""
        pair.far.write(chunk)
        await pair.far.drain()
        pair.far.write_eof()
        self.over.set()
        return False

    async def _stall(self, pair, chunk):
        """Nothing passes on any connection for a while; then everything does."""
        self.flowing.clear()
        await asyncio.sleep(self.pause)
        self.flowing.set()
        pair.far.write(chunk)
        await pair.far.drain()
        self.over.set()
        return True

    async def _stall_and_cut(self, pair, chunk):
        """The message arrives, nothing comes back for a while, and then every connection is gone."""
        pair.far.write(chunk)
        await pair.far.drain()
        self.flowing.clear()
        await asyncio.sleep(self.pause)
        for each in list(self.pairs):
            each.cut()
        self.flowing.set()
        self.over.set()
        return False

    async def _refuse(self, pair, _):
        """All connections are cut and new ones refused for a while."""
        self.server.close()
        for each in list(self.pairs):
            each.cut()

        async def then():
            await asyncio.sleep(self.pause)
            await self.open()
            self.over.set()
        self.later(then())
        return False


DEEDS = {
    "cut before": Relay._cut_before, "cut within": Relay._cut_within, "cut behind": Relay._cut_behind,
    "lose answer": Relay._lose_answer, "lose answer and refuse": Relay._lose_answer,
    "halve answer": Relay._halve_answer,
    "half-close near": Relay._half_close_near, "half-close far": Relay._half_close_far,
    "stall": Relay._stall, "stall and cut": Relay._stall_and_cut, "refuse": Relay._refuse,
}
