# SPDX-License-Identifier: BSD-3-Clause
# limit: 240
# What one client may ask for is exact, on real traffic: by wrk, on kept connections, pipelined; refused at the gateway,
# so that the backend has seen what was let through and nothing else. Others do not notice.
. "${0%/*}/lib.sh"

PORT=84
cleanup() {
    proc_stop one
    proc_stop skewed
    proc_stop dataplane
    proc_stop counting
}
counting() { # counting: the backend starts from zero
    proc_stop counting
    : >"$LOGS/counting.log"
    proc_start counting "$LOGS/counting.log" ip netns exec "$DROPGATE_LAB-server" \
        "$ROOT/tests/lab/counting_server.py" 198.18.128.2:8084 '[2001:db8:0:1::2]:8084'
    until_true 10 grep -q ready "$LOGS/counting.log"
}
counted() { # counted: ends it; prints what it has counted
    proc_stop counting
    tail -n 1 "$LOGS/counting.log"
}
begin() { # begin WORKERS CORES LIMITS: the gateway, and a backend that it knows
    lab_config dropgate.conf "$LAB_DIR/clients.conf"
    sed -i "s/^cores = .*/workers = $1\ncores = $2/; s/^strikes = 0/strikes = 5/" "$LAB_DIR/clients.conf"
    cat >>"$LAB_DIR/clients.conf" <<EOF
$3
[backend count4]
address = 198.18.128.2:8084
[backend count6]
address = [2001:db8:0:1::2]:8084
[service count]
listen = $VIP4:$PORT, [$VIP6]:$PORT
backends = count4, count6
EOF
    counting
    start_dataplane "$LAB_DIR/clients.conf" || fail "the gateway starts with $1 workers"
    until_true 20 backends_learned count4 count6 || fail "the gateway knows the backends"
}
ask() { client "$ROOT/tests/lab/client_limits.py" "$VIP4" "$VIP6" "$PORT" "$@"; }
of() { jq -r ".\"$1\" // 0" <<<"$2"; }
addresses() { # addresses FORMAT FIRST LAST [STEP]
    local n
    # shellcheck disable=SC2059
    for ((n = $2; n <= $3; n += ${4:-1})); do printf "$1\n" "$n"; done
}
connections() { telemetry /dropgate/clients | jq .connections; }
fewer() { (($(connections) <= 280)); }
none_open() { [[ $(connections) == 0 ]]; }

# --- requests ---

begin 1 0,1 '[clients]
requests = 60
requests_burst = 10'
before=$(verdict request_rate)
addresses 198.18.65.%d 1 250 >"$LAB_DIR/others"
addresses 198.18.66.%d 1 250 >>"$LAB_DIR/others"
addresses 2001:db8:1%03x::7 1 500 >>"$LAB_DIR/others"
client ip route replace "$VIP4/32" dev dgc0 src 198.18.64.1
started=$(date +%s%N)
client wrk -t1 -c4 -d6s "http://$VIP4:$PORT/thing" >"$LOGS/wrk-limited.log" &
wrk=$!
others=$(ask once "$LAB_DIR/others")
wait $wrk
seconds=$((($(date +%s%N) - started) / 1000000000))
client ip route del "$VIP4/32" dev dgc0
total=$(grep -oP '\d+(?= requests in)' "$LOGS/wrk-limited.log")
refused=$(grep -oP 'Non-2xx or 3xx responses: \K\d+' "$LOGS/wrk-limited.log")
expect_equal "1,000 others are all served meanwhile" 1000 "$(of 200 "$others")"
kept=$(ask kept 198.18.64.2 40)
pipelined=$(ask pipelined 198.18.64.3 30)
addresses 2001:db8:1fab:%x::7 100 50000 100 >"$LAB_DIR/network"
network=$(ask once "$LAB_DIR/network")
told=$(counted)
served=$((total - refused))
printf 'wrk: %s answers, %s served in %s s; kept %s; pipelined %s; network %s\n' "$total" "$served" "$seconds" "$kept" \
    "$pipelined" "$network"
expect_at_least "wrk is served its burst and a request per second" $((10 + 6 - 1)) "$served"
expect_at_most "and no more" $((10 + seconds + 1 + 1)) "$served"
expect_at_least "it is refused again and again, at the gateway" 100 "$refused"
seen=$(of 198.18.64.1 "$told")
expect_at_least "the backend has seen what wrk was served" "$served" "$seen"
expect_at_most "and at most what wrk did not wait for" $((served + 4)) "$seen"
expect_equal "on a kept connection the backend has seen what was served" "$(of 200 "$kept")" "$(of 198.18.64.2 "$told")"
rest=$(jq '.seconds | floor' <<<"$kept")
expect_at_least "that is the burst" 10 "$(of 200 "$kept")"
expect_at_most "and a request per second" $((10 + rest + 1)) "$(of 200 "$kept")"
expect_equal "the others of 40 are refused" 40 $(($(of 200 "$kept") + $(of 429 "$kept")))
expect_at_least "of 30 pipelined ones the burst is served" 10 "$(of 200 "$pipelined")"
expect_at_most "and no more" 11 "$(of 200 "$pipelined")"
expect_equal "the next one is refused, and the connection closed" "1 1" "$(of 429 "$pipelined") $(of closed "$pipelined")"
expect_equal "the backend has seen those" "$(of 200 "$pipelined")" "$(of 198.18.64.3 "$told")"
rest=$(jq '.seconds * 32 | ceil' <<<"$network")
expect_at_least "the /64s of a /48 have 32 times the burst" 320 "$(of 200 "$network")"
expect_at_most "and 32 times the rate" $((320 + rest + 1)) "$(of 200 "$network")"
expect_equal "all others of them are refused" 500 $(($(of 200 "$network") + $(of 429 "$network")))
expect_at_least "refusals are counted" "$refused" $(($(verdict request_rate) - before))

# --- bans ---

ask malformed 198.18.64.4 5 >/dev/null
expect_equal "a client that sends no requests five times is banned" 198.18.64.4/32 \
    "$(telemetry /dropgate/bans | jq -r '.ban_1.client')"
before=$(verdict banned)
expect_equal "its SYNs are dropped" 28 "$(
    client curl -s -m 2 -o /dev/null --interface 198.18.64.4 "http://$VIP4:$PORT/thing"
    echo $?
)"
expect_at_least "and counted" 1 $(($(verdict banned) - before))

# --- other limits, while it runs ---

sed -i 's/^requests_burst = 10/requests_burst = 100/' "$LAB_DIR/clients.conf"
counting
until_true 20 backends_learned count4 count6 || fail "the backend is back"
kill -HUP "$(proc_pid dataplane)"
expect "other limits are taken over" until_true 10 grep -q '"reload_change".*requests_burst' "$LOGS/dataplane.log"
expect_equal "and hold at once" 40 "$(of 200 "$(ask kept 198.18.64.8 40)")"

# --- connections, on two workers ---

begin 2 0,0,1 '[clients]
connections = 20
[limits]
connections = 300'
hold() { # hold NAME FILE: its clients open connections and keep them; HELD is what came of it, PID who they are
    : >"$LOGS/$1.log"
    proc_start "$1" "$LOGS/$1.log" ip netns exec "$DROPGATE_LAB-client" "$ROOT/tests/lab/client_limits.py" \
        "$VIP4" "$VIP6" "$PORT" hold "$2"
    PID=$PROC_LAST
    round "$1" 1
}
round() { # round NAME N: awaits the N-th
    until_true 60 bash -c "((\$(wc -l <'$LOGS/$1.log') >= $2))" || fail "$1 comes to its end" "$(<"$LOGS/$1.log")"
    HELD=$(sed -n "$2p" "$LOGS/$1.log" | jq .held)
}
for _ in {1..50}; do echo 198.18.64.5; done >"$LAB_DIR/one"
hold one "$LAB_DIR/one"
expect_equal "of 50 connections of one client 20 stay" 20 "$HELD"
expect_equal "the gateway counts as many, and says whose they are" "20 198.18.64.5/32" \
    "$(telemetry /dropgate/clients | jq -r '"\(.connections) \(.most_open_1.client)"')"
addresses 2001:db8:1fab:%x::7 100 40000 100 >"$LAB_DIR/skewed" # all of one worker
hold skewed "$LAB_DIR/skewed"
printf 'skewed: %s at first\n' "$HELD"
expect_at_most "a /48's clients get what is left of the gateway's 300, though all are one worker's" 280 "$HELD"
for turn in 2 3 4; do
    kill -USR1 "$PID"
    round skewed $turn
done
expect_equal "and all of it, whatever the other worker was lent" 280 "$HELD"
expect_equal "300 are open" 300 "$(connections)"
expect_equal "one client was refused by its own limit" 30 "$(verdict client_connections)"
expect_at_least "the others by the gateway's" 120 "$(verdict connections_full)"
proc_stop one
until_true 10 fewer
for turn in 5 6 7; do
    kill -USR1 "$PID"
    round skewed $turn
done
expect_equal "what one gives back another takes" 300 "$HELD"
proc_stop skewed
expect "all are given back" until_true 30 none_open
