#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Holds the table of pitfalls in tests/README.md against the tests: every row has a test that carries its number, every
# test that is named there exists and is run, and no numbered test is without a row.  pitfalls.py DIRECTORY-OF-TESTS

import collections
import pathlib
import re
import sys

ROWS = 30
faults = []
tests = pathlib.Path(sys.argv[1])
sources = "\n".join(p.read_text() for p in sorted(tests.rglob("*.c")))
files = {p.name for p in tests.rglob("*") if p.is_file()}
defined = set(re.findall(r"^static void\s+(\w+)\(\s*void \*\*state\)", sources, re.MULTILINE))
words = collections.Counter(re.findall(r"\w+", sources))


def check(row, name):
    if name in files:
        return
    if name not in defined:
        faults.append(f"row {row}: there is no test {name}")
    elif words[name] < 2:  # its definition, and no list of tests
        faults.append(f"row {row}: {name} is in no list of tests")


numbered = {}
for name in sorted(defined | files):
    if found := re.match(r"pitfall_(\d+)_", name):
        numbered.setdefault(int(found[1]), []).append(name)

seen = []
for line in (tests / "README.md").read_text().splitlines():
    found = re.match(r"\| (\d+|also) \| (.+) \| (.+) \|$", line)
    if not found:
        continue
    row, names = found[1], re.findall(r"`([\w.]+)`", found[3])
    for name in names:
        check(row, name)
    if not names and not found[3].startswith("none yet"):
        faults.append(f"row {row}: no test, and no word about it: {found[2]}")
    if row == "also":
        continue
    seen.append(int(row))
    own = numbered.get(int(row), [])
    if names and not any(name in own for name in names):
        faults.append(f"row {row}: no test that carries its number")
    if own and not names:
        faults.append(f"row {row}: says that there is none, but there is {own[0]}")

if seen != list(range(1, ROWS + 1)):
    faults.append(f"the rows are {seen}, wanted 1 to {ROWS}, each once and in order")
faults += [f"{names[0]}: there is no row {number}" for number, names in numbered.items() if number not in seen]
sys.exit("\n".join(faults) if faults else 0)
