# SPDX-License-Identifier: BSD-3-Clause
# limit: 300
# A denylist's file is enforced, and whatever is bad about the next one (cut in half, corrupt, against ourselves, against
# the clients, too wide) leaves the last good one in force, also over a restart.
. "${0%/*}/lib.sh"
cleanup() {
    proc_stop kept-open
    for n in {1..12}; do client ip addr del "198.18.64.$n/32" dev dgc0 2>/dev/null || true; done
    proc_stop dataplane # the next scenario starts one with its usual configuration
}
needs control

work=$LAB_DIR/feeds
rm -rf "$work"
mkdir -p "$work/state"
conf=$work/dropgate.conf list=$work/bad.txt
lab_config dropgate.conf "$conf"
sed -i "s|^.gateway.|&\nstate_dir = $work/state|" "$conf"
printf '\n[feed bad]\nfile = %s\n\n[feed partners]\nfile = %s\nkind = allow\nchange = 0\n' "$list" "$work/partners" >>"$conf"
cp "$conf" "$conf.first"

# put_list LINE…: those lines and forty others become the list, whole and at once.
put_list() {
    { printf '# blocked\n' && printf '%s\n' "$@" && printf '192.0.2.%d/32\n' $(seq 2 2 80); } >"$list.new"
    mv "$list.new" "$list"
}
reload() { # reload EVENT WORDS: SIGHUP, and the log says so
    local before
    before=$(wc -l <"$LOGS/dataplane.log")
    kill -HUP "$(proc_pid dataplane)"
    until_true 10 said "$before" "$1" "$2" ||
        fail "the log says $1: $2" "$(tail -n "+$((before + 1))" "$LOGS/dataplane.log")"
    until_true 10 said "$before" feeds 'lists (of|have not)' || fail "the lists are looked after" "$(tail -n 3 "$LOGS/dataplane.log")"
}
said() { tail -n "+$(($1 + 1))" "$LOGS/dataplane.log" | grep "\"$2\"" | grep -qE -- "$3"; }
served() { client curl -sS -m "${2:-5}" -o /dev/null "http://$1/v1/sales/1"; }
refused() { ! served "$1" 0.5; }
denied() { until_true 10 refused "$1"; } # the builder swaps a moment after it has told
state() { telemetry /dropgate/feeds,bad | jq -r ".$1"; }

cut_are() { (($(verdict denied_cut) - cut == $1)); } # connections, since `cut`

put_list 203.0.113.0/24
start_dataplane "$conf"
expect "who is in no list is served" served "$VIP4"
expect_equal "the list is in force" "in_force 41" "$(state '| "\(.state) \(.entries)"')"

expect_equal "all lists are told of" "bad partners" "$(telemetry /dropgate/feeds | jq -r 'map(.name) | join(" ")')"
put_list 198.18.0.2 2001:db8::2
reload feed 'feed bad .*42 entries'
expect "an address of the list is dropped" denied "$VIP4"
expect "and one of IPv6" denied "[$VIP6]"
expect_at_least "and counted for that list" 2 "$(state hits)"

still_denied() { # still_denied SENTENCE STATE: the file was not taken, the old one drops
    expect_equal "$1: $2, and why" "$2 true" "$(state '| "\(.state) \(.why != "")"')"
    expect "$1: the list before is enforced" denied "$VIP4"
}
grep -v 2001:db8 "$list" | head -n 12 >"$list.new" && mv "$list.new" "$list"
reload feed_held_back 'accept = [0-9a-f]{64} in .feed bad.'
still_denied "a file cut in half" held_back
put_list "<html>" "<title>502 Bad Gateway</title>" "</html>"
reload feed_refused "$list:2: .*<html>"
still_denied "a file that is none" refused
head -c 3000 /dev/urandom >"$list.new" && mv "$list.new" "$list"
reload feed_refused "cannot be read"
still_denied "a corrupt file" refused
put_list $(seq -f '%g.0.0.0/8' 20 36)
reload feed_held_back 'covers .* of IPv4'
still_denied "a file that covers much of IPv4" held_back
rm "$list"
reload feed_missing 'No such file'
still_denied "a file that is gone" missing

sources=()
for n in {1..12}; do
    client ip addr add "198.18.64.$n/32" dev dgc0
    sources+=("198.18.64.$n")
done
proc_start kept-open "$LOGS/kept-open.log" ip netns exec "$DROPGATE_LAB-client" "$ROOT/tests/lab/kept_open.py" "$VIP4" "${sources[@]}"
cut=$(verdict denied_cut)
expect "twelve clients have connections open" until_true 30 grep -q open "$LOGS/kept-open.log"
put_list 198.18.64.0/29 198.18.0.2 2001:db8::2
rc=0
report=$("$DATAPLANE" -c "$conf" --check-feed "$list") || rc=$?
expect_match "a check, which does not know them, would take the file" '^0 .*.feed bad. .deny, enforce. would take it' "$rc $report"
reload feed_held_back 'would deny [78] of 1[23] clients'
still_denied "a file that denies the clients" held_back
expect "no connection was cut" cut_are 0
sed -i "s|^file = $list|&\naccept = $(state sha256)|" "$conf"
reload feed_accepted 'would deny [78] of 1[23] clients'
expect "once its SHA-256 is accepted it is enforced" until_true 10 cut_are 7
put_list 0.0.0.0/0 ::/0 "$VIP4" "$VIP6" 198.18.128.0/24 10.0.0.0/8
reload feed_remarks 'left out, shorter.*left out, would block the gateway.*left out, private'
expect "what would block ourselves is left out, and the rest loads" until_true 10 served "$VIP4"
expect_equal "and counted" "6 40" "$(state '| "\(.left_out) \(.entries)"')"

rm "$list"
start_dataplane "$conf"
expect_equal "after a restart without its file, its last good copy is in force" "missing 40" \
    "$(state '| "\(.state) \(.entries)"')"
printf 'x' >>"$work/state/bad.feed"
start_dataplane "$conf"
expect_equal "a copy whose checksum is wrong is not believed" "missing 0" "$(state '| "\(.state) \(.entries)"')"
expect "and the gateway serves, and says so" grep -q 'its checksum is wrong' "$LOGS/dataplane.log"
