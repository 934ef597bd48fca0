#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# Compares the provider's books (GET /_books of the simulator) with the ledger's, when all is at rest: what was taken is what was paid
# for, to the unit, and what was paid for nothing was given back once.
#
#   books.py BOOKS.json LEDGER.json     LEDGER.json: [{"attempt", "state", "amount", "reservation"}], `reservation` the state of the
#                                       one that was paid, or null

import json
import sys


def faults(books, ledger):
    stored = {row["attempt"]: row for row in ledger}
    for attempt, book in books.items():
        row = stored.get(attempt)
        if row is None:
            yield f"the provider knows {attempt}, and the ledger does not"
            continue
        if book["taken"] > 1 or book["returned"] > book["taken"]:
            yield f"{attempt}: money was taken {book['taken']} times and given back {book['returned']} times"
        if book["taken"] and book["amount"] != row["amount"]:
            yield f"{attempt}: {book['amount']} was taken for {row['amount']}"
        wanted = {"captured": (1, 0), "refunded": (1, 1)}.get(row["state"], (0, 0))
        if (book["taken"], book["returned"]) != wanted:
            yield f"{attempt} ({book['method']}): taken {book['taken']}, returned {book['returned']}, and the ledger has it {row['state']}"
        if book["state"] == "authorised":
            yield f"{attempt} ({book['method']}): the shopper's money is still held for nothing"
    for row in ledger:
        if row["state"] not in ("captured", "declined", "voided", "refunded"):
            yield f"{row['attempt']} is still {row['state']}"
        if (row["state"] == "captured") != (row["reservation"] == "paid"):
            yield f"{row['attempt']} is {row['state']}, what it paid for is {row['reservation']}"
        if row["state"] in ("captured", "refunded") and row["attempt"] not in books:
            yield f"{row['attempt']} is {row['state']}, and the provider has never heard of it"


def main():
    books, ledger = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
    found = list(faults(books, ledger))
    for fault in found:
        print(fault)
    taken = sum(book["amount"] for book in books.values() if book["taken"])
    returned = sum(book["amount"] for book in books.values() if book["returned"])
    paid = sum(row["amount"] for row in ledger if row["state"] == "captured")
    print(json.dumps({"attempts": len(ledger), "taken": taken, "returned": returned, "paid": paid}))
    if taken != paid + returned:
        print(f"{taken} was taken, {paid} paid for and {returned} given back")
    sys.exit(bool(found) or taken != paid + returned)


if __name__ == "__main__":
    main()
