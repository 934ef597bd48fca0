# SPDX-License-Identifier: BSD-3-Clause
# limit: 60
# A database that warns is not a database that failed: a warning with every statement (a vacuum that is due, a trigger)
# holds nobody up. One whose sessions are read-only is not asked again without a pause, and is used when it writes again.
. "${0%/*}/lib.sh"
needs postgres
sed -e "s|@DSN@|$(pg_dsn "$LAB_DIR/postgres" dropgate_service)|" "$ROOT/tests/lab/control_http.conf" >"$LAB_DIR/control_warnings.conf"
cleanup() {
    proc_stop control-warnings
    sql -c "drop trigger if exists warn on dropgate.reservation; drop function if exists public.warn();
        alter role dropgate_service reset default_transaction_read_only" >/dev/null 2>&1
}
proc_start control-warnings "$(service_log control-warnings)" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$LAB_DIR/control_warnings.conf"
api=http://198.18.128.2:8090
up() { server curl -fsS -m 2 -o /dev/null "$api/readyz"; }
expect "the service is ready" until_true 20 up
sale=$(sql -c "select coalesce(max(id), 0) + 1 from dropgate.sale")
sql -o /dev/null -c "select dropgate.item_put('warned', 'Warned', ''); select dropgate.sale_put($sale, 'warned', 100, 1,
    '10 minutes', 100, 'EUR', clock_timestamp())"
known() { server curl -fsS -m 2 -o /dev/null "$api/v1/sales/$sale"; }
expect "the sale is known" until_true 5 known
buy() { # buy USER: the status
    server curl -sS -m 10 -o /dev/null -w '%{http_code}' -H "X-Dropgate-User: $1" -H 'Idempotency-Key: k' \
        -H 'Content-Type: application/json' -d '{"quantity":1}' "$api/v1/sales/$sale/reservations"
}

sql -c "create function public.warn() returns trigger language plpgsql as \$\$ begin raise warning 'vacuum me'; return null; end \$\$;
    create trigger warn after insert on dropgate.reservation for each statement execute function public.warn()" >/dev/null
before=$(sql -c "select txid_current()")
expect_equal "a purchase whose statement is warned of is answered" 201 "$(buy ann)"
expect_equal "and so is its repetition" 201 "$(buy ann)"
expect_at_most "each took a transaction or two, not thousands" 20 $(($(sql -c "select txid_current()") - before))
expect_match "the warning is in the log" 'vacuum me' "$(cat "$LOGS/control-warnings.log")"

sql -o /dev/null -c "alter role dropgate_service set default_transaction_read_only = on;
    select pg_terminate_backend(pid) from pg_stat_activity where usename = 'dropgate_service'"
expect_equal "a database that may not write gives 503" 503 "$(buy bob)"
expect_at_most "and is asked now and then, not all the time" 40 "$(grep -c read-only "$LOGS/control-warnings.log")"
sql -c "alter role dropgate_service reset default_transaction_read_only" >/dev/null
bought() { [[ $(buy bob) == 201 ]]; }
expect "when it writes again, it is used" until_true 10 bought
expect_invariants "$sale"
