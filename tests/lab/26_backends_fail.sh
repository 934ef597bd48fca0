# SPDX-License-Identifier: BSD-3-Clause
# A service of three backends under load, with new connections and kept ones: one is killed, one is stopped, one is cut off. No
# request fails that none of them had; clients are led elsewhere in time, and back. One drains; all are down.
# limit: 180
. "${0%/*}/lib.sh"

# A dead backend is known after interval + failures x timeout = 2.5 s; clients' openings may tell sooner.
conf=$LAB_DIR/backends-fail.conf known_ms=2500
lab_config dropgate.conf "$conf"
sed -i -e 's/^interval = 500ms/interval = 500ms\ntimeout = 1s\nfailures = 2/' -e '/^\[service shop\]/,$d' "$conf"
printf '[tcp]\nsyn_timeout = 300ms\n' >>"$conf"
names=''
for n in 2 3 4; do
    printf '[backend a%d]\naddress = 198.18.128.2:808%d\n[backend b%d]\naddress = [2001:db8:0:1::2]:808%d\n' \
        $n $n $n $n >>"$conf"
    names+="${names:+, }a$n, b$n"
done
printf '[service shop]\nlisten = %s:80, [%s]:80\nbackends = %s\n' $VIP4 $VIP6 "$names" >>"$conf"

serve() { # serve N
    proc_start "named-$1" "$LOGS/named-$1.log" ip netns exec "$DROPGATE_LAB-server" \
        "$ROOT/tests/lab/named_server.py" "$1" "808$1" "$LOGS/named-$1.seen" 198.18.128.2 2001:db8:0:1::2
    until_true 10 server bash -c ": </dev/tcp/198.18.128.2/808$1"
}

# cut_off add|del N: nothing that it sends arrives any more.
cut_off() {
    server ip -4 rule "$1" pref 90 from 198.18.128.2 ipproto tcp sport "808$2" blackhole
    server ip -6 rule "$1" pref 90 from 2001:db8:0:1::2 ipproto tcp sport "808$2" blackhole
}

cleanup() {
    cut_off del 2 2>/dev/null || true
    proc_stop callers
    for n in 2 3 4; do
        kill -CONT "$(proc_pid "named-$n")" 2>/dev/null || true
        proc_stop "named-$n"
    done
    proc_stop dataplane # its configuration is none of the others'
}

backends() { telemetry /dropgate/backends; }
health() { backends | jq -e --arg is "$1" 'all(.[$ARGS.positional[]]; .health == $is)' --args -- "${@:2}"; }
now_ms() { date +%s%3N; }
answers_by() { grep -c " $1\$" "$LOGS/callers.log"; }
more_answers() { (($(wc -l <"$LOGS/callers.log") >= $1)); }
answers() { until_true 20 more_answers $(($(wc -l <"$LOGS/callers.log") + $1)); } # answers N: that many more
by_more() { (($(answers_by "$1") >= $2)); }
served_by() { until_true 20 by_more "$1" $(($(answers_by "$1") + 20)); }

# known NAME SINCE: when the log says that it is down, in ms after SINCE.
known() {
    local at
    at=$(jq -Rr --arg name "backend $1:" 'fromjson? | select(.event == "backend_down" and (.message | startswith($name))) | .time' \
        "$LOGS/dataplane.log" | tail -n 1)
    printf '%d' $(($(date -d "$at" +%s%3N) - $2))
}

# goes_down "sentence" N SINCE: both of its addresses, in time, and then nobody is led there.
goes_down() {
    until_true 20 health down "a$2" "b$2" || fail "$1: the gateway knows" "$(backends | jq -c "{a$2, b$2}")"
    for name in "a$2" "b$2"; do
        expect_at_most "$1: $name is known to be, after some ms" $((4 * known_ms)) "$(known "$name" "$3")" # beside all that runs here
    done
    answers 10 || fail "$1: clients are answered"
    local before
    before=$(wc -l <"$LOGS/callers.log")
    answers 60 || fail "$1: clients are answered"
    expect_equal "$1: by the others" '' "$(tail -n +$((before + 1)) "$LOGS/callers.log" | grep " $2\$")"
}

comes_back() { # comes_back "sentence" N
    until_true 20 health up "a$2" "b$2" || fail "$1: the gateway knows" "$(backends | jq -c "{a$2, b$2}")"
    served_by "$2" || fail "$1: it is used again"
}

rm -f "$LOGS"/named-?.seen
for n in 2 3 4; do serve $n; done
start_dataplane "$conf" || fail "the gateway starts"
until_true 20 health up a2 a3 a4 b2 b3 b4 || fail "all backends are known to be well" "$(backends)"
: >"$LOGS/callers.log"
proc_start callers "$LOGS/callers.log" ip netns exec "$DROPGATE_LAB-client" "$ROOT/tests/lab/callers.py" load $VIP4 $VIP6
for n in 2 3 4; do served_by $n || fail "backend $n has its share"; done

since=$(now_ms)
kill -KILL "$(proc_pid named-3)"
goes_down "killed" 3 "$since"
serve 3
comes_back "restarted" 3

since=$(now_ms)
kill -STOP "$(proc_pid named-4)"
goes_down "stopped" 4 "$since"
expect_match "its kernel was not believed" 'unanswered|responses' "$(backends | jq -r .a4.reason)"
kill -CONT "$(proc_pid named-4)"
comes_back "continued" 4

# One whose connection is idle meanwhile does not find out by waiting: it is told to come anew.
coproc IDLE { exec ip netns exec "$DROPGATE_LAB-client" "$ROOT/tests/lab/callers.py" hold $VIP4 2; }
read -r -t 20 who <&"${IDLE[0]}"
expect_equal "a connection is idle" 2 "$who"
since=$(now_ms)
cut_off add 2
goes_down "cut off" 2 "$since"
is_silent() { [[ $(backends | jq -r .a2.reason) == silent ]]; }
until_true 5 is_silent
sleep 2 # whoever has answered anything within what a probe may take is only busy (tcp/watch.c)
echo >&"${IDLE[1]}"
read -r -t 20 who <&"${IDLE[0]}"
expect_equal "a request on an idle connection to it is sent back at once" ConnectionResetError "$who"
exec {IDLE[1]}>&-
expect_match "it is known to be silent" 'silent|openings' "$(backends | jq -r .a2.reason)"
cut_off del 2
comes_back "joined again" 2

# Whoever hangs gets his answer now.
kill -TERM "$(proc_pid callers)"
until_true 60 bash -c "! kill -0 $(proc_pid callers)" || fail "every request has its end"
cat "$LOGS"/named-?.seen >"$LAB_DIR/seen"
failed=0 lost=''
while read -r _ what outcome; do
    failed=$((failed + 1))
    grep -qxF -e "/?$what" -e "/?$what-again" "$LAB_DIR/seen" || lost+="$what: $outcome"$'\n'
done < <(grep -v ' [234]$' "$LOGS/callers.log")
expect_equal "no request has failed of $(wc -l <"$LOGS/callers.log") that no backend had" '' "$lost"
expect_at_most "requests that the killed one had in its hands" 8 $failed

# Two of them drain; a connection that is open goes on, and whoever is new goes to the third.
coproc HELD { exec ip netns exec "$DROPGATE_LAB-client" "$ROOT/tests/lab/callers.py" hold $VIP4 3; }
read -r -t 20 who <&"${HELD[0]}"
expect_equal "a connection is held" 3 "$who"
sed -i -e 's/^\[backend [ab][34]\]/&\ndrain = yes/' "$conf"
kill -HUP "$(proc_pid dataplane)"
drains() { backends | jq -e '.b4.draining == 1'; }
until_true 10 drains || fail "the gateway lets them drain"
new=$(client curl -sS -Z --parallel-max 10 -m 10 -H 'Connection: close' "http://$VIP4/?[1-40]" 2>>"$LOGS/visits.log")
expect_equal "while two drain, 40 are served by the third" "40 2" "$(sort <<<"$new" | uniq -c | awk '{print $1, $2}')"
echo >&"${HELD[1]}"
read -r -t 20 who <&"${HELD[0]}"
expect_equal "the open connection goes on" 3 "$who"
sed -i '/^drain = yes/d' "$conf"
kill -HUP "$(proc_pid dataplane)"

# Nobody is there.
for n in 2 3 4; do proc_stop named-$n; done
exec {HELD[1]}>&-
until_true 20 health down a2 a3 a4 b2 b3 b4 || fail "the gateway knows that all are down" "$(backends)"
for address in "$VIP4" "[$VIP6]"; do
    answer=$(client curl -sS -i -m 10 "http://$address/" 2>&1)
    expect_match "$address, all are down: said at once" 'HTTP/1.1 503 .*Retry-After: [0-9]+' "$answer"
done
serve 4
until_true 20 health up a4 b4 || fail "one is back"
expect_equal "and serves" 4 "$(client curl -sS -m 10 "http://$VIP4/" 2>&1)"
