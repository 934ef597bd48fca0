# SPDX-License-Identifier: BSD-3-Clause
# The first data segments of POST requests are sent again, ten times a second, for 140 s: longer than the cookie in them is
# valid. It goes on beside the scenarios that follow, which leave the dataplane as it is; what came of it is looked at in
# 68_replay_ends. (REPLAY_SECONDS makes it quicker by hand.)
. "${0%/*}/lib.sh"
needs transfer dataplane

verdict tombstone_ack >"$LAB_DIR/replay-tombstone_ack"
proc_start replay "$LOGS/replay.log" ip netns exec "$DROPGATE_LAB-client" env PYTHONDONTWRITEBYTECODE=1 \
    "$ROOT/tests/lab/replay.py" dgc0 "$(gateway cat /sys/class/net/dgo/address)" "$VIP4:$TRANSFER_PORT" \
    "[$VIP6]:$TRANSFER_PORT" "${REPLAY_SECONDS:-140}"
until_true 40 grep -q replaying "$LOGS/replay.log" || fail "four requests are made and replayed" "$(<"$LOGS/replay.log")"
