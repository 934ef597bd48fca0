# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# Slow heads, slow bodies and slow readers, 1,000 of each by slowhttptest, and drips that never end: each is reset for its
# reason, no unfinished head reaches a backend, and who behaves is served beside them without a failure.
. "${0%/*}/lib.sh"
needs control transfer
sale=$(new_sale 10 10)
lab_config dropgate.conf "$LAB_DIR/slow.conf"
cat >>"$LAB_DIR/slow.conf" <<'CONF'

[tables]
held_per_client = 4096

[tcp]
head_timeout = 2s

[slow]
window = 3s

CONF
start_dataplane "$LAB_DIR/slow.conf" || fail "the gateway starts with little patience"
until_true 20 dataplane_ready

backend_connections() { server ss -Htan state established sport = :8080 | wc -l; }
reasons() { telemetry /dropgate/verdicts | jq -c '[.head_timeout, .slow_head, .slow_body, .slow_drain]'; }
slow() { # slow NAME OPTION…: slowhttptest, 1,000 connections within 2 s
    proc_start "slow-$1" "$LOGS/slow-$1.log" ip netns exec "$DROPGATE_LAB-client" \
        slowhttptest -c 1000 -r 500 -l 60 -i 9 -p 20 -v 1 "${@:2}"
}
evicted() { # evicted: all of them, each for its reason
    telemetry /dropgate/verdicts | jq -e '.head_timeout >= 1000 and .slow_body >= 1000 and .slow_drain >= 1000'
}

# Again and again, with a pause: without one it would take most of both processors.
echo 'function delay() return 5 end' >"$LAB_DIR/pause.lua"
proc_start shopper "$LOGS/shopper.log" ip netns exec "$DROPGATE_LAB-client" \
    wrk -t 1 -c 2 -d 60 --timeout 10 -s "$LAB_DIR/pause.lua" "http://$VIP4/v1/sales/$sale"
slow head -H -u "http://$VIP4/v1/sales/$sale"
slow body -B -s 100000 -x 4 -u "http://$VIP4:$TRANSFER_PORT/sink"
slow read -X -w 512 -y 1024 -n 9 -z 5 -u "http://$VIP4:$TRANSFER_PORT/1000000"
until_true 40 evicted || fail "all 3,000 are reset in time"
printf 'head_timeout, slow_head, slow_body, slow_drain: %s\n' "$(reasons)"
expect_at_most "none of the 1,000 heads made a connection to the shop" 10 "$(backend_connections)"
for mode in head body read; do proc_stop "slow-$mode"; done
expect_match "a shopper buys by IPv6 meanwhile" '^201 ' "$(reserve "[$VIP6]" "$sale" ann key-1)"

before=$(reasons)
proc_start drip6 "$LOGS/drip6.log" ip netns exec "$DROPGATE_LAB-client" \
    "$ROOT/tests/lab/drip.py" "$VIP6" $TRANSFER_PORT 0.9 10
drips=$(client "$ROOT/tests/lab/drip.py" "$VIP4" $TRANSFER_PORT 0.9 10 2>/dev/null)
proc_wait drip6 || fail "the drips by IPv6 end well"
expect_equal "every drip is reset (IPv4)" '[10,10,10,10]' "$(jq -c '[.[].reset]' <<<"$drips")"
expect_equal "every drip is reset (IPv6)" '[10,10,10,10]' "$(tail -n 1 "$LOGS/drip6.log" | jq -c '[.[].reset]')"
expect_equal "each for its reason" '[20,20,20,20]' \
    "$(jq -nc --argjson a "$before" --argjson b "$(reasons)" '[range(4) | $b[.] - $a[.]]')"
printf 'after at most: %s\n' "$(jq -c 'map_values(.longest)' <<<"$drips")"

kill -INT "$(proc_pid shopper)"
proc_wait shopper || fail "wrk ends well"
expect_equal "who behaves had no failure" 0 "$(grep -c 'Socket errors\|Non-2xx' "$LOGS/shopper.log")"
expect_at_least "and was served" 100 "$(awk '/requests in/ { print $1 }' "$LOGS/shopper.log")"
proc_stop dataplane # the next scenario has its own
