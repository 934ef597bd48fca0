# SPDX-License-Identifier: BSD-3-Clause
# limit: 120
# The same gateway on AF_PACKET instead of AF_XDP: purchases and transfers, over both families.
. "${0%/*}/lib.sh"
cleanup() { proc_stop dataplane; } # the next scenario starts one on its usual driver
proc_stop dataplane
DRIVER=net_af_packet
needs control transfer dataplane
sale=$(new_sale 2)

expect_match "the ports are AF_PACKET" 'driver net_af_packet' "$(cat "$LOGS/dataplane.log")"
for address in "$VIP4" "[$VIP6]"; do
    expect "$address answers echo" client ping -c 1 -W 2 "$(tr -d '[]' <<<"$address")"
    expect_match "a purchase over $address is granted" '^201 .*"id"' "$(reserve "$address" "$sale" "ann-$address" key-1)"
    for way in get put; do
        seen=$(client "$TRANSFER" $way --to "$address:$TRANSFER_PORT" --bytes 20000000 2>&1) || true
        expect_equal "20 MB, $way over $address, arrive bit for bit" true "$(jq -r .equal <<<"$seen" 2>/dev/null || printf '%s' "$seen")"
    done
done
expect_invariants "$sale"
