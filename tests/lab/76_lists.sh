# SPDX-License-Identifier: BSD-3-Clause
# Who is allowed inside what is denied is served; taken off the allow list, he is denied from the next reload on, and his
# connections are cut, though they say nothing. An observed list only counts.
. "${0%/*}/lib.sh"
cleanup() {
    proc_stop quiet
    proc_stop dataplane
}
needs control

work=$LAB_DIR/lists
rm -rf "$work"
mkdir -p "$work"
conf=$work/dropgate.conf
lab_config dropgate.conf "$conf"
for feed in 'blocked deny' 'partners allow' 'watched deny'; do
    printf '\n[feed %s]\nfile = %s\nkind = %s\nchange = 0\n' "${feed% *}" "$work/${feed% *}" "${feed#* }" >>"$conf"
done
sed -i '$a mode = observe' "$conf"
printf '%s\n' 198.18.0.2/31 2001:db8::2/127 203.0.113.0/24 >"$work/blocked"
printf '%s\n' 198.18.0.2 2001:db8::2 203.0.113.7 >"$work/partners"
printf '%s\n' 198.18.0.0/30 2001:db8::2/127 >"$work/watched"

served() { client curl -sS -m "${2:-5}" -o /dev/null "http://$1/healthz"; }
refused() { ! served "$1" 1; }
hits() { telemetry "/dropgate/feeds,$1" | jq -r .hits; }
hit_more() { (($(hits "$1") >= $2)); }
backend_has() { [[ $(server ss -Htn state established '( sport = :8080 )' "( dst 198.18.0.2 or dst [2001:db8::2] )" | wc -l) == "$1" ]]; }
reload() { # reload: SIGHUP, and the lists of all feeds are built anew
    local built
    built=$(grep -c '"feeds".*lists of' "$LOGS/dataplane.log")
    kill -HUP "$(proc_pid dataplane)"
    until_true 10 rebuilt "$built" || fail "the lists are built" "$(tail -n 3 "$LOGS/dataplane.log")"
}
rebuilt() { (($(grep -c '"feeds".*lists of' "$LOGS/dataplane.log") > $1)); }

start_dataplane "$conf"
expect "allowed inside denied is served" served "$VIP4"
expect "and over IPv6" served "[$VIP6]"
expect_equal "nobody was denied" 0 "$(verdict denied)"
expect_at_least "the allow list has seen them" 4 "$(hits partners)"

proc_start quiet "$work/quiet.log" ip netns exec "$DROPGATE_LAB-client" \
    "$ROOT/tests/lab/quiet_client.py" "$work/quiet" "$VIP4" "$VIP6"
expect "two connections are open, and quiet" until_true 10 test -e "$work/quiet.quiet"
expect "at the backend too" until_true 5 backend_has 2
seen=$(hits partners)
echo 192.0.2.1 >>"$work/blocked"
reload
expect "when the lists change, they are looked up again" until_true 10 hit_more partners $((seen + 2))
expect "and stay, as long as they are allowed" backend_has 2

printf '%s\n' 203.0.113.7 >"$work/partners"
reload
expect "both end" until_true 10 grep -q . "$work/quiet.log"
expect_equal "by a reset" "reset reset" "$(<"$work/quiet.log")"
expect "and so at the backend" until_true 5 backend_has 0
expect_equal "counted as cut" 2 "$(verdict denied_cut)"
expect "no new one is served" refused "$VIP4"
expect "nor over IPv6" refused "[$VIP6]"
expect_at_least "they are dropped" 2 "$(verdict denied)"
expect_at_least "and counted for the list" 4 "$(hits blocked)"


printf '203.0.113.0/24\n' >"$work/blocked"
reload
expect "off the deny list he is served again" until_true 10 served "$VIP4" 1
seen=$(verdict denied_observed)
expect "and over IPv6" served "[$VIP6]"
expect_at_least "an observed list counts, and drops nobody" $((seen + 2)) "$(verdict denied_observed)"
