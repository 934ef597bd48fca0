#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Compares what shoppers were told (the history that each of them writes) with what the ledger holds, when all is at rest.
#   history.py LEDGER.json HISTORY.jsonl…   prints what holds, and what is broken with its evidence; exit 0 if all holds
#
# LEDGER.json: {"sale", "total", "avail", "per_user", "opens_at", "rows": [{"id", "user", "quantity", "state", "granted", "released",
# "granted_at", "expires_at", "due", "late"}]}; granted and released are the numbers of the ledger entries that did it (released may be
# null); due is when a hold ends by itself, null if a payment was begun, and expires_at if it is not there; late:
# it took the place of one that had ended when its money came. HISTORY: one line per call: {"user", "op", "key", "quantity", "invoked", "answered", "status", "type", "id", "hash"};
# status 0 is a call whose answer never came. All times are microseconds since 1970 of one machine's clock.
#
# Every check errs on the side of the ledger: what could have happened in some order is let pass. history_test.py shows
# that each of them finds the fault that it is there for.

import hashlib
import json
import sys
import uuid
from bisect import bisect_right
from collections import defaultdict

LIVE = {"held", "paying", "capturing", "unknown", "paid"}
NO_STOCK = {"sold-out", "insufficient-stock"}
RESERVE = {"reserve", "replay"}
EVER = float("inf")
NEVER = float("-inf")


def is_unknown(told):
    """The answer does not tell: none came, or it is to be asked again."""
    return told["status"] in (0, 503)


def may_have_happened(told):
    """No answer came, or one that says that nobody knows. Any other 503 promises that nothing happened."""
    return told["status"] == 0 or told["type"] == "outcome-unknown"


def reservation_id(user, sale, key):
    """As control/ledger/key.h has it: 128 bits of SHA-256, each part behind its length."""
    parts = user.encode(), sale.to_bytes(4, "big"), key.encode()
    digest = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()
    return str(uuid.UUID(bytes=digest[:16]))


def due_of(row):
    return row.get("due", row["expires_at"])


class Case:
    """The ledger and the history of one sale, with what several checks want to know of them."""

    def __init__(self, ledger, history):
        self.total, self.avail, self.per_user = ledger["total"], ledger["avail"], ledger["per_user"]
        self.opens_at, self.lease = ledger["opens_at"], ledger.get("lease", 0)
        self.rows = ledger["rows"]
        self.row = {row["id"]: row for row in self.rows}
        self.history = sorted(history, key=lambda told: told["answered"])
        self.asked = defaultdict(list)    # reservation id: the calls that asked for it, by their answers' times
        self.cancels = defaultdict(list)  # reservation id: the calls that cancel it
        for told in self.history:
            if told["op"] in RESERVE:
                self.asked[reservation_id(told["user"], ledger["sale"], told["key"])].append(told)
            elif told["op"] == "cancel":
                self.cancels[told["id"]].append(told)

    def released_between(self, row):
        """The earliest and the latest instant at which a row that has ended gave its units back."""
        if row["state"] == "expired":
            return NEVER if due_of(row) is None else due_of(row), EVER
        calls = self.cancels[row["id"]]
        return (min((told["invoked"] for told in calls), default=NEVER),
                min((told["answered"] for told in calls if told["status"] == 204), default=EVER))

    def entries(self):
        """The ledger's entries in order: (number, units out by it, units back, not before, not after)."""
        moves = defaultdict(lambda: [0, 0, NEVER, EVER])
        for row in self.rows:
            move = moves[row["granted"]]
            move[0] += row["quantity"]
            move[2:] = max(move[2], row["granted_at"]), min(move[3], row["granted_at"])
            if row["released"] is not None:
                move = moves[row["released"]]
                earliest, latest = self.released_between(row)
                move[1] += row["quantity"]
                move[2:] = max(move[2], earliest), min(move[3], latest)
        return [(number, *moves[number]) for number in sorted(moves)]


def granted_is_in_the_ledger(case):
    """I4 and H1: every 201 is the row that its key names, of that user, with that quantity, granted while it was asked for."""
    for ident, calls in case.asked.items():
        row = case.row.get(ident)
        for told in calls:
            if told["status"] != 201:
                continue
            wanted = (ident, told["user"], told["quantity"])
            if row is None or (told["id"], row["user"], row["quantity"]) != wanted:
                yield f"{told['user']} was granted {told['id']} for {told['key']}, which is {ident}; the ledger holds {row}"
            elif row["granted_at"] > told["answered"]:
                yield f"{told['user']} was told of {ident} at {told['answered']}, and it was granted at {row['granted_at']}"


def ledger_is_known_to_somebody(case):
    """H1: every row is one that somebody asked for, by a call before it that was not told that nothing happened."""
    for row in case.rows:
        if row.get("late"):
            continue  # made for money that came after the first one had ended
        calls = [told for told in case.asked.get(row["id"], []) if told["quantity"] == row["quantity"]]
        if not calls or calls[0]["user"] != row["user"]:
            yield f"{row['user']} never asked for {row['quantity']} of {row['id']}"
        elif row["granted_at"] < min((t["invoked"] for t in calls if t["status"] == 201 or may_have_happened(t)), default=NEVER):
            yield f"{row['id']} of {row['user']} was granted at {row['granted_at']}, and no call until then can have done it"


def cancelled_is_in_the_ledger(case):
    """H1, for the other promise: what was cancelled stays so."""
    for ident, calls in case.cancels.items():
        row = case.row.get(ident)
        if any(told["status"] == 204 for told in calls) and (row is None or row["released"] is None):
            yield f"{ident} was cancelled, and the ledger holds {row}"


def paid_is_in_the_ledger(case):
    """H1, for money: who was told that it is paid has it."""
    for told in case.history:
        if told["op"].startswith("pay") and told["status"] == 200 and not paid_for(case, told):
            yield f"{told['user']} was told that {told['id']} is paid, and the ledger holds {case.row.get(told['id'])}"


def paid_for(case, told):
    row = case.row.get(told["id"])
    return row is not None and row["state"] == "paid" or any(
        late["user"] == told["user"] and late["state"] == "paid" for late in case.rows if late.get("late"))


def same_key_same_bytes(case):
    """H2: once granted, a key gives the same reservation and the same bytes, and nothing else any more."""
    for ident, calls in case.asked.items():
        grants = [told for told in calls if told["status"] == 201]
        for told in grants[1:]:
            if (told["id"], told["hash"]) != (grants[0]["id"], grants[0]["hash"]):
                yield f"{told['user']} {told['key']}: {grants[0]['id']} {grants[0]['hash']}, then {told['id']} {told['hash']}"
        row = case.row.get(ident)
        for told in calls if row else ():
            if told["status"] == 201 or is_unknown(told) or told["type"] == "key-in-flight":
                continue
            if told["quantity"] == row["quantity"] and told["invoked"] > row["granted_at"]:
                yield f"{told['user']} {told['key']} was granted at {row['granted_at']}, and asked at {told['invoked']} got " \
                      f"{told['status']} {told['type']}"


def stock_is_never_exceeded(case):
    """H3: grants and releases, in the ledger's order, never have more out than there is nor give back more than is out; and
    the order is one in which they can have happened."""
    out, not_before = 0, NEVER
    for number, taken, given, earliest, latest in case.entries():
        for units in -given, taken:  # within an entry, releases come first
            out += units
            if not 0 <= out <= case.total:
                yield f"entry {number}: {out} units out of {case.total}"
                return
        not_before = max(not_before, earliest)
        if latest < not_before:
            yield f"entry {number} is of {latest} at the latest, behind one of {not_before} at the earliest"
    if out + case.avail != case.total:
        yield f"{out} units are out and {case.avail} available, of {case.total}"
    for row in case.rows:
        if row["released"] is not None and row["released"] < row["granted"]:
            yield f"{row['id']} was released before it was granted"


def fewest_available(case):
    """When the stock changed, and the fewest units that can have been available from then on: [(time, units)]. A hold whose
    time is over counts as available, since a batch releases it before it refuses anybody; a cancelled one only when that
    was certain, which is when its client knew or the ledger's next grant has a time."""
    changes = defaultdict(int)
    certain, latest_of = EVER, {}
    for number, _, _, _, latest in reversed(case.entries()):
        certain = latest_of[number] = min(certain, latest)
    for row in case.rows:
        changes[row["granted_at"]] -= row["quantity"]
        if row["state"] == "cancelled":
            changes[latest_of[row["released"]]] += row["quantity"]
        elif row["state"] in ("held", "expired"):
            due = due_of(row)
            changes[latest_of.get(row["released"], EVER) if due is None else due] += row["quantity"]
    steps, units = [(NEVER, case.total)], case.total
    for time in sorted(changes):
        units += changes[time]
        steps.append((time, units))
    return steps


def no_stock_is_told_only_when_it_is_so(case):
    """H4: "sold out" and "fewer than you want" are legal only if it was so at some instant between the question (less the
    time for which such an answer may be remembered) and the answer."""
    steps = fewest_available(case)
    times = [time for time, _ in steps]
    for told in case.history:
        if told["op"] not in RESERVE or told["status"] != 409 or told["type"] not in NO_STOCK:
            continue
        allowed = 0 if told["type"] == "sold-out" else told["quantity"] - 1
        since, till = told["invoked"] - case.lease, told["answered"]
        fewest = min(units for _, units in steps[bisect_right(times, since) - 1:bisect_right(times, till)])
        if fewest > allowed:
            yield f"{told['user']} wanted {told['quantity']} and was told {told['type']} between {since} and {till}, when at least " \
                  f"{fewest} were available all the time"


def nothing_before_the_opening(case):
    """I5 and H5, by the ledger and by the clients' own clock."""
    for row in case.rows:
        if row["granted_at"] < case.opens_at:
            yield f"{row['id']} was granted at {row['granted_at']}, before the opening at {case.opens_at}"
    for told in case.history:
        if told["op"] in RESERVE and told["status"] == 201 and told["answered"] < case.opens_at:
            yield f"{told['user']} was told at {told['answered']}, before the opening at {case.opens_at}"


def one_grant_per_key(case):
    """H6: a key has no reservation or one: none if every call was refused, either if the outcome of one is unknown."""
    count = defaultdict(int)
    for row in case.rows:
        count[row["id"]] += 1
    for ident, calls in case.asked.items():
        if count[ident] > 1:
            yield f"{ident} stands {count[ident]} times in the ledger"
        elif count[ident] and not any(told["status"] == 201 or may_have_happened(told) for told in calls):
            yield f"{calls[0]['user']} {calls[0]['key']} was refused every time, and the ledger holds {case.row[ident]}"


def undersold(case):
    """The units that are available although somebody whose last answer was "no stock" wants them and may have them."""
    last = {}
    for told in case.history:
        if told["op"] in RESERVE and told["status"] != 0:
            last[told["user"], told["key"]] = told
    has = defaultdict(int)
    for row in case.rows:
        if row["state"] in LIVE:
            has[row["user"]] += row["quantity"]
    left = case.avail
    for told in sorted(last.values(), key=lambda t: t["quantity"]):
        if told["status"] == 409 and told["type"] in NO_STOCK and told["quantity"] <= left:
            if has[told["user"]] + told["quantity"] <= case.per_user:
                left -= told["quantity"]
                has[told["user"]] += told["quantity"]
    return case.avail - left


def nobody_is_refused_what_is_there(case):
    """I6."""
    units = undersold(case)
    if units:
        yield f"{units} of {case.avail} available units are wanted by shoppers who were told that there are none"


CHECKS = {
    "I4": [granted_is_in_the_ledger],
    "I6": [nobody_is_refused_what_is_there],
    "H1": [granted_is_in_the_ledger, ledger_is_known_to_somebody, cancelled_is_in_the_ledger, paid_is_in_the_ledger],
    "H2": [same_key_same_bytes],
    "H3": [stock_is_never_exceeded],
    "H4": [no_stock_is_told_only_when_it_is_so],
    "H5": [nothing_before_the_opening],
    "H6": [one_grant_per_key],
}


def check(ledger, history):
    """{name of the check: whether it holds}, with the evidence against those that do not."""
    case = Case(ledger, history)
    broken = {name: [found for rule in rules for found in rule(case)] for name, rules in CHECKS.items()}
    report = {name: not found for name, found in broken.items()}
    report["undersold"] = undersold(case)
    report["evidence"] = {name: found[:5] for name, found in broken.items() if found}
    return report


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: history.py LEDGER.json HISTORY.jsonl…")
    with open(sys.argv[1]) as file:
        ledger = json.load(file)
    history = []
    for path in sys.argv[2:]:
        with open(path) as file:
            history += [json.loads(line) for line in file]
    report = check(ledger, history)
    print(json.dumps(report))
    return 0 if all(report[name] for name in CHECKS) else 1


if __name__ == "__main__":
    sys.exit(main())
