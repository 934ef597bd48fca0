# SPDX-License-Identifier: BSD-3-Clause
# The gateway answers ARP, neighbour discovery and ping for its own addresses, and for no others.
. "${0%/*}/lib.sh"
needs dataplane

client ip neigh flush dev dgc0
for address in 198.18.0.1 "$VIP4" 2001:db8::1 "$VIP6"; do
    expect "$address answers ping" client ping -c 3 -i 0.2 -W 2 -q "$address"
    neighbor=$(client ip neigh show "$address" dev dgc0)
    expect_match "$address is the gateway's link-layer address" "$(gateway cat /sys/class/net/dgo/address)" "$neighbor"
    expect "$address answers a ping of 1,400 bytes" client ping -c 1 -W 2 -s 1400 -q "$address"
done
for address in 198.18.128.1 2001:db8:0:1::1; do
    expect "$address answers ping on the inside" server ping -c 3 -i 0.2 -W 2 -q "$address"
done

answered=$(verdict echo_answered)
for address in 198.18.0.99 2001:db8::99; do
    if client ping -c 1 -W 1 -q "$address" >/dev/null; then
        fail "nobody answers for $address"
    else
        ok "nobody answers for $address"
    fi
done
expect_equal "and the gateway answered none of those" "$answered" "$(verdict echo_answered)"
