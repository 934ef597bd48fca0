# SPDX-License-Identifier: BSD-3-Clause
# limit: 240
# The database primary is killed in the middle of a sale and its synchronous standby promoted; then the old primary comes
# back as it was. Every grant that a shopper was told of is there, everything is sold once, nobody is left without an answer,
# and the old primary is never written to; a reader of the events hears of everything once, at positions without a gap. Then it rejoins by pg_rewind, and the same goes the other way round.
# FAILOVERS=10 does it ten times.
. "${0%/*}/lib.sh"
. "${0%/*}/failover.sh"
cleanup() {
    proc_stop shoppers
    proc_stop reader
    clusters_drop
}
clusters_start
start_control "$(control_conf)" || fail "the service starts"
needs dataplane
EVENTS_TOKEN=$CLUSTERS/events.token # control_conf made it in a process of its own
proc_start reader "$LOGS/reader-failover.log" ip netns exec "$DROPGATE_LAB-server" "$ROOT/tests/lab/events_reader.py" 0 "$EVENTS_TOKEN" \
    "$CLUSTERS/stop" "$LAB_DIR/events-failover.jsonl" 198.18.128.2:8080

answered() { (($(tail -n 1 "$LOGS/shoppers-failover.log" | jq -r '.answered // 999') >= $1)); }
settled() { tail -n 1 "$LOGS/shoppers-failover.log" | jq -e '.settled != false'; }

fail_over() { # fail_over ROUND
    local sale before result from history=$LAB_DIR/history-failover-$1.jsonl
    sale=$(new_sale 300)
    proc_start shoppers "$LOGS/shoppers-failover.log" ip netns exec "$DROPGATE_LAB-client" "$TOOLS/shoppers" \
        --to "$VIP4:80" --to "[$VIP6]:80" --sale "$sale" --shoppers 450 --within 8 --replay 20 --cancel 10 \
        --prefix "failover-$1-" --history "$history" --deadline 90
    until_true 60 answered 120 || fail "the sale begins"
    from=$EPOCHREALTIME
    pg_kill9 "$(cluster "$PRIMARY")"
    promote --synchronous ''
    ok "round $1: the primary was killed and $PRIMARY promoted $(seconds_since "$from") s later"
    return_old_primary
    before=$(written "$STANDBY")
    until_true 60 settled || fail "round $1: shoppers come to an end"
    kill -USR1 "$(proc_pid shoppers)" # nothing more falls due
    proc_wait shoppers || fail "round $1: every shopper got an answer" "$(tail -n 1 "$LOGS/shoppers-failover.log")"
    result=$(tail -n 1 "$LOGS/shoppers-failover.log" | jq -c .result)
    printf '%s\n' "$result"
    expect_equal "round $1: nobody was left without an answer" 0 "$(jq .failed <<<"$result")"
    expect_equal "round $1: no replay read differently" 0 "$(jq .changed_replays <<<"$result")"
    expect_equal "round $1: everything was sold" 0 "$(sql -c "select avail from dropgate.stock where sale = $sale")"
    expect_history "$sale" "$history"
    expect_invariants "$sale"
    expect_equal "round $1: the old primary has come back" f "$(ask_cluster "$STANDBY" "select pg_is_in_recovery()")"
    expect_equal "round $1: and was not written to" "$before" "$(written "$STANDBY")"
    expect "round $1: the service says so" grep -q old_primary "$LOGS/control.log"
}

for round in $(seq 1 "${FAILOVERS:-2}"); do
    fail_over "$round"
    if ((round < ${FAILOVERS:-2})); then rejoin; fi
done

published() { [[ $(sql -c 'select count(*) from dropgate.outbox_pending') == 0 ]]; }
expect "all events are published" until_true 20 published
: >"$CLUSTERS/stop"
if proc_wait reader; then ok "a reader found every position once, in order"; else fail "a reader found every position once, in order" "$(tail -n 1 "$LOGS/reader-failover.log")"; fi
jq -r 'select(.reservation) | "\(.kind) \(.reservation)"' "$LAB_DIR/events-failover.jsonl" | LC_ALL=C sort >"$LAB_DIR/events-heard"
sql -F ' ' -c "select 'reservation.granted', id from dropgate.reservation union all
    select 'reservation.' || state, id from dropgate.reservation where state >= 'expired'" | LC_ALL=C sort >"$LAB_DIR/events-true"
expect "and heard of every grant and every end of one, once" diff "$LAB_DIR/events-true" "$LAB_DIR/events-heard"
