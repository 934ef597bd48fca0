# SPDX-License-Identifier: BSD-3-Clause
# limit: 120
# 20,000 copies of an acknowledgement on an open connection: some pass, the rest is dropped, the backend hears of few, the
# connection itself goes on, and so do those beside it.
. "${0%/*}/lib.sh"
needs transfer dataplane

at_rest() { [[ $(telemetry /dropgate/tables | jq .flows) == 0 ]]; } # what others have left would be counted
until_true 30 at_rest || fail "nobody else is there"
before=$(verdict excess) resets=$(verdict flow_reset)
proc_start beside "$LOGS/beside.log" ip netns exec "$DROPGATE_LAB-client" \
    "$TRANSFER" get --to "$VIP4:$TRANSFER_PORT" --to "[$VIP6]:$TRANSFER_PORT" --bytes 20000000
flood=$(client "$ROOT/tests/lab/ack_flood.py" dgc0 "$VIP4" $TRANSFER_PORT 20000)
sent=$(jq .sent <<<"$flood") dropped=$(($(verdict excess) - before))
expect_at_least "the flood was sent" 10000 "$sent"
# What the lab's link loses on the way is none of the gateway's; what passes is a thousand and 60 a second.
expect_at_least "most of it was dropped" $((sent / 2)) "$dropped"
expect_equal "the flooded connection still answers" true "$(jq '.first and .second' <<<"$flood")"
proc_wait beside || fail "a transfer beside it arrives whole" "$(<"$LOGS/beside.log")"
expect_equal "nobody was reset" "$resets" "$(verdict flow_reset)"
