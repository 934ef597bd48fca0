# SPDX-License-Identifier: BSD-3-Clause
# limit: 150
# SYNs flood in from one source, from one network, and from everywhere: shoppers buy, also those who live in the network
# that is pretended to be the attacker. The client's kernel owns the addresses of the first two floods: it answers the
# SYN-ACKs that it did not ask for with RSTs, as victims do.
. "${0%/*}/lib.sh"
needs control
end_left_over

cleanup() { proc_stop dataplane; } # the next scenario gets the limits that it expects

# So low that the laboratory's floods are far over them; a shopper is far below.
lab_config dropgate.conf "$LAB_DIR/sources.conf"
printf '\n[guard]\nsource_rate = 2000\nreflection_rate = 500\n' >>"$LAB_DIR/sources.conf"
start_dataplane "$LAB_DIR/sources.conf" || fail "the gateway starts with low limits"

empty() { telemetry /dropgate/tables | jq -e '.flows == 0 and .held == 0 and .held_large == 0'; }

# flooded NAME [FLOOD-OPTION…]: 200 shoppers of both families buy meanwhile, from 198.18.64.0/24 and 2001:db8:1000::/48.
# BEFORE and AFTER are the verdicts around it, SENT the frames of the flood.
flooded() {
    local name=$1 sale result
    shift
    sale=$(new_sale 200)
    BEFORE=$(telemetry /dropgate/verdicts)
    start_flood --rate 60000 "$@"
    client "$TOOLS/shoppers" --to "$VIP4:80" --to "[$VIP6]:80" --sale "$sale" --shoppers 200 --within 4 --timeout 30 \
        --prefix "$name-" --history "$LAB_DIR/history-$sale.jsonl" --deadline 40 >"$LOGS/shoppers-$name.log" ||
        fail "$name: every shopper is served" "$(tail -n 1 "$LOGS/shoppers-$name.log")"
    stop_flood
    AFTER=$(telemetry /dropgate/verdicts)
    result=$(tail -n 1 "$LOGS/shoppers-$name.log" | jq -c .result)
    printf '%s\n' "$result"
    expect_equal "$name: all 200 are granted their unit" 200 "$(jq .granted <<<"$result")"
    FAILED=$(jq .connection_failures <<<"$result")
    expect_at_least "$name: the flood was real" 50000 "$FLOOD_SENT"
    expect_equal "$name: the backend was asked by shoppers only" "$(jq .requests <<<"$result")" "$(more opened)"
    expect "$name: nothing is left of it" until_true 15 empty
    expect_history "$sale" "$LAB_DIR/history-$sale.jsonl"
    expect_invariants "$sale"
}

more() { jq -n --argjson before "$BEFORE" --argjson after "$AFTER" "\$after.$1 - \$before.$1"; }

# First, for who has been here before is known, and answered at once.
flooded one-network --from 198.18.64.0/24 --from 2001:db8:1000::/48
expect_at_least "what is over a network's rate is dropped" $((FLOOD_SENT / 2)) "$(more reflection_rate)"
expect_equal "one-network: no connection failed" 0 "$FAILED"
expect_at_least "its shoppers are answered at their second try" 100 "$(more syn_remembered)"
expect_equal "no source in it was over its rate" 0 "$(more source_rate)"

flooded one-source --from 198.18.127.9/32 --from 2001:db8:1fff:9::/64
expect_at_least "what is over a source's rate is dropped" $((FLOOD_SENT / 2)) "$(more source_rate)"
expect_equal "one-source: no connection failed" 0 "$FAILED"
expect_equal "no shopper needed a second try" 0 "$(more syn_remembered)"

flooded everywhere
expect_equal "everywhere: no connection failed" 0 "$FAILED"
expect_at_least "a flood from everywhere is answered" $((FLOOD_SENT / 2)) "$(more syn_cookie)"
expect_equal "nothing of it reached the backend" 0 "$FLOOD_REACHED"
expect_equal "no source was over its rate" 0 "$(more source_rate)"
