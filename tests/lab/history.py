#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Compares what shoppers were told (the history that `shoppers` writes) with what the ledger holds, when all is at rest.
#   history.py LEDGER.json HISTORY.jsonl…   prints what holds, and what is broken with its evidence; exit 0 if all holds
#   history.py --self-test                  shows that each check finds the fault that it is there for
#
# LEDGER.json: {"total", "avail", "per_user", "rows": [{"id", "user", "quantity", "state", "granted", "released"}]},
# where granted and released are the numbers of the ledger entries that did it (released may be null).

import copy
import json
import sys
from collections import defaultdict

LIVE = {"held", "paying", "capturing", "unknown", "paid"}
NO_STOCK = {"sold-out", "insufficient-stock"}


def granted_is_in_the_ledger(ledger, history):
    """I4 and H1: every 201 is a row, of that user, with that quantity."""
    rows = {row["id"]: row for row in ledger["rows"]}
    for told in history:
        if told["status"] != 201:
            continue
        row = rows.get(told["id"])
        if row is None or row["user"] != told["user"] or row["quantity"] != told["quantity"]:
            yield f"{told['user']} was granted {told['id']}, and the ledger holds {row}"


def ledger_is_known_to_somebody(ledger, history):
    """H1 and H6: every row was asked for by its user; a row whose answer never came is one with an unknown outcome."""
    asked = {told["user"] for told in history if told["op"] != "cancel"}
    for row in ledger["rows"]:
        if row["user"] not in asked:
            yield f"{row['user']} never asked for {row['id']}"


def same_key_same_bytes(_, history):
    """H2: a key that was granted is answered by the same reservation and the same bytes ever after."""
    first = {}
    for told in history:
        if told["status"] != 201:
            continue
        seen = first.setdefault((told["user"], told["key"]), told)
        if (seen["id"], seen["hash"]) != (told["id"], told["hash"]):
            yield f"{told['user']} {told['key']}: {seen['id']} {seen['hash']}, then {told['id']} {told['hash']}"


def one_grant_per_key(ledger, history):
    """One key is one reservation, however often it was repeated."""
    keys = defaultdict(set)
    for told in history:
        if told["op"] != "cancel":
            keys[told["user"]].add(told["key"])
    rows = defaultdict(int)
    for row in ledger["rows"]:
        rows[row["user"]] += 1
    for user, count in rows.items():
        if count > len(keys[user]):
            yield f"{user} has {count} reservations for {len(keys[user])} keys"


def stock_is_never_exceeded(ledger, _):
    """H3: grants and releases in the ledger's order never have more out than there is, nor give back more than is out."""
    moves = []
    for row in ledger["rows"]:
        moves.append((row["granted"], 1, row["quantity"]))
        if row["released"] is not None:
            moves.append((row["released"], 0, -row["quantity"]))  # within an entry, releases come first
            if row["released"] < row["granted"]:
                yield f"{row['id']} was released before it was granted"
    out = 0
    for entry, _, quantity in sorted(moves):
        out += quantity
        if not 0 <= out <= ledger["total"]:
            yield f"entry {entry}: {out} units out of {ledger['total']}"
            return
    if out + ledger["avail"] != ledger["total"]:
        yield f"{out} units are out and {ledger['avail']} available, of {ledger['total']}"


def undersold(ledger, history):
    """The units that are available although somebody whose last answer was "no stock" wants them and may have them."""
    last = {}
    for told in history:
        if told["op"] != "cancel" and told["status"] != 0:
            last[told["user"]] = told
    has = defaultdict(int)
    for row in ledger["rows"]:
        if row["state"] in LIVE:
            has[row["user"]] += row["quantity"]
    left = ledger["avail"]
    for told in sorted(last.values(), key=lambda t: t["quantity"]):
        if told["status"] == 409 and told["type"] in NO_STOCK and told["quantity"] <= left:
            if has[told["user"]] + told["quantity"] <= ledger["per_user"]:
                left -= told["quantity"]
    return ledger["avail"] - left


def nobody_is_refused_what_is_there(ledger, history):
    """I6."""
    units = undersold(ledger, history)
    if units:
        yield f"{units} of {ledger['avail']} available units are wanted by shoppers who were told that there are none"


CHECKS = {
    "I4": granted_is_in_the_ledger,
    "I6": nobody_is_refused_what_is_there,
    "H1": ledger_is_known_to_somebody,
    "H2": same_key_same_bytes,
    "H3": stock_is_never_exceeded,
    "H6": one_grant_per_key,
}


def check(ledger, history):
    broken = {name: list(rule(ledger, history)) for name, rule in CHECKS.items()}
    report = {name: not found for name, found in broken.items()}
    report["undersold"] = undersold(ledger, history)
    report["evidence"] = {name: found[:5] for name, found in broken.items() if found}
    return report


def self_test():
    def told(user, status, **more):
        return {"user": user, "op": "reserve", "key": "k", "quantity": 1, "status": status, "type": "", "id": "",
                "hash": "0", **more}

    def row(ident, user, granted, released=None, state="held"):
        return {"id": ident, "user": user, "quantity": 1, "state": state, "granted": granted, "released": released}

    ledger = {"total": 2, "avail": 0, "per_user": 1, "rows": [
        row("1", "ann", 1), row("2", "bob", 1, 2, "cancelled"), row("3", "cid", 3)]}
    history = [told("ann", 201, id="1", hash="a"), told("ann", 201, id="1", hash="a", op="replay"),
               told("bob", 201, id="2", hash="b"), told("bob", 204, id="2", op="cancel"),
               told("dan", 409, type="sold-out"), told("cid", 0), told("cid", 201, id="3", hash="c")]
    assert all(check(ledger, history)[name] for name in CHECKS), check(ledger, history)

    def finds(name, spoil):
        bad_ledger, bad_history = copy.deepcopy(ledger), copy.deepcopy(history)
        spoil(bad_ledger, bad_history)
        assert not check(bad_ledger, bad_history)[name], f"{name} does not see {spoil}"

    finds("I4", lambda l, h: l["rows"].pop(0))                                # a grant was lost
    finds("I4", lambda l, h: l["rows"][0].update(user="eve"))                 # … or became another's
    finds("I4", lambda l, h: l["rows"][0].update(quantity=2))                 # … or another quantity
    finds("I6", lambda l, h: l.update(avail=1, total=3))                      # a unit is there, and dan was refused
    finds("H1", lambda l, h: l["rows"].append(row("4", "eve", 4)))            # nobody asked for it
    finds("H2", lambda l, h: h[1].update(hash="x"))                           # a replay reads differently
    finds("H2", lambda l, h: h[1].update(id="9"))                             # … or is another reservation
    finds("H3", lambda l, h: l["rows"].append(row("5", "cid", 2)))            # oversold for a moment
    finds("H3", lambda l, h: l.update(avail=1))                               # released twice
    finds("H6", lambda l, h: l["rows"].append(row("6", "ann", 4)))            # a retry was executed again
    print("the checker finds every fault that it is there for")


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return 0
    if len(sys.argv) < 3:
        sys.exit("usage: history.py LEDGER.json HISTORY.jsonl… | --self-test")
    with open(sys.argv[1]) as file:
        ledger = json.load(file)
    history = []
    for path in sys.argv[2:]:
        with open(path) as file:
            history += [json.loads(line) for line in file]
    history.sort(key=lambda told: told["answered"])
    report = check(ledger, history)
    print(json.dumps(report))
    return 0 if all(report[name] for name in CHECKS) else 1


if __name__ == "__main__":
    sys.exit(main())
