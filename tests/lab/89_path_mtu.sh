# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# A link of MTU 1400 behind a router, once on the way to the client and once on the way to the backend: the router's
# too-big reaches whoever sends the packets, which lowers its segment size, and what is transferred arrives whole.
. "${0%/*}/lib.sh"
cleanup() {
    proc_stop dataplane # the next scenario starts one with its usual configuration
    proc_stop far-transfer
    server ip rule del from 198.18.128.2 lookup 100
    "$ROOT/scripts/lab" far out
}
far() { ip netns exec "$DROPGATE_LAB-far" "$@"; }
needs transfer
"$ROOT/scripts/lab" far in
# Linux looks up the route of an IPv4 path MTU without ports, so a rule that names them would not be found.
server ip rule add from 198.18.128.2 lookup 100

# A second service, whose backends are the far host behind the server.
lab_config dropgate.conf "$LAB_DIR/far.conf"
sed -i 's/^addresses = 198.18.128.1.*/&\nrouters = 198.18.128.2, 2001:db8:0:1::2/' "$LAB_DIR/far.conf"
cat >>"$LAB_DIR/far.conf" <<CONF

[backend far4]
address = 198.18.202.2:8081
probe = connect

[backend far6]
address = [2001:db8:4::2]:8081
probe = connect

[service far]
listen = 198.18.0.80:82, [2001:db8::80]:82
backends = far4, far6
CONF
proc_start far-transfer "$(service_log far-transfer)" ip netns exec "$DROPGATE_LAB-far" \
    "$TRANSFER" serve --to 198.18.202.2:8081 --to '[2001:db8:4::2]:8081'
start_dataplane "$LAB_DIR/far.conf" || fail "the dataplane starts"
until_true 10 backends_learned far4 far6 transfer4 transfer6 || fail "every backend is known"

learned() { # learned NAMESPACE ROUTE-GET…: the path MTU that its kernel has learned
    "$1" ip -o route get "${@:2}" | sed -n 's/.* mtu \([0-9]*\).*/\1/p'
}
digest() { sha256sum | cut -d' ' -f1; }

bytes=20000000
for family in 4 6; do
    if [[ $family == 4 ]]; then vip=$VIP4 from=198.18.201.2 backend=198.18.128.2 shopper=198.18.64.1; else
        vip=[$VIP6] from=2001:db8:3::2 backend=2001:db8:0:1::2 shopper=2001:db8:1000::1
    fi
    before=$(verdict too_big)
    wanted=$(client curl -sS -m 30 "http://$vip:$TRANSFER_PORT/$bytes" | digest)
    expect_equal "IPv$family: nobody has complained yet" 0 "$(($(verdict too_big) - before))"
    expect_equal "IPv$family: $bytes bytes reach a client behind a smaller link" "$wanted" \
        "$(far curl -sS -m 30 "http://$vip:$TRANSFER_PORT/$bytes" | digest)"
    expect_at_least "IPv$family: the router's complaint was passed on to the backend" 1 "$(($(verdict too_big) - before))"
    expect_equal "IPv$family: the backend sends less at a time" 1400 \
        "$(learned server "$from" from "$backend" ipproto tcp sport 8081)"

    before=$(verdict too_big_ours)
    expect_equal "IPv$family: a head that was acknowledged piece by piece reaches it too" 1000 \
        "$(client "$ROOT/tests/lab/slow_head.py" "$shopper" "$(tr -d '[]' <<<"$vip")" 82 1000 2>&1)"
    expect_at_least "IPv$family: what the gateway had acknowledged it cut smaller itself" 1 \
        "$(($(verdict too_big_ours) - before))"

    before=$(verdict too_big)
    seen=$(client "$TRANSFER" put --to "$vip:82" --bytes "$bytes" 2>&1) || true
    expect_equal "IPv$family: $bytes bytes reach a backend behind a smaller link" true \
        "$(jq -r .equal <<<"$seen" 2>/dev/null || printf '%s' "$seen")"
    expect_at_least "IPv$family: the router's complaint was passed on to the client" 1 "$(($(verdict too_big) - before))"
    expect_equal "IPv$family: the client sends less at a time" 1400 "$(learned client "$(tr -d '[]' <<<"$vip")")"
done
for name in too_big_stale too_big_no_flow too_big_mtu icmp_quote; do
    printf '%s: %s\n' $name "$(verdict $name)"
done
