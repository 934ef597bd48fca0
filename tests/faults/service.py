# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# What is put under stress: a private PostgreSQL (started by scripts/faults) and instances of dropgate-control. Knows how to
# start, hurt and end them; decides nothing.

import asyncio
import ctypes
import os
import signal

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STARTED_WITHIN, ENDED_WITHIN = 20, 20  # seconds, on a machine that does many other things


class Trouble(Exception):
    """Something that must not be: the run has failed."""


def die_with_parent():
    """A run that is killed leaves no instance behind."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


async def run(*words, stdin=None, check=True):
    """A program's output."""
    child = await asyncio.create_subprocess_exec(*words, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                                                 stderr=asyncio.subprocess.PIPE)
    out, err = await child.communicate(stdin.encode() if stdin else None)
    if check and child.returncode != 0:
        raise Trouble(f"{words[0]} {words[1:3]}: {err.decode().strip()}")
    return out.decode().strip()


class Postgres:
    """A cluster. It may be hurt at any time, so whatever asks it must be prepared to fail."""

    def __init__(self, directory):
        self.directory = directory
        self.prepare()

    def prepare(self):
        link = os.path.join(self.directory, "home")
        self.home = os.readlink(link) if os.path.islink(link) else self.directory

    def dsn(self, user="postgres", host=None, port=5432):
        return f"host={host or self.home} port={port} dbname=dropgate user={user}"

    async def sql(self, text):
        """The rows of the statements, fields apart by '|'. Each call is a session of its own."""
        return await run("psql", "-XAtqd", self.dsn(), "-v", "ON_ERROR_STOP=1", "-f", "-", stdin=text)

    async def _lib(self, function, *settings):
        script = f'set -euo pipefail; ROOT={ROOT}; . "$ROOT/scripts/lib/postgres.sh"; {function} "$@"'
        await run("bash", "-c", script, "bash", self.directory, *settings)

    def postmaster(self):
        with open(os.path.join(self.home, "data/postmaster.pid")) as file:
            return int(file.readline())

    def processes(self):
        """The postmaster first, so that it starts no other after they were counted and stopped."""
        first = self.postmaster()
        children = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    if int(file.read().rsplit(")", 1)[1].split()[1]) == first:
                        children.append(int(pid))
            except OSError:
                continue
        return [first] + children

    async def crash(self):
        await self._lib("pg_kill9")

    async def start(self, *settings):
        await self._lib("pg_start", *os.environ["FAULTS_POSTGRES"].split(), *settings)

    async def follow(self, primary, name):
        """Becomes a standby of a running primary, and the one that its commits wait for."""
        await self._lib("pg_standby", primary.directory, name, *os.environ["FAULTS_POSTGRES"].split())
        self.prepare()
        await primary.sql(f"alter system set synchronous_standby_names = '{name}'; select pg_reload_conf() \\g /dev/null")
        while await primary.sql("select sync_state from pg_stat_replication") != "sync":
            await asyncio.sleep(0.05)

    async def drop(self):
        await self._lib("pg_drop")

    async def stop(self):
        await self._lib("pg_stop")

    def signal_all(self, number):
        os.kill(self.postmaster(), number)
        for pid in self.processes()[1:]:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


class Control:
    """One instance. Started again it is another process on the same address."""

    def __init__(self, number, address, directory, settings):
        self.number, self.address, self.directory = number, address, directory
        self.settings = settings  # {section: {key: value}}
        self.starts = 0
        self.child = None

    @property
    def log(self):
        return os.path.join(self.directory, f"control-{self.number}-{self.starts}.log")

    def logged(self, *words):
        """Whether the present process has logged a line with all of these."""
        with open(self.log) as file:
            return any(all(word in line for word in words) for line in file)

    async def start(self, failpoints=""):
        self.starts += 1
        path = os.path.join(self.directory, f"control-{self.number}.conf")
        with open(path, "w") as file:
            for section, keys in self.settings.items():
                file.write(f"[{section}]\n" + "".join(f"{key} = {value}\n" for key, value in keys.items()))
        environment = {**os.environ, "DROPGATE_FAILPOINTS": failpoints}
        with open(self.log, "w") as log:
            self.child = await asyncio.create_subprocess_exec(os.environ["FAULTS_CONTROL"], "-c", path, stdout=log, stderr=log,
                                                              env=environment, preexec_fn=die_with_parent)
        deadline = asyncio.get_running_loop().time() + STARTED_WITHIN
        while not self.logged('"started"'):
            if self.child.returncode is not None or asyncio.get_running_loop().time() > deadline:
                raise Trouble(f"instance {self.number} does not start: see {self.log}")
            await asyncio.sleep(0.01)

    def running(self):
        return self.child is not None and self.child.returncode is None

    def signal(self, number):
        os.kill(self.child.pid, number)

    async def ended(self):
        """Its exit status, or minus the signal."""
        return await asyncio.wait_for(self.child.wait(), ENDED_WITHIN)

    async def end(self):
        """Asks it to end, and takes nothing but a clean end."""
        self.signal(signal.SIGTERM)
        try:
            status = await self.ended()
        except asyncio.TimeoutError:
            self.signal(signal.SIGABRT)
            raise Trouble(f"instance {self.number} does not end within {ENDED_WITHIN} s of SIGTERM: see {self.log}") from None
        if status != 0:
            raise Trouble(f"instance {self.number} ended with {status}: see {self.log}")

    def findings(self):
        """Logs of this instance, of all its starts, in which a sanitizer found something."""
        for start in range(1, self.starts + 1):
            path = os.path.join(self.directory, f"control-{self.number}-{start}.log")
            with open(path, errors="replace") as file:
                text = file.read()
            if "Sanitizer" in text or "runtime error:" in text:
                yield path

    async def kill(self):
        if self.running():
            self.signal(signal.SIGKILL)
            await self.child.wait()
