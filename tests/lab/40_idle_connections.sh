# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# 20,000 connections that finish the handshake and say nothing cost the backend nothing and the gateway no memory.
. "${0%/*}/lib.sh"
needs control dataplane
sale=$(new_sale 2)
# Tables are resident from the start, but not under sanitizers, which lock no memory: then a first client touches them.
expect_match "a shopper buys before" '^201 ' "$(reserve "$VIP4" "$sale" ann key-0)"

resident() { awk '/^VmRSS/ { print $2 }' "/proc/$(proc_pid dataplane)/status"; }
# Those of the gateway's own addresses are its probes.
backend_connections() {
    server ss -Htn state established state syn-recv sport = :8080 and not dst 198.18.128.1 and not dst [2001:db8:0:1::1] | wc -l
}

flows_before=$(telemetry /dropgate/tables | jq .flows) connections_before=$(backend_connections)
resident_before=$(resident)
# Two processes: one may have fewer than 20,000 descriptors.
for part in 1 2; do
    proc_start idle-$part "$LOGS/idle-$part.log" ip netns exec "$DROPGATE_LAB-client" "$TOOLS/idle" \
        --to "$VIP4:80" --to "[$VIP6]:80" --connections 10000 --first $((part * 10000))
done
for part in 1 2; do
    until_true 60 grep -q established "$LOGS/idle-$part.log" || fail "the connections are established in time"
    expect_equal "10,000 handshakes are finished" 10000 "$(head -n 1 "$LOGS/idle-$part.log" | jq .established)"
done

expect_at_most "no flow was made" "$flows_before" "$(telemetry /dropgate/tables | jq .flows)"
expect_at_most "no connection reached the backend" "$connections_before" "$(backend_connections)"
expect_at_most "the gateway's memory did not grow (KiB)" 256 $(($(resident) - resident_before))
expect_match "a shopper buys meanwhile" '^201 ' "$(reserve "$VIP4" "$sale" bob key-1)"

for part in 1 2; do
    kill -TERM "$(proc_pid idle-$part)"
    proc_wait idle-$part || fail "the idle clients end well"
    expect_equal "all are still open at the end" 10000 "$(tail -n 1 "$LOGS/idle-$part.log" | jq .open)"
done
