# SPDX-License-Identifier: BSD-3-Clause
# limit: 120
# The outside in a VLAN, the inside in none: ARP, neighbour discovery and a whole request pass with exactly the tags, one
# on AF_PACKET (whose driver delivers the tag beside the frame), two on AF_XDP and through two workers; frames with others
# are dropped by name.
. "${0%/*}/lib.sh"
cleanup() { proc_stop dataplane; } # the next scenario starts one with its usual configuration
needs control

for round in "net_af_packet 7 1 0,1" "net_af_xdp 100.7 2 0,0,1"; do
    read -r DRIVER tags workers cores <<<"$round"
    lab_config dropgate.conf "$LAB_DIR/vlan.conf"
    sed -i -e "s/^device = .*iface=dgo/&\nvlan = $tags/" -e "s/^cores = .*/workers = $workers\ncores = $cores/" \
        "$LAB_DIR/vlan.conf"
    start_dataplane "$LAB_DIR/vlan.conf" || fail "a dataplane with vlan = $tags starts"
    client env PYTHONDONTWRITEBYTECODE=1 "$ROOT/tests/lab/vlan.py" "$(telemetry_socket)" dgc0 \
        "$(gateway cat /sys/class/net/dgo/address)" "$tags" || FAILURES=$((FAILURES + 1))
done
