# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# PostgreSQL is restarted and crashed under load: requests wait or get 503, no grant is lost, none is doubled.
. "${0%/*}/lib.sh"
needs control dataplane
sale=$(new_sale 400)

proc_start shoppers "$LOGS/shoppers-restart.log" ip netns exec "$DROPGATE_LAB-client" "$TOOLS/shoppers" \
    --to "$VIP4:80" --to "[$VIP6]:80" --sale "$sale" --shoppers 600 --within 12 --replay 20 --cancel 10 \
    --prefix restart- --history "$LAB_DIR/history-$sale.jsonl" --deadline 120
answered() { (($(tail -n 1 "$LOGS/shoppers-restart.log" | jq -r '.answered // 600') >= $1)); }

until_true 60 answered 150
pg_stop "$LAB_DIR/postgres"
pg_start "$LAB_DIR/postgres"
ok "PostgreSQL was restarted"
until_true 60 answered 300
pg_kill9 "$LAB_DIR/postgres"
pg_start "$LAB_DIR/postgres"
ok "PostgreSQL was killed and came back"
settled() { tail -n 1 "$LOGS/shoppers-restart.log" | jq -e '.settled != false'; }
until_true 90 settled
kill -USR1 "$(proc_pid shoppers)" # nothing more falls due
proc_wait shoppers || fail "every shopper got an answer" "$(tail -n 1 "$LOGS/shoppers-restart.log")"

result=$(tail -n 1 "$LOGS/shoppers-restart.log" | jq -c .result)
printf '%s\n' "$result"
expect_equal "nobody was left without an answer" 0 "$(jq .failed <<<"$result")"
expect_equal "no replay read differently" 0 "$(jq .changed_replays <<<"$result")"
expect_equal "everything was sold" 0 "$(sql -c "select avail from dropgate.stock where sale = $sale")"
expect_history "$sale" "$LAB_DIR/history-$sale.jsonl"
expect_invariants "$sale"
