# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# The purchase service by itself: what each call answers, and what raw sockets can do to it. It runs beside the usual
# one, in the server's namespace, with short time-outs and few connections.
. "${0%/*}/lib.sh"
needs postgres
lab_config control_http.conf "$LAB_DIR/control_http.conf"
cleanup() { proc_stop control-http; }
proc_start control-http "$(service_log control-http)" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$LAB_DIR/control_http.conf"
up() { server curl -fsS -m 2 -o /dev/null http://198.18.128.2:8090/readyz; }
expect "the service is ready" until_true 20 up

api4=http://198.18.128.2:8090 api6='http://[2001:db8:0:1::2]:8090'
# call USER KEY METHOD PATH [BODY [CURL-OPTION…]]: "STATUS BODY", from the family that $api names
api=$api4
call() {
    local user=$1 key=$2 method=$3 path=$4 body=${5:-} answer
    shift "$(($# < 5 ? 4 : 5))"
    local options=(-H "X-Dropgate-User: $user" -X "$method")
    [[ -z $key ]] || options+=(-H "Idempotency-Key: $key")
    [[ -z $body ]] || options+=(-H 'Content-Type: application/json' -d "$body")
    answer=$(server curl -g -sS -m 10 -w '\n%{http_code}' "${options[@]}" "$@" "$api$path" 2>&1)
    printf '%s %s' "${answer##*$'\n'}" "${answer%$'\n'*}"
}
buy() { call "$1" "$2" POST "/v1/sales/$sale/reservations" "{\"quantity\":$3}"; }
field() { jq -r ".$1" <<<"${2#* }"; }
put_sale() { # put_sale SALE TOTAL PER_USER HOLD OPENS_AT [CLOSES_AT]
    sql -o /dev/null -c "select dropgate.item_put('http', 'A \"thing\"', 'Words.');
        select dropgate.sale_put($1, 'http', $2, $3, '$4', 4900, 'EUR', $5, ${6:-null})"
}
known() { [[ $(call - '' GET "/v1/sales/$1") == 200* ]]; }

sale=$(sql -c "select coalesce(max(id), 0) + 1 from dropgate.sale")
put_sale "$sale" 5 3 '10 minutes' 'clock_timestamp()'
expect "a new sale is known without a restart" until_true 5 known "$sale"

# --- buying ---
first=$(buy ann k1 2)
expect_match "a purchase is granted" '^201 \{"id":"[0-9a-f-]{36}","sale":[0-9]+,"quantity":2,"unit_price":4900,"currency":"EUR","granted_at"' "$first"
expect_equal "the same key gets the same bytes" "$first" "$(buy ann k1 2)"
api=$api6
expect_equal "over IPv6 as well" "$first" "$(buy ann k1 2)"
expect_equal "quoted or not, it is the same key" "$first" "$(buy ann '"k1"' 2)"
api=$api4
expect_match "the same key with another body is refused" '^422 .*key-reused' "$(buy ann k1 1)"
expect_match "another user's same key is another purchase" '^201 ' "$(buy bob k1 1)"
expect_match "the limit per user holds over keys" '^409 .*limit-reached' "$(buy ann k2 2)"
expect_match "what does not fit is told apart from sold out" '^409 .*insufficient-stock' "$(buy cid k1 3)"
expect_match "and a smaller wish is granted" '^201 ' "$(buy cid k2 2)"
expect_match "then it is sold out, and may come back" '^409 .*sold-out.*held' "$(buy dan k1 1)"
expect_equal "a replay is a replay even then" "$first" "$(buy ann k1 2)"
retry=$(server curl -sS -m 10 -o /dev/null -w '%header{retry-after} %header{cache-control}' -H 'X-Dropgate-User: dan' -H 'Idempotency-Key: k1' \
    -H 'Content-Type: application/json' -d '{"quantity":1}' "$api/v1/sales/$sale/reservations")
expect_match "with a time to come back, and never to be cached" '^[1-9] no-store$' "$retry"

# --- reading and cancelling ---
id=$(field id "$first")
expect_match "its owner reads it, with its state" '^200 .*"state":"held"' "$(call ann '' GET "/v1/reservations/$id")"
expect_match "another user does not" '^404 .*no-such-reservation' "$(call bob '' GET "/v1/reservations/$id")"
expect_match "nor cancel it" '^404 ' "$(call bob '' DELETE "/v1/reservations/$id")"
expect_equal "its owner cancels it" "204 " "$(call ann '' DELETE "/v1/reservations/$id")"
expect_equal "again, without harm" "204 " "$(call ann '' DELETE "/v1/reservations/$id")"
expect_match "it reads as cancelled" '^200 .*"state":"cancelled"' "$(call ann '' GET "/v1/reservations/$id")"
expect_equal "its replay is still the same bytes" "$first" "$(buy ann k1 2)"
expect_match "its stock is there at once" '^201 ' "$(buy dan k1 2)"
expect_invariants "$sale"

# --- expiry ---
sql -o /dev/null -c "select dropgate_lab.expire_now($sale, 100)"
expect_match "what fell due is sold again" '^201 ' "$(buy eve k1 3)"
sql -o /dev/null -c "select dropgate_lab.expire_now($sale, 100)"
returned() { [[ $(sql -c "select held = 0 and avail = total from dropgate.stock where sale = $sale") == t ]]; }
expect "holds that fall due are released though nobody asks" until_true 10 returned
expect_invariants "$sale"

# --- when ---
put_sale $((sale + 1)) 5 1 '1 minute' "clock_timestamp() + interval '1 hour'"
put_sale $((sale + 2)) 5 1 '1 minute' "clock_timestamp() - interval '2 hours'" "clock_timestamp() - interval '1 hour'"
expect "the next sales are known" until_true 5 known $((sale + 2))
sale=$((sale + 1))
expect_match "a sale that is not open says when it will be" '^403 .*not-open.*"opens_at":"20' "$(buy ann k1 1)"
put_sale "$sale" 5 1 '1 minute' 'clock_timestamp()'
opened() { [[ $(buy ann k2 1) == 201* ]]; }
expect "an opening that is brought forward takes effect" until_true 5 opened
sale=$((sale + 1))
expect_match "a sale that is over is gone" '^410 .*sale-closed' "$(buy ann k1 1)"

# --- the catalogue ---
tag=$(server curl -sS -m 10 -o /dev/null -w '%header{etag}' "$api/v1/items/http")
expect_match "an item is served with a tag" '^"[0-9a-f]{32}"$' "$tag"
expect_match "whoever has it is told so" '^304 ' "$(call - '' GET /v1/items/http '' -H "If-None-Match: \"x\", W/$tag")"
sql -o /dev/null -c "select dropgate.item_put('http', 'Another', 'Words.')"
renamed() { [[ $(call - '' GET /v1/items/http) == *Another* ]]; }
expect "an edit shows at once" until_true 2 renamed

# --- raw sockets ---
sale=$(sql -c "select max(id) + 1 from dropgate.sale")
put_sale "$sale" 1000 3 '10 minutes' 'clock_timestamp()'
expect "the last sale is known" until_true 5 known "$sale"
for host in 198.18.128.2 2001:db8:0:1::2; do
    if server "$ROOT/tests/lab/control_http.py" "$host" 8090 "$sale" >"$LOGS/control_http.out" 2>&1; then
        ok "$(grep -c '^ok' "$LOGS/control_http.out") checks with raw sockets hold on $host"
    else
        fail "every check with raw sockets holds on $host" "$(grep -v '^ok' "$LOGS/control_http.out")"
    fi
done
expect_invariants "$sale"

# --- the end ---
pid=$(proc_pid control-http)
kill -TERM "$pid"
rc=0
proc_wait control-http || rc=$?
expect_equal "SIGTERM ends it with 0" 0 "$rc"
