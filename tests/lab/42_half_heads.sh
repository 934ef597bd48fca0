# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# 5,000 clients that send half a request head, a byte per segment: no backend hears of them, no packet buffer is kept, who
# sends whole requests is served beside them, and after the head's time nothing is left. So too when they are more than fit.
. "${0%/*}/lib.sh"
needs control transfer dataplane
sale=$(new_sale 10 10)

table() { telemetry /dropgate/tables | jq ".$1"; }
buffers() { telemetry /dropgate/worker | jq .buffers_free; }
# Those of the gateway's own addresses are its probes.
backend_connections() { server ss -Htan sport = :8080 and not dst 198.18.128.1 and not dst [2001:db8:0:1::1] | wc -l; }
nothing_held() { [[ $(table held) == 0 && $(table held_large) == 0 ]]; }

half() { # half FIRST: begins the 5,000 from that number on
    proc_start half "$LOGS/half.log" ip netns exec "$DROPGATE_LAB-client" "$TOOLS/half" \
        --to "$VIP4:80" --to "[$VIP6]:80" --connections 5000 --first "$1" --bytes 8
    until_true 60 grep -q established "$LOGS/half.log" || fail "half the heads are sent in time"
    expect_equal "5,000 handshakes are finished" 5000 "$(head -n 1 "$LOGS/half.log" | jq .established)"
}

half_ends() {
    until_true 15 nothing_held || fail "after the head's time nothing is held" "$(telemetry /dropgate/tables)"
    kill -TERM "$(proc_pid half)"
    proc_wait half || fail "the clients end well"
    expect_equal "every one of them was reset" 5000 "$(tail -n 1 "$LOGS/half.log" | jq .reset)"
}

in_three_pieces() { # in_three_pieces ADDRESS: a real client whose head comes in pieces; prints the status
    client bash -c "exec 3<>/dev/tcp/$1/80; printf 'GET /v1/sales/$sale HT' >&3; sleep 0.2; printf 'TP/1.1\r\nHost: sh' >&3
        sleep 0.2; printf 'op\r\nConnection: close\r\n\r\n' >&3; head -n 1 <&3"
}

for address in "$VIP4" "$VIP6"; do
    expect_match "a head in three pieces gets its answer ($address)" '^HTTP/1.1 200 ' "$(in_three_pieces "$address")"
done

until_true 10 nothing_held
buffers_before=$(buffers) connections_before=$(backend_connections) opened_before=$(verdict opened)
half 0
expect_equal "each has its place" 5000 "$(table held)"
expect_equal "no backend was asked" "$opened_before" "$(verdict opened)"
expect_at_most "no connection reached a backend" "$connections_before" "$(backend_connections)"
expect_at_least "no packet buffer is kept" $((buffers_before - 64)) "$(buffers)"
expect_match "a shopper buys meanwhile" '^201 ' "$(reserve "$VIP4" "$sale" ann key-1)"
expect_match "and one by IPv6, in three pieces" '^HTTP/1.1 200 ' "$(in_three_pieces "$VIP6")"
half_ends

# A slab for 1,000: the oldest unfinished heads go, and never a whole one.
lab_config dropgate.conf "$LAB_DIR/half.conf"
printf '\n[tables]\nheld = 1000\n' >>"$LAB_DIR/half.conf"
start_dataplane "$LAB_DIR/half.conf" || fail "the gateway starts with a small slab"
half 5000
expect_at_most "no more are held than there is room for" 1000 "$(table held)"
have_gone() { (($(verdict held_evicted) >= 4000)); }
until_true 5 have_gone || true # a byte that the link has lost comes again a moment later
expect_at_least "the oldest have gone for the others" 4000 "$(verdict held_evicted)"
expect_match "a shopper buys meanwhile" '^201 ' "$(reserve "$VIP4" "$sale" bob key-2)"
half_ends
proc_stop dataplane # the next scenario has its own
