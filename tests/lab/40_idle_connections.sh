# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# 20,000 connections that finish the handshake and say nothing cost the backend nothing and the gateway no memory.
. "${0%/*}/lib.sh"
needs control dataplane
sale=$(new_sale 1)

resident() { awk '/^VmRSS/ { print $2 }' "/proc/$(proc_pid dataplane)/status"; }
backend_connections() { server ss -Htn state established state syn-recv sport = :8080 | wc -l; }

flows_before=$(telemetry /dropgate/tables | jq .flows) connections_before=$(backend_connections)
resident_before=$(resident)
proc_start idle "$LOGS/idle.log" ip netns exec "$DROPGATE_LAB-client" \
    "$TOOLS/idle" --to "$VIP4:80" --to "[$VIP6]:80" --connections 20000
until_true 90 grep -q established "$LOGS/idle.log" || fail "the connections are established in time"
expect_equal "20,000 handshakes are finished" 20000 "$(head -n 1 "$LOGS/idle.log" | jq .established)"

expect_equal "no flow was made" "$flows_before" "$(telemetry /dropgate/tables | jq .flows)"
expect_equal "no connection reached the backend" "$connections_before" "$(backend_connections)"
expect_at_most "the gateway's memory did not grow (KiB)" 256 $(($(resident) - resident_before))
expect_match "a shopper buys meanwhile" '^201 ' "$(reserve "$VIP4" "$sale" ann key-1)"

kill -TERM "$(proc_pid idle)"
proc_wait idle || fail "the idle clients end well"
expect_equal "the gateway kept quiet: all are still open at the end" 20000 "$(tail -n 1 "$LOGS/idle.log" | jq .open)"
