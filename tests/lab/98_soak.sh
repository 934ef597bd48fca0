# SPDX-License-Identifier: BSD-3-Clause
# long: yes
# limit: 1800
# Sale after sale for a quarter of an hour, under a flood, with PostgreSQL restarted and killed in between: every sale
# adds up, and neither program grows.
. "${0%/*}/lib.sh"
needs control dataplane

rounds=${SOAK_ROUNDS:-24}
resident() { awk '/^VmRSS/ { print $2 }' "/proc/$(proc_pid "$1")/status"; }
settled() { tail -n 1 "$LOGS/shoppers-soak.log" | jq -e '.settled != false'; }

start_flood --rate 20000
for ((round = 1; round <= rounds; round++)); do
    sale=$(new_sale 300)
    proc_start shoppers "$LOGS/shoppers-soak.log" ip netns exec "$DROPGATE_LAB-client" "$TOOLS/shoppers" \
        --to "$VIP4:80" --to "[$VIP6]:80" --sale "$sale" --shoppers 900 --within 20 --cancel 15 --replay 10 \
        --prefix "soak-$round-" --history "$LAB_DIR/history-soak.jsonl" --deadline 120
    until_true 30 grep -q '"granted":[1-9][0-9]' "$LOGS/shoppers-soak.log"
    case $((round % 4)) in
    2)
        pg_stop "$LAB_DIR/postgres"
        pg_start "$LAB_DIR/postgres"
        ;;
    0)
        pg_kill9 "$LAB_DIR/postgres"
        pg_start "$LAB_DIR/postgres"
        ;;
    esac
    until_true 100 settled
    kill -USR1 "$(proc_pid shoppers)"
    proc_wait shoppers || fail "round $round: every shopper is answered" "$(tail -n 1 "$LOGS/shoppers-soak.log")"
    expect_history "$sale" "$LAB_DIR/history-soak.jsonl"
    expect_invariants "$sale"
    # The first rounds fill caches and pools; from then on nothing may be added for good.
    if ((round == 4)); then gateway_before=$(resident dataplane) control_before=$(resident control); fi
done
stop_flood
expect_equal "nothing of the flood reached the backend" 0 "$FLOOD_REACHED"
expect_at_most "the gateway did not grow (KiB)" 4096 $(($(resident dataplane) - gateway_before))
expect_at_most "the purchase service did not grow (KiB)" 8192 $(($(resident control) - control_before))
emptied() { telemetry /dropgate/tables | jq -e '.flows < 16 and .held == 0'; }
until_true 60 emptied ||
    fail "flows and held requests go when they are done" "$(telemetry /dropgate/tables)"
