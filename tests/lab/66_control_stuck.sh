# SPDX-License-Identifier: BSD-3-Clause
# limit: 90
# One sale's lock is held by another session: its shoppers wait or get 503, other sales on the same connection go on, a
# full queue is told so at once, and a shopper who was told outcome-unknown learns the outcome by asking again.
. "${0%/*}/lib.sh"
needs postgres
sed -e 's/^ledger_threads = .*/ledger_threads = 1/' -e 's/^deadline = .*/deadline = 2s\nqueue_per_sale = 8\nbatch_max = 4/' \
    -e 's/^\[database\]/[database]\nlock_timeout = 500ms/' "$ROOT/tests/lab/control_http.conf" >"$LAB_DIR/control_stuck.in"
sed -e "s|@DSN@|$(pg_dsn "$LAB_DIR/postgres" dropgate_service)|" "$LAB_DIR/control_stuck.in" >"$LAB_DIR/control_stuck.conf"
cleanup() {
    proc_stop control-stuck
    proc_stop holder
}
proc_start control-stuck "$(service_log control-stuck)" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$LAB_DIR/control_stuck.conf"
api=http://198.18.128.2:8090
up() { server curl -fsS -m 2 -o /dev/null "$api/readyz"; }
expect "the service is ready" until_true 20 up

stuck=$(sql -c "select coalesce(max(id), 0) + 1 from dropgate.sale")
free=$((stuck + 1))
for sale in $stuck $free; do
    sql -o /dev/null -c "select dropgate.item_put('stuck', 'Stuck', ''); select dropgate.sale_put($sale, 'stuck', 100, 1,
        '10 minutes', 100, 'EUR', clock_timestamp())"
done
known() { server curl -fsS -m 2 -o /dev/null "$api/v1/sales/$free"; }
expect "the sales are known" until_true 5 known
buy() { # buy SALE USER: "STATUS SECONDS RETRY-AFTER BODY"
    server curl -sS -m 10 -w ' %{http_code} %{time_total} %header{retry-after}\n' -H "X-Dropgate-User: $2" -H 'Idempotency-Key: k' \
        -H 'Content-Type: application/json' -d '{"quantity":1}' "$api/v1/sales/$1/reservations" |
        sed -E 's/^(.*) ([0-9]{3}) ([0-9.]+) ([0-9]*)$/\2 \3 \4 \1/'
}
hold() { # hold SECONDS: another session takes the sale's lock
    proc_start holder "$LOGS/holder.log" psql -XAtq -d "$(pg_dsn "$LAB_DIR/postgres")" \
        -c "begin; select dropgate.lock_sale($stuck); select 'held'; select pg_sleep($1)"
    held() { [[ $(sql -c "select count(*) from pg_locks where locktype = 'advisory' and granted") != 0 ]]; }
    until_true 5 held
}

hold 1
first=$(buy "$stuck" ann)
expect_match "a short wait for the lock is waited out" '^201 [01]\.' "$first"
proc_wait holder || true

hold 6
waiting=()
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    buy "$stuck" "crowd-$i" >"$LAB_DIR/stuck-$i" &
    waiting+=($!)
done
# The lock has timed out once, so the sale is moving to the spare connection.
expect "the stuck sale is noticed" until_true 5 grep -q sale_stuck "$LOGS/control-stuck.log"
other=$(buy "$free" ann)
expect_match "meanwhile another sale sells" '^201 0\.' "$other"
wait "${waiting[@]}" || true
answers=$(cat "$LAB_DIR"/stuck-[0-9]*)
expect_equal "everybody at the stuck sale is told 503" 20 "$(grep -c '^503 ' <<<"$answers")"
expect_equal "with a time to come back" 20 "$(grep -cE '^503 [0-9.]+ [1-9] ' <<<"$answers")"
early=$(grep -cE '^503 [01]\..*problems/busy' <<<"$answers") late=$(grep -cE '^503 (1\.9|2\.|3\.).*problems/(outcome-unknown|ledger-unavailable)' <<<"$answers")
expect_at_least "those beyond the queue are told before the deadline" 1 "$early"
expect_at_least "the others at the deadline" 4 "$late"
expect_equal "and nobody is told anything else" 20 $((early + late))
((early + late == 20)) || cut -c 1-120 <<<"$answers"
proc_wait holder || true
for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do buy "$stuck" "crowd-$i" >"$LAB_DIR/stuck-$i"; done
expect_equal "asking again tells everybody" 20 "$(cat "$LAB_DIR"/stuck-[0-9]* | grep -c '^201 ')"
rm -f "$LAB_DIR"/stuck-[0-9]*
expect_equal "and nobody has two" 21 "$(sql -c "select count(*) from dropgate.reservation where sale = $stuck")"
expect_invariants "$stuck"
