# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# One packet of every kind: each gets the verdict that the table promises, and no other counter moves.
. "${0%/*}/lib.sh"
needs dataplane

from() { # from NAMESPACE DEVICE PORT SIDE
    "$1" env PYTHONDONTWRITEBYTECODE=1 "$ROOT/tests/lab/packets.py" "$(telemetry_socket)" "$2" \
        "$(gateway cat "/sys/class/net/$3/address")" "$4" || FAILURES=$((FAILURES + 1))
}
from client dgc0 dgo outside
from server dgs0 dgi inside
