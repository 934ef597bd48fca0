# SPDX-License-Identifier: BSD-3-Clause
# limit: 200
# Two instances sell, and the one that publishes the outbox is killed again and again while it does: a reader of the events
# hears of every grant, cancellation and expiry once, at positions without a gap, and reads the same when it reads again.
. "${0%/*}/lib.sh"
needs postgres
proc_stop control # it would publish as well
cleanup() { proc_stop reader; proc_stop crowd; proc_stop control-a; proc_stop control-b; }
declare -A at=([a]=198.18.128.2:8095 [b]=198.18.128.2:8096)
token=$LAB_DIR/events.token stop=$LAB_DIR/events.stop
rm -f "$stop"
(umask 077 && echo "the-token-of-the-laboratory-$RANDOM" >"$token")
start() { # start a|b
    sed -e "s|^listen = .*|listen = ${at[$1]}|" -e "s|^deadline = .*|deadline = 5s|" "$ROOT/tests/lab/control_http.conf" >"$LAB_DIR/events-$1.in"
    printf '[events]\ntoken_file = %s\n' "$token" >>"$LAB_DIR/events-$1.in"
    sed -e "s|@DSN@|$(pg_dsn "$LAB_DIR/postgres" dropgate_service)|" "$LAB_DIR/events-$1.in" >"$LAB_DIR/events-$1.conf"
    proc_start "control-$1" "$(service_log "control-$1")" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$LAB_DIR/events-$1.conf"
}
events() { # events ADDRESS QUERY [CURL-OPTION…]: "STATUS BODY"
    server curl -sS -m 10 -o "$LAB_DIR/events.body" -w '%{http_code} ' "${@:3}" "http://$1/v1/events$2" && cat "$LAB_DIR/events.body"
}
sale=$(sql -c "select coalesce(max(id), 0) + 1 from dropgate.sale") # the crowd's
short=$((sale + 1))                                                 # one whose holds expire at once
last_one=$((sale + 2))
sql -o /dev/null <<SQL
select dropgate.item_put('heard', 'Heard', '');
select dropgate.sale_put($sale, 'heard', 1500, 3, '10 minutes', 4900, 'EUR', clock_timestamp());
select dropgate.sale_put($short, 'heard', 200, 1, '100 milliseconds', 4900, 'EUR', clock_timestamp());
SQL
hold() { # 40 units of the short sale
    sql -o /dev/null -c "select count(*) from dropgate.reserve_batch($short, array(select gen_random_uuid() from generate_series(1, 40)),
        array(select gen_random_uuid()::text from generate_series(1, 40)), array_fill(gen_random_uuid(), array[40]), array_fill(1, array[40]))"
}
is_up() { server curl -fsS -m 2 -o /dev/null "http://${at[a]}/v1/sales/$sale" && server curl -fsS -m 2 -o /dev/null "http://${at[b]}/v1/sales/$sale"; }
start a
start b
expect "two instances are up" until_true 20 is_up

bearer="Authorization: Bearer $(<"$token")"
expect_match "without a token nobody reads" '^401 .*identity-required' "$(events "${at[a]}" '')"
expect_match "nor with another" '^401 .*invalid-token' "$(events "${at[a]}" '' -H "${bearer}x")"
expect_match "a query that is not understood is refused" '^400 .*bad-query.*limit is not' "$(events "${at[a]}" '?limit=0' -H "$bearer")"
expect_match "HEAD is understood" '^HTTP/1.1 200 OK.*Content-Length: [0-9]+' "$(server curl -sS -m 10 -I -H "$bearer" "http://${at[a]}/v1/events")"
expect_match "POST is not" '^405 .*method-not-allowed' "$(events "${at[a]}" '' -H "$bearer" -X POST)"
first=$(sql -c 'select position from dropgate.outbox_head')
expect_match "a position that is still to come is told" '^409 .*position-ahead' "$(events "${at[b]}" "?after=$((first + 1000000))" -H "$bearer")"

follow() { # follow NAME: everything from the beginning of this scenario into events-NAME.jsonl
    proc_start "$1" "$LOGS/$1.log" ip netns exec "$DROPGATE_LAB-server" "$ROOT/tests/lab/events_reader.py" "$first" "$token" "$stop" \
        "$LAB_DIR/events-$1.jsonl" "${at[a]}" "${at[b]}"
}
holder() { # a or b: who says last that it publishes, by the two logs together
    local n
    for n in a b; do
        proc_alive "control-$n" && grep -q relay_begun "$LOGS/control-$n.log" && echo "$n" && return 0
    done
    return 1
}
follow reader
proc_start crowd "$LOGS/crowd.log" ip netns exec "$DROPGATE_LAB-server" "$ROOT/tests/lab/control_crowd.py" "$sale" 1500 32 \
    "$LAB_DIR/history-$sale.jsonl" "${at[a]}" "${at[b]}"
heard() { (($(wc -l <"$LAB_DIR/events-reader.jsonl") >= $1)) || ! proc_alive reader || ! proc_alive crowd; }
kills=0
for mark in 100 300 600; do
    until_true 60 heard "$mark"
    expect "somebody publishes" until_true 20 holder
    victim=$(holder)
    if proc_alive crowd; then kills=$((kills + 1)); fi
    proc_stop "control-$victim" KILL
    hold
    start "$victim"
done
proc_wait crowd || fail "every shopper got an answer" "$(grep unexpected "$LOGS/crowd.log" | head -n 5)"
expect_at_least "the publisher was killed while shoppers bought" 1 "$kills"
settled() {
    [[ $(sql -c "select held from dropgate.stock where sale = $short") == 0 &&
        $(sql -c 'select count(*) from dropgate.outbox_pending') == 0 ]]
}
expect "what fell due is released, and all is published" until_true 30 settled
: >"$stop"
if proc_wait reader; then ok "a reader found every position once, in order"; else fail "a reader found every position once, in order"; fi
tail -n 1 "$LOGS/reader.log"

jq -r "select((.sale == $sale or .sale == $short) and .reservation) | \"\(.kind) \(.reservation) \(.user) \(.data.quantity)\"" "$LAB_DIR/events-reader.jsonl" |
    LC_ALL=C sort >"$LAB_DIR/events-heard"
sql -F ' ' -c "select 'reservation.granted', id, user_id, quantity from dropgate.reservation where sale in ($sale, $short) union all
    select 'reservation.' || state, id, user_id, quantity from dropgate.reservation
    where sale in ($sale, $short) and state >= 'expired'" |
    LC_ALL=C sort >"$LAB_DIR/events-true"
expect "it heard of every grant, cancellation and expiry once, and of nothing else" diff "$LAB_DIR/events-true" "$LAB_DIR/events-heard"
for kind in granted cancelled expired; do
    expect_at_least "there were some that were $kind" 30 "$(grep -c "^reservation.$kind " "$LAB_DIR/events-heard")"
done
follow again
proc_wait again
expect "reading again reads the same" cmp "$LAB_DIR/events-reader.jsonl" "$LAB_DIR/events-again.jsonl"

# Who waits hears soon, and is not left hanging when an instance ends.
last=$(tail -n 1 "$LAB_DIR/events-reader.jsonl" | jq .position)
events "${at[a]}" "?after=$last&wait=8" -H "$bearer" >"$LAB_DIR/events.waited" &
sql -o /dev/null -c "select dropgate.sale_put($last_one, 'heard', 1, 1, '10 minutes', 1, 'EUR', clock_timestamp()); select dropgate.sale_restock($last_one, -1)"
wait $!
expect_match "who waits is told of news" "^200 .*\"kind\":\"sale.sold_out\",\"sale\":$last_one" "$(<"$LAB_DIR/events.waited")"
events "${at[a]}" "?after=$((last + 1))&wait=30" -H "$bearer" >"$LAB_DIR/events.waited" &
# The request is there: its bytes have been received, on the only connection that is left open.
until_true 10 eval "server ss -Htin state established \"src ${at[a]}\" | grep -q bytes_received"
proc_stop control-a TERM 10
wait $!
expect_equal "and is answered when the instance ends" "200 {\"events\":[],\"next\":$((last + 1))}" "$(<"$LAB_DIR/events.waited")"
expect_match "an instance that was asked to end has ended well" 'all requests are answered' "$(tail -n 1 "$LOGS/control-a.log")"

sed -i '/^\[events\]/,$d' "$LAB_DIR/events-b.conf"
proc_stop control-b
proc_start control-b "$(service_log control-b)" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$LAB_DIR/events-b.conf"
expect "an instance without a token starts" until_true 20 server curl -fsS -m 2 -o /dev/null "http://${at[b]}/v1/sales/$sale"
expect_match "and hands out no events" '^403 .*events-off' "$(events "${at[b]}" '' -H "$bearer")"
expect_invariants "$sale"
expect_invariants "$short"
