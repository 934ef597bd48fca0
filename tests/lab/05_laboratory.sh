# SPDX-License-Identifier: BSD-3-Clause
# The laboratory itself: no route leads out of it, and `lab up` mends a half-made one.
. "${0%/*}/lib.sh"

for ns in client gateway server; do
    name=$DROPGATE_LAB-$ns
    devices=$(ip -n "$name" -br link show | sed 's/@.*//; s/ .*//' | sort | paste -sd ' ')
    case $ns in
    client) wanted="dgc0 lo" ;;
    gateway) wanted="dgi dgo lo" ;;
    server) wanted="dgs0 lo" ;;
    esac
    expect_equal "$ns has its own cables and nothing else" "$wanted" "$devices"
    for outside in 192.0.2.1 2001:4860::1; do
        if ip -n "$name" route get "$outside" >/dev/null 2>&1; then
            fail "$ns has no route to $outside"
        else
            ok "$ns has no route to $outside"
        fi
    done
done
# Answers of the service's port go to the gateway, which forwards to no third port.
expect_match "the server's only other route leads to the gateway" "^default via 198.18.128.1 dev dgs0" \
    "$(ip -n "$DROPGATE_LAB-server" route show table 100)"

unset DROPGATE_OWNER
export DROPGATE_LAB=mended # another one, since this one is in use
lab() { "$ROOT/scripts/lab" "$@"; }
cleanup() { lab down && rm -rf /run/dropgate/mended "$ROOT/build/lab-mended"; }
reaches() {
    [[ $(ip -n mended-client -br address show dev dgc0) == *198.18.0.2/17*2001:db8::2/64* ]] &&
        [[ $(ip -n mended-server rule list) == *"from 198.18.128.2 ipproto tcp sport 8080-8099 lookup 100"* ]] &&
        [[ $(ip -n mended-server -br link show dev dgs0) == *LOWER_UP* && $(ip -n mended-client -br link show dev dgc0) == *LOWER_UP* ]]
}
expect "a laboratory is made" lab up
expect "it is whole" reaches
expect "making it again changes nothing" lab up
ip -n mended-gateway link del dgi
expect "it is mended after a cable was lost" lab up
expect "and whole again" reaches
ip -n mended-client address flush dev dgc0
ip -n mended-server rule del from 198.18.128.2 ipproto tcp sport 8080-8099 lookup 100
expect "after addresses and rules were lost" lab up
expect "and whole again" reaches
ip netns del mended-server
expect "after a namespace was lost" lab up
expect "and whole again" reaches
expect "the relay goes in between" lab relay in
expect "once" lab relay in
expect_match "and has a cable to each side" "dgr0.*dgr1|dgr1.*dgr0" "$(ip -n mended-relay -br link show | tr '\n' ' ')"
expect "all is whole meanwhile" reaches
expect "it goes out again" lab relay out
expect "and all is whole" reaches
expect_equal "without the second way" "" "$(ip -n mended-client -o link show dev dgc1 2>/dev/null)"
expect "it is removed" lab down
expect_equal "with nothing left" "" "$(ip netns list | grep mended || true)"
