# SPDX-License-Identifier: BSD-3-Clause
# A service of three backends: each has its share; one that dies or falls silent costs no client its request; one that
# comes back is used again. Backends that answer by SYN cookies of their own serve everybody.
. "${0%/*}/lib.sh"

# Not known to be down before its clients have met it: probes are slow here, and an opening's time-out is short.
conf=$LAB_DIR/backends.conf
lab_config dropgate.conf "$conf"
sed -i -e 's/^interval = 500ms/interval = 1s\nfailures = 3/' -e '/^\[service shop\]/,$d' "$conf"
cat >>"$conf" <<CONF
[tcp]
syn_timeout = 300ms
CONF
names4='' names6=''
for n in 2 3 4; do
    printf '[backend a%d]\naddress = 198.18.128.2:808%d\n[backend b%d]\naddress = [2001:db8:0:1::2]:808%d\n' \
        $n $n $n $n >>"$conf"
    names4+="${names4:+, }a$n" names6+=", b$n"
done
printf '[service shop]\nlisten = %s:80, [%s]:80\nbackends = %s%s\n' $VIP4 $VIP6 "$names4" "$names6" >>"$conf"

serve() { # serve N
    proc_start "named-$1" "$LOGS/named-$1.log" ip netns exec "$DROPGATE_LAB-server" \
        "$ROOT/tests/lab/named_server.py" "$1" "808$1" /dev/null 198.18.128.2 2001:db8:0:1::2
    until_true 5 server bash -c ": </dev/tcp/198.18.128.2/808$1"
}

silence() { server ip "$2" rule "$1" pref 90 from "$3" ipproto tcp sport 8084 blackhole; } # add|del FAMILY ADDRESS

cleanup() {
    server sysctl -qw net.ipv4.tcp_syncookies=1
    client sysctl -qw net.ipv4.tcp_timestamps=1
    silence del -4 198.18.128.2 2>/dev/null || true
    silence del -6 2001:db8:0:1::2 2>/dev/null || true
    for n in 2 3 4; do proc_stop "named-$n"; done
    proc_stop dataplane # its configuration is none of the others'
}

visit() { # visit ADDRESS CLIENTS: that many connections, 20 at a time; who answered, one line each
    client curl -sS -Z --parallel-max 20 -m 10 -H 'Connection: close' "http://$1/?[1-$2]" 2>>"$LOGS/visits.log"
}

served() { # served "sentence" ADDRESS CLIENTS WHO: every client is served, by WHO (a sorted list) and nobody else
    local answers
    answers=$(visit "$2" "$3")
    expect_equal "$1: all are served" "$3" "$(grep -c '^[234]$' <<<"$answers")"
    expect_equal "$1: by $4" "$4" "$(sort -u <<<"$answers" | tr -d '\n')"
}

health() { telemetry /dropgate/backends | jq -e --arg is "$1" 'all(.[$ARGS.positional[]]; .health == $is)' --args -- "${@:2}"; }
sum() { telemetry /dropgate/backends | jq "[.a4.$1, .b4.$1] | add"; }

for n in 2 3 4; do serve $n; done
start_dataplane "$conf" || fail "the gateway starts"
until_true 20 health up a2 a3 a4 b2 b3 b4 || fail "all backends are known to answer"

for address in "$VIP4" "[$VIP6]"; do
    answers=$(visit "$address" 300)
    for n in 2 3 4; do
        expect_at_least "$address: backend $n has its share of 300" 60 "$(grep -c "^$n$" <<<"$answers")"
    done
done

# Its kernel answers by RST from now on.
proc_stop named-3
for address in "$VIP4" "[$VIP6]"; do served "$address, one has died" "$address" 60 24; done
until_true 20 health down a3 b3 || fail "the gateway knows that it has died"
expect_at_least "it had been asked" 1 "$(telemetry /dropgate/backends | jq '.a3.refused + .b3.refused')"
serve 3
until_true 20 health up a3 b3 || fail "the gateway knows that it is back"
for address in "$VIP4" "[$VIP6]"; do served "$address, it is back" "$address" 60 234; done

# Nothing that it sends arrives any more, nor its answers to probes.
silence add -4 198.18.128.2
silence add -6 2001:db8:0:1::2
for address in "$VIP4" "[$VIP6]"; do served "$address, one is silent" "$address" 60 23; done
expect_at_least "it had been waited for" 1 "$(sum timeouts)"
until_true 20 health down a4 b4 || fail "the gateway knows that it is silent"
waited=$(sum timeouts)
for address in "$VIP4" "[$VIP6]"; do served "$address, it is known to be" "$address" 60 23; done
expect_equal "nobody waits for it any more" "$waited" "$(sum timeouts)"
silence del -4 198.18.128.2
silence del -6 2001:db8:0:1::2
until_true 20 health up a4 b4 || fail "the gateway hears it again"
for address in "$VIP4" "[$VIP6]"; do served "$address, it is heard again" "$address" 60 234; done

# They know nothing then of what was agreed, and for each address their clocks stand elsewhere.
server sysctl -qw net.ipv4.tcp_syncookies=2
for timestamps in 1 0; do
    client sysctl -qw net.ipv4.tcp_timestamps=$timestamps
    answers=''
    before=$(telemetry /dropgate/backends | jq 'map(.cookies) | add')
    for n in {1..10}; do
        answers+=$(client curl -sS -m 3 --interface "198.18.64.$n" "http://$VIP4/" 2>>"$LOGS/visits.log")$'\n' || true
        answers+=$(client curl -sS -m 3 --interface "2001:db8:1000:$n::1" "http://[$VIP6]/" 2>>"$LOGS/visits.log")$'\n' || true
    done
    expect_equal "backends with SYN cookies, clients with timestamps $timestamps: all are served" 20 "$(grep -c '^[234]$' <<<"$answers")"
    expect_at_least "they were such connections" 18 $(($(telemetry /dropgate/backends | jq 'map(.cookies) | add') - before))
done
expect "none of them is taken out for it" health up a2 a3 a4 b2 b3 b4
