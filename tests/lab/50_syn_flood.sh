# SPDX-License-Identifier: BSD-3-Clause
# limit: 120
# Shoppers buy while spoofed SYNs flood in as fast as the lab can send: nobody notices, nothing reaches the backend.
. "${0%/*}/lib.sh"
needs control dataplane
end_left_over
sale=$(new_sale 300)

cookies=$(verdict syn_cookie)
start_flood
client "$TOOLS/shoppers" --to "$VIP4:80" --to "[$VIP6]:80" --sale "$sale" --shoppers 300 --within 5 --replay 10 \
    --timeout 30 --prefix flood- --history "$LAB_DIR/history-$sale.jsonl" --deadline 60 >"$LOGS/shoppers-flood.log" ||
    fail "every shopper is served" "$(tail -n 1 "$LOGS/shoppers-flood.log")"
stop_flood

result=$(tail -n 1 "$LOGS/shoppers-flood.log" | jq -c .result)
printf '%s\n' "$result"
expect_equal "all 300 are granted their unit" 300 "$(jq .granted <<<"$result")"
expect_equal "no connection failed" 0 "$(jq .connection_failures <<<"$result")"
expect_at_least "the flood was real" 20000 "$FLOOD_SENT"
expect_at_least "and the gateway saw it" $((FLOOD_SENT / 2)) $(($(verdict syn_cookie) - cookies))
expect_equal "nothing of it reached the backend" 0 "$FLOOD_REACHED"
expect_history "$sale" "$LAB_DIR/history-$sale.jsonl"
expect_invariants "$sale"
