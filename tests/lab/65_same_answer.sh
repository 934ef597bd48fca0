# SPDX-License-Identifier: BSD-3-Clause
# One key has one answer, byte for byte: on either of two instances, after both and PostgreSQL have been restarted, and whatever became
# of price, stock, sale and reservation meanwhile.
. "${0%/*}/lib.sh"
needs postgres
cleanup() { proc_stop control-a; proc_stop control-b; }
a=198.18.128.2:8093 b=198.18.128.2:8094
start() { # start a|b ADDRESS
    sed -e "s|^listen = .*|listen = $2|" "$ROOT/tests/lab/control_http.conf" >"$LAB_DIR/control-$1.in"
    sed -e "s|@DSN@|$(pg_dsn "$LAB_DIR/postgres" dropgate_service)|" "$LAB_DIR/control-$1.in" >"$LAB_DIR/control-$1.conf"
    proc_start "control-$1" "$(service_log "control-$1")" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$LAB_DIR/control-$1.conf"
}
is_up() { server curl -fsS -m 2 -o /dev/null "http://$1/v1/sales/$sale"; }

sale=$(sql -c "select coalesce(max(id), 0) + 1 from dropgate.sale")
put() { # put TOTAL PER_USER PRICE [CLOSES_AT]
    sql -o /dev/null -c "select dropgate.item_put('same', 'Thing', ''); select dropgate.sale_put($sale, 'same', $1, $2, '10 minutes', $3, 'EUR', '2026-01-01', ${4:-null})"
}
put 3 2 4900
start a $a
start b $b
expect "both instances know the sale" until_true 20 eval "is_up $a && is_up $b"

# answer ADDRESS USER KEY BODY: all of it but the date
answer() {
    server curl -sS -i -m 10 -H "X-Dropgate-User: $2" -H "Idempotency-Key: $3" -H 'Content-Type: application/json' \
        -d "$4" "http://$1/v1/sales/$sale/reservations" 2>&1 | grep -v '^Date:'
}
first=$(answer $a ann k1 '{"quantity":2}')
expect_match "a purchase is granted" '201 Created.*"unit_price":4900' "$first"
same() { # same "sentence": on both, also spelt otherwise
    expect_equal "$1" "$first$first" "$(answer $a ann k1 '{"quantity":2}')$(answer $b ann k1 '{ "quantity" : 2 }')"
}
same "the other instance gives the same answer"
expect_match "a body that differs is refused there too" '422 .*key-reused' "$(answer $b ann k1 '{"quantity":1}')"

# Both instances are asked at the same time for a key that neither has seen.
answer $a bob k1 '{"quantity":1}' >"$LAB_DIR/same-a" &
answer $b bob k1 '{"quantity":1}' >"$LAB_DIR/same-b"
wait $!
expect_match "a key that both see first at once is granted once" '201 Created' "$(<"$LAB_DIR/same-a")"
expect_equal "and answered alike" "$(<"$LAB_DIR/same-a")" "$(<"$LAB_DIR/same-b")"
expect_equal "three units are out" 3 "$(sql -c "select total - avail from dropgate.stock where sale = $sale")"
same "a replay of a sold-out sale is the same"

put 3 1 9900
same "it keeps its price, and the limit of its time"
id=$(grep -o '"id":"[^"]*"' <<<"$first" | cut -d'"' -f4)
expect_match "it is cancelled" 204 "$(server curl -sS -m 10 -o /dev/null -w '%{http_code}' -X DELETE -H 'X-Dropgate-User: ann' "http://$b/v1/reservations/$id")"
same "a cancelled one replays the same"
sql -o /dev/null -c "select dropgate_lab.expire_now($sale, 100)"
put 3 1 9900 'clock_timestamp()'
same "so does one of a sale that is over"

proc_stop control-a
proc_stop control-b
pg_stop "$LAB_DIR/postgres"
pg_start "$LAB_DIR/postgres"
start a $a
start b $b
expect "both are up again" until_true 20 eval "is_up $a && is_up $b"
same "after a restart of everything it is still the same"
expect_match "and what was refused is asked anew" '410 .*sale-closed' "$(answer $a eve k1 '{"quantity":1}')"
expect_invariants "$sale"
