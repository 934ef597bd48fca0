# SPDX-License-Identifier: BSD-3-Clause
# limit: 240
# The synchronous standby is cut off. Whatever is tried then (waiting, a wait that is cancelled, a lost connection, an instance
# that is killed, a repetition, a look, the events), nobody is told of a grant that the standby does not have. When it is back
# everybody learns what was theirs, once. Then the primary freezes while another grant waits, and the standby takes over; the old
# primary is not written to by an instance that has just started either, not even while the new primary is down.
. "${0%/*}/lib.sh"
. "${0%/*}/failover.sh"
api=http://198.18.128.2:8090
conf=$LAB_DIR/control-cut.conf
cleanup() {
    proc_stop control-cut
    clusters_drop
}
start_cut() {
    proc_start control-cut "$(service_log control-cut)" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$conf"
    until_true 20 server curl -fsS -m 2 -o /dev/null "$api/v1/sales/$sale" || fail "the service starts and knows the sale"
}
buy() { # buy USER: "STATUS TYPE-OR-ID"
    server curl -sS -m 10 -w '\n%{http_code}\n' -H "X-Dropgate-User: $1" -H 'Idempotency-Key: k' \
        -H 'Content-Type: application/json' -d '{"quantity":1}' "$api/v1/sales/$sale/reservations" 2>&1 | answer
}
look_at() { server curl -sS -m 10 -w '\n%{http_code}\n' -H "X-Dropgate-User: $1" "$api/v1/reservations/$2" 2>&1 | answer; }
answer() { # of curl's output
    local body status
    { read -r body; read -r status; } || true
    printf '%s %s' "$status" "$(jq -r '.id // .type' <<<"$body" 2>/dev/null)"
}
# waiting: the backends whose batches wait for the standby, as pids.
waiting() {
    ask_cluster "$PRIMARY" "select pid from pg_stat_activity where wait_event = 'SyncRep' and query like '%dropgate.reserve%'"
}
somebody_waits() { [[ -n $(waiting) ]]; }
# cut_short FUNCTION USER: what the user is told whose wait is cut short by that function.
cut_short() {
    buy "$2" >"$LAB_DIR/cut-answer" &
    local buyer=$!
    until_true 5 somebody_waits
    sql -o /dev/null -c "select $1(pid) from unnest(array[$(waiting | paste -sd,)]) pid"
    wait "$buyer" || true
    cat "$LAB_DIR/cut-answer"
}
# rows USER: how many reservations the primary would show.
rows() { ask_cluster "$PRIMARY" "select count(*) from dropgate.reservation where user_id = '$1'"; }
is_here() { [[ $(rows "$1") == 1 ]]; }

clusters_start
sed -e "s|@DSN@|$LEDGER_DSN|" -e 's/^deadline = .*/deadline = 2s/' -e 's/^ledger_threads = .*/ledger_threads = 1/' \
    -e "s|^\[database\]|&\ntimeline_file = $TIMELINE_FILE|" "$ROOT/tests/lab/control_http.conf" >"$conf"
events_token "$conf"
hear() { server curl -sS -m 10 -w ' %{http_code}' -H "Authorization: Bearer $(<"$EVENTS_TOKEN")" "$api/v1/events" 2>&1 | grep -oE '"user":"[a-z]+"|[0-9]{3}$' | paste -sd' '; }
heard_of_ann() { [[ $(hear) == '"user":"ann" 200' ]]; }
sale=1
sql -o /dev/null -c "select dropgate.item_put('cut', 'Cut', ''); select dropgate.sale_put(1, 'cut', 100, 1, '10 minutes', 100, 'EUR', clock_timestamp())"
start_cut

ann=$(buy ann)
expect_match "with the standby there a purchase is granted" '^201 ' "$ann"
expect "and heard of" until_true 5 heard_of_ann
pg_freeze "$(cluster "$STANDBY")"
# The wait is cancelled: PostgreSQL commits, warns, and says that all is well.
expect_match "without it nobody is told of a grant, not after a cancelled wait either" '^503 .*outcome-unknown' "$(cut_short pg_cancel_backend bob)"
expect "the cancelled wait has shown the row to everybody" until_true 5 is_here bob
expect "and a warning to the service" until_true 5 grep -q 'canceling wait for synchronous replication' "$LOGS/control-cut.log"
expect "the repetition waits, too" until_true 5 somebody_waits
# The connection is lost within the wait.
expect_match "nobody is told after a lost connection" '^503 ' "$(cut_short pg_terminate_backend bob)"
expect_match "nor is ann told again of what she was told" '^503 ' "$(buy ann)"
expect_equal "readers of events hear nothing, not even what they have heard before" 503 "$(hear)"
expect_match "a look tells nothing, either" '^503 ' "$(look_at ann "${ann#* }")"

# A fresh instance has never heard of a wait.
proc_stop control-cut KILL
start_cut
expect_match "nor by an instance that was killed and started again" '^503 ' "$(buy bob)"

pg_thaw "$(cluster "$STANDBY")"
granted() { [[ $(buy "$1") == 201\ * ]]; }
expect "when the standby is back, bob is told" until_true 15 granted bob
expect_equal "and ann the same as before" "$ann" "$(buy ann)"
expect_equal "a look tells as well" "200 ${ann#* }" "$(look_at ann "${ann#* }")"
heard_of_both() { [[ $(hear) == '"user":"ann" "user":"bob" 200' ]]; }
expect "readers of events hear of both" until_true 10 heard_of_both
expect_equal "bob has one" 1 "$(rows bob)"

# The same, but then the primary stops answering without closing a connection.
pg_freeze "$(cluster "$STANDBY")"
expect_match "cid is not told of a grant" '^503 .*outcome-unknown' "$(buy cid)"
refusal=$("$ROOT/scripts/promote" --standby "b=$(pg_dsn "$(cluster b)")" 2>&1) && fail "a standby that does not answer cannot be promoted"
expect_match "the script wants to read the standby first" 'every named standby must be read' "$refusal"
pg_freeze "$(cluster "$PRIMARY")"
pg_thaw "$(cluster "$STANDBY")"
refusal=$("$ROOT/scripts/promote" --standby "b=$(pg_dsn "$(cluster b)")" --standby "c=host=$CLUSTERS/none" 2>&1) && fail "a missing standby is passed over"
expect_match "and every other one" 'c may be the only one' "$refusal"
may_be_promoted() {
    "$ROOT/scripts/promote" --standby "b=$(pg_dsn "$(cluster b)")" --standby "c=host=$CLUSTERS/none" --force-missing c --dry-run
}
expect "once the standby hears nothing more it may be promoted" until_true 30 may_be_promoted
promote --synchronous '' --standby "c=host=$CLUSTERS/none" --force-missing c
expect "cid asks again and is granted, though the old connections still stand" until_true 15 granted cid
expect_match "the service has left them" 'leaving the old primary' "$(cat "$LOGS/control-cut.log")"
expect_equal "ann still has hers" "$ann" "$(buy ann)"
expect_equal "each has one" 3 "$(sql -c "select count(*) from dropgate.reservation")"

# The old primary goes on as it was; then the new one goes down, and the service is started anew.
pg_thaw "$(cluster "$STANDBY")"
before=$(written "$STANDBY")
expect "the service sees it" until_true 10 grep -q old_primary "$LOGS/control-cut.log"
expect_match "dan buys of the new primary" '^201 ' "$(buy dan)"
proc_stop control-cut KILL
start_cut
expect_match "a fresh instance that sees both takes the new one" '^201 ' "$(buy eve)"
proc_stop control-cut
pg_stop "$(cluster "$PRIMARY")"
proc_start control-cut "$(service_log control-cut)" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$conf"
refused() { grep -q 'no primary answers.*an old primary' "$LOGS/control-cut.log"; }
expect "a fresh instance that sees only the old one waits" until_true 10 refused
expect_match "and sells nothing" '^503 ' "$(buy fay)"
expect_equal "the old primary was not written to" "$before" "$(written "$STANDBY")"
pg_start "$(cluster "$PRIMARY")" "${SETTINGS[@]}"
expect "when the new one is back, it is used" until_true 15 granted fay

# A planned switch: back to the first cluster, which has rejoined.
rejoin
refusal=$("$ROOT/scripts/promote" --standby "$STANDBY=$(pg_dsn "$(cluster "$STANDBY")")" --primary "$(pg_dsn "$(cluster "$PRIMARY")")" 2>&1) &&
    fail "nothing is promoted while the primary answers"
expect_match "nothing is promoted while the primary answers" 'the primary answers' "$refusal"
promote --take-over --synchronous ''
before=$(written "$STANDBY")
expect "the service follows the switch" until_true 15 granted gil
expect_equal "seven have one each, through all of it" 7 "$(sql -c "select count(*) from dropgate.reservation")"
expect_equal "ann the same as ever" "$ann" "$(buy ann)"
expect_equal "and the other cluster was not written to" "$before" "$(written "$STANDBY")"
expect_invariants "$sale"
