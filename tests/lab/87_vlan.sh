# SPDX-License-Identifier: BSD-3-Clause
# limit: 120
# The outside in a VLAN, the inside in none: ARP, neighbour discovery and a whole request pass with exactly the tags, one
# on AF_PACKET (whose driver delivers the tag beside the frame) and two on AF_XDP; frames with others are dropped by name.
. "${0%/*}/lib.sh"
cleanup() { proc_stop dataplane; } # the next scenario starts one with its usual configuration
needs control

for round in net_af_packet:7 net_af_xdp:100.7; do
    DRIVER=${round%:*} tags=${round#*:}
    lab_config dropgate.conf "$LAB_DIR/vlan.conf"
    sed -i "s/^device = .*iface=dgo/&\nvlan = $tags/" "$LAB_DIR/vlan.conf"
    start_dataplane "$LAB_DIR/vlan.conf" || fail "a dataplane with vlan = $tags starts"
    client env PYTHONDONTWRITEBYTECODE=1 "$ROOT/tests/lab/vlan.py" "$(telemetry_socket)" dgc0 \
        "$(gateway cat /sys/class/net/dgo/address)" "$tags" || FAILURES=$((FAILURES + 1))
done
