#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# The history checker's own test: a small sale in which everything is right, written by hand, and every way in which it can be
# wrong. Each fault must be found by its check; each thing that only looks like one must be let pass.

import copy
import unittest

import history

SALE = 7


def ident(user, key="k"):
    return history.reservation_id(user, SALE, key)


def told(user, status, invoked, answered, **more):
    grant = {"id": ident(user), "hash": user} if status == 201 else {"id": "", "hash": ""}
    return {"user": user, "op": "reserve", "key": "k", "quantity": 1, "status": status, "type": "", "invoked": invoked,
            "answered": answered, **grant, **more}


def row(user, granted, granted_at, state="held", released=None, key="k", **more):
    return {"id": ident(user, key), "user": user, "quantity": 1, "state": state, "granted": granted, "released": released,
            "granted_at": granted_at, "expires_at": granted_at + 100000, **more}


# Two units, open at 100. Ann and bob buy at 110; dan is told sold out; bob cancels, cid gets the unit; ann's hold lapses at
# 1110 and eve gets hers; the answer to fay, whom the sold-out sale refused, was lost.
LEDGER = {"sale": SALE, "total": 2, "avail": 0, "per_user": 1, "opens_at": 100, "rows": [
    row("ann", 1, 110, "expired", 4, expires_at=1110), row("bob", 1, 110, "cancelled", 2), row("cid", 3, 300), row("eve", 4, 1200)]}
HISTORY = [
    told("ann", 201, 90, 120), told("bob", 201, 90, 120), told("ann", 201, 130, 140, op="replay"),
    told("dan", 409, 150, 160, type="sold-out"),
    told("bob", 204, 200, 210, op="cancel", id=ident("bob")), told("bob", 204, 220, 230, op="cancel", id=ident("bob")),
    told("cid", 0, 240, 250), told("cid", 201, 260, 310),
    told("ann", 201, 1150, 1160, op="replay"), told("eve", 201, 1150, 1210),
    told("fay", 0, 1300, 1310), told("dan", 409, 1300, 1320, type="sold-out")]


class TheChecker(unittest.TestCase):
    def setUp(self):
        self.ledger, self.history = copy.deepcopy(LEDGER), copy.deepcopy(HISTORY)

    def report(self):
        return history.check(self.ledger, self.history)

    def row(self, user):
        return next(r for r in self.ledger["rows"] if r["user"] == user)

    def told(self, user, number=0):
        return [t for t in self.history if t["user"] == user][number]

    def nobody_is_refused(self):
        """There is a unit more, which dan would have been wronged by."""
        self.history = [t for t in self.history if t["user"] != "dan"]

    def assert_found(self, *names):
        """These checks fail, and no other."""
        self.assertEqual(set(names), {name for name in history.CHECKS if not self.report()[name]}, self.report()["evidence"])

    def test_finds_nothing_where_nothing_is_wrong(self):
        self.assert_found()

    # H1 and I4: every 201 is one row

    def test_finds_a_lost_grant(self):
        self.ledger["rows"].remove(self.row("cid"))
        self.ledger["avail"] = 1
        self.assert_found("I4", "H1", "H4", "I6")  # and dan, who was refused, could have had it

    def test_finds_a_grant_that_became_anothers(self):
        self.row("cid")["user"] = "eve"
        self.assert_found("I4", "H1")

    def test_finds_a_grant_of_another_quantity(self):
        self.told("cid", 1)["quantity"] = 2
        self.assert_found("I4", "H1")

    def test_finds_a_grant_under_another_id(self):
        self.told("cid", 1)["id"] = ident("cid", "other")
        self.assert_found("I4", "H1")

    def test_finds_an_answer_before_its_grant(self):
        self.told("eve")["answered"] = 1190
        self.assert_found("I4", "H1")

    def test_finds_a_row_that_nobody_asked_for(self):
        self.ledger.update(total=3)
        self.ledger["rows"].append(row("gil", 5, 1201))
        self.nobody_is_refused()
        self.assert_found("H1")

    def test_finds_a_row_of_a_quantity_that_nobody_asked_for(self):
        self.ledger.update(total=4)
        self.ledger["rows"].append(row("fay", 5, 1305, quantity=2))
        self.nobody_is_refused()
        self.assert_found("H1")

    def test_finds_a_row_from_before_it_was_asked_for(self):
        self.told("cid", 0)["invoked"] = self.told("cid", 1)["invoked"] = 305
        self.assert_found("H1")

    def test_finds_a_cancellation_that_was_undone(self):
        self.row("bob").update(state="held", released=None)
        self.ledger.update(total=3)
        self.nobody_is_refused()
        self.assert_found("H1")

    def test_finds_a_payment_that_is_not_there(self):
        self.history.append(told("cid", 200, 400, 410, op="pay 0 ok", id=ident("cid")))
        self.assert_found("H1")
        self.row("cid").update(state="paid", due=None)
        self.assert_found()

    def test_lets_late_money_take_another_place(self):
        self.ledger.update(total=3)
        self.ledger["rows"].append(row("ann", 5, 1300, "paid", key="made for the money", late=True))
        self.history.append(told("ann", 200, 1290, 1310, op="pay 0 late", id=ident("ann")))
        self.nobody_is_refused()
        self.assert_found()

    # H2: the same key gives the same bytes

    def test_finds_a_replay_that_reads_differently(self):
        self.told("ann", 1)["hash"] = "other"
        self.assert_found("H2")

    def test_finds_a_replay_that_is_refused(self):
        self.told("ann", 2).update(status=409, type="limit-reached", id="", hash="")
        self.assert_found("H2")

    def test_finds_a_replay_of_a_lost_answer_that_is_refused(self):
        self.ledger["rows"][2]["granted_at"] = 245  # by the attempt whose answer was lost
        self.told("cid", 1).update(status=500, type="internal", id="", hash="")
        self.assert_found("H2")

    def test_lets_a_refusal_pass_that_may_have_come_before_the_grant(self):
        self.history.insert(8, told("cid", 409, 240, 305, type="sold-out"))
        self.assert_found()

    def test_lets_another_body_under_the_key_be_refused(self):
        self.history.append(told("cid", 422, 400, 410, type="key-reused", quantity=2))
        self.assert_found()

    def test_lets_a_replay_fail_without_a_definite_answer(self):
        self.told("ann", 2).update(status=503, type="outcome-unknown", id="", hash="")
        self.assert_found()

    # H3: by sequence, never more than the total

    def test_finds_stock_that_is_oversold_for_a_moment(self):
        self.row("cid")["granted"] = 1
        self.row("cid")["granted_at"] = 110
        self.told("cid")["invoked"] = 90
        self.assert_found("H3")

    def test_finds_stock_that_is_given_back_twice(self):
        self.ledger["avail"] = 1
        self.assert_found("H3", "I6")

    def test_finds_a_release_before_its_grant(self):
        self.row("cid").update(state="cancelled", released=2)
        self.nobody_is_refused()
        self.assert_found("H3")

    def test_finds_a_grant_that_is_older_than_the_release_it_lives_on(self):
        self.row("cid")["granted_at"] = 195  # the transaction began before bob cancelled, and waited for the lock
        self.told("cid")["invoked"] = 190
        self.assert_found("H3")

    def test_finds_entries_that_go_back_in_time(self):
        self.ledger.update(total=3)
        self.ledger["rows"].append(row("fay", 5, 1199))
        self.told("fay")["invoked"] = 1190
        self.nobody_is_refused()
        self.assert_found("H3")

    # H4: sold out is said only when it is so

    def test_finds_a_sold_out_while_there_was_stock(self):
        self.history.append(told("fay", 409, 102, 108, type="sold-out"))
        self.assert_found("H4")

    def test_finds_a_sold_out_while_a_hold_was_due(self):
        self.told("dan", 1).update(invoked=1115, answered=1195)
        self.assert_found("H4")

    def test_finds_a_sold_out_after_a_cancellation_was_confirmed(self):
        self.told("dan", 1).update(invoked=215, answered=290)
        self.assert_found("H4")

    def test_finds_insufficient_stock_where_there_was_enough(self):
        self.history.append(told("fay", 409, 102, 108, type="insufficient-stock", quantity=2))
        self.assert_found("H4")

    def test_lets_a_sold_out_pass_that_was_true_for_an_instant(self):
        self.history.append(told("fay", 409, 100, 110, type="sold-out"))
        self.history.append(told("fay", 409, 205, 290, type="sold-out"))
        self.assert_found()

    def test_lets_a_sold_out_pass_that_may_be_remembered(self):
        self.told("dan", 1).update(invoked=1115, answered=1195)
        self.ledger["lease"] = 10
        self.assert_found()

    def test_lets_fewer_than_wanted_be_refused(self):
        self.history.append(told("fay", 409, 212, 299, type="insufficient-stock", quantity=2))
        self.assert_found()

    def test_does_not_take_a_hold_in_payment_for_due(self):
        self.told("dan", 1).update(invoked=1115, answered=1195)
        self.row("ann")["due"] = None
        self.assert_found()

    # H5: nothing before the opening

    def test_finds_a_grant_before_the_opening(self):
        self.ledger["opens_at"] = 111
        self.assert_found("H5")

    def test_finds_an_answer_before_the_opening(self):
        self.ledger["opens_at"] = 121
        for user in "ann", "bob":
            self.row(user)["granted_at"] = 121
        self.assert_found("H5", "I4", "H1")  # told before it was granted, as well

    # H6: a call whose outcome is unknown has one row or none

    def test_finds_two_rows_of_one_key(self):
        self.ledger.update(total=3)
        self.ledger["rows"].append(row("cid", 3, 300))
        self.nobody_is_refused()
        self.assert_found("H6")

    def test_finds_a_row_of_a_key_that_was_refused_every_time(self):
        self.ledger["rows"][3] = row("dan", 4, 1310)
        self.history.remove(self.told("eve"))
        self.assert_found("H6")

    def test_finds_a_row_of_a_call_that_was_told_that_nothing_happened(self):
        self.ledger["rows"][3] = row("dan", 4, 1310)
        self.told("dan", 0).update(status=503, type="ledger-unavailable")
        self.history.remove(self.told("eve"))
        self.assert_found("H6")

    def test_finds_that_something_happened_that_was_said_not_to(self):
        self.row("cid")["granted_at"] = 245
        self.told("cid", 0).update(status=503, type="ledger-unavailable")
        self.assert_found("H1")

    def test_lets_a_call_without_an_answer_have_a_row(self):
        self.ledger.update(total=3)
        self.ledger["rows"].append(row("fay", 5, 1305))
        self.nobody_is_refused()
        self.assert_found()

    # I6: nobody is refused what is there

    def test_finds_a_unit_that_somebody_was_refused(self):
        self.ledger.update(total=3, avail=1)
        self.assert_found("I6", "H4")

    def test_counts_what_is_there_once(self):
        self.ledger.update(total=3, avail=1)
        self.history.append(told("gil", 409, 1400, 1410, type="sold-out"))
        self.assertEqual(self.report()["undersold"], 1)

    def test_lets_those_be_refused_who_are_at_their_limit(self):
        self.ledger.update(total=3, avail=1)
        self.nobody_is_refused()
        self.history.append(told("cid", 409, 400, 410, type="insufficient-stock", key="another", quantity=2))
        self.assert_found()


if __name__ == "__main__":
    unittest.main(verbosity=1)
