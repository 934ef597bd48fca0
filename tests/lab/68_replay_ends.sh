# SPDX-License-Identifier: BSD-3-Clause
# limit: 240
# Each request whose first segment was replayed for 140 s was executed once, and its connection was not disturbed.
. "${0%/*}/lib.sh"
cleanup() { proc_stop replay; }
[[ -s $LOGS/replay.log ]] || bash "$ROOT/tests/lab/59_replay_begins.sh"

report() { tail -n 1 "$LOGS/replay.log" | jq -e "$@" 2>/dev/null; }
until_true 200 report .seconds || fail "the replay comes to its end" "$(<"$LOGS/replay.log")"
while IFS=$'\t' read -r name sha256 sent; do
    expect_at_least "$name: its first segment was sent again, often" $((${REPLAY_SECONDS:-140} * 5)) "$sent"
    expect_equal "$name: executed once" 1 "$(cat "$LOGS"/transfer.*.log | grep -c "\"executed\":\"$sha256\"")"
done < <(report -r '.requests[] | [.name, .sha256, .sent] | @tsv')
expect_equal "what followed on curl's connections arrived" '[0,0]' "$(report -c .curl)"
expect_at_least "tombstones answered" 100 $(($(verdict tombstone_ack) - $(<"$LAB_DIR/replay-tombstone_ack")))
