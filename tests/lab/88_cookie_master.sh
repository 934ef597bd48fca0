# SPDX-License-Identifier: BSD-3-Clause
# limit: 120
# A client that shook hands, and sends its request only after the gateway was restarted or has got another master key, is
# served when the key comes from a file, and reset when it does not.
. "${0%/*}/lib.sh"
cleanup() { proc_stop dataplane; } # the next scenario starts one with its usual configuration
needs control

work=$LAB_DIR/master
rm -rf "$work"; mkdir -p "$work"
key=$work/key
(umask 077 && "$DATAPLANE" --new-master >"$key")
lab_config dropgate.conf "$work/without.conf"
lab_config dropgate.conf "$work/with.conf"
printf '\n[cookie]\nmaster_file = %s\n' "$key" >>"$work/with.conf"

connect() { # connect NAME ADDRESS: shakes hands, and asks when told to
    rm -f "$work/$1".*
    proc_start "late-$1" "$work/$1.answer" ip netns exec "$DROPGATE_LAB-client" \
        "$ROOT/tests/lab/late_request.py" "$2" "$work/$1"
    until_true 5 test -e "$work/$1.connected" || fail "$1 shakes hands"
}
answer() { # answer NAME: lets it ask, and prints what it got
    touch "$work/$1.go"
    until_true 15 test -s "$work/$1.answer" || true
    cat "$work/$1.answer"
}
log_has() { grep -q "$1" "$LOGS/dataplane.log"; }

start_dataplane "$work/with.conf"
connect one "$VIP4"
connect two "$VIP6"
start_dataplane "$work/with.conf"
for name in one two; do
    expect_equal "with a key file, who shook hands before a restart is served ($name)" "200" "$(answer $name)"
done

connect three "$VIP4"
connect four "$VIP6"
(umask 077 && "$DATAPLANE" --new-master >"$key.new" && mv "$key.new" "$key")
kill -HUP "$(proc_pid dataplane)"
expect "SIGHUP takes the new key" until_true 5 log_has 'a new master'
connect five "$VIP4"
chmod 640 "$key"
kill -HUP "$(proc_pid dataplane)"
expect "a key that others could read is refused" until_true 5 log_has 'others than its owner'
connect six "$VIP6"
for name in three four five six; do
    expect_equal "who shook hands before, between or after the changes is served ($name)" "200" "$(answer $name)"
done
expect_match "a gateway does not start with such a key" 'with.conf:[0-9]+: .*make one by: ' \
    "$("$DATAPLANE" -c "$work/with.conf" 2>&1)"

start_dataplane "$work/without.conf"
connect seven "$VIP4"
connect eight "$VIP6"
start_dataplane "$work/without.conf"
for name in seven eight; do
    expect_equal "without one, who shook hands before a restart is reset ($name)" "reset" "$(answer $name)"
done
