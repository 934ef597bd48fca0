# SPDX-License-Identifier: BSD-3-Clause
# limit: 300
# Payments, with two instances before one ledger and a provider over TLS that does all that providers do: shoppers pay in sixteen
# ways while an instance dies at each step of a payment (in a build with failpoints; else at any time). At the end the provider's books
# and the ledger's are the same.
. "${0%/*}/lib.sh"
needs postgres
dir=$LAB_DIR/payments
rm -rf "$dir"
mkdir -p "$dir"
cleanup() {
    proc_stop pay-1
    proc_stop pay-2
    proc_stop provider
}
umask 077
openssl rand -hex 24 >"$dir/key"
openssl rand -hex 24 >"$dir/secret"
openssl rand -hex 24 >"$dir/secret-new"
for name in ours other; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$name" -addext 'subjectAltName=IP:198.18.128.2' \
        -keyout "$dir/$name.key" -out "$dir/$name.pem" 2>"$LOGS/payments-openssl.log"
done

# configure NUMBER CA: instance 1 listens on port 8091, and so on
configure() {
    cat >"$dir/$1.conf" <<CONF
[control]
listen = 198.18.128.2:809$1
network_threads = 1
ledger_threads = 1
identity = header
[database]
dsn = $(pg_dsn "$LAB_DIR/postgres" dropgate_service)
[payment]
provider = http
base_url = https://198.18.128.2:8099/v1
credentials = $dir/key
ca_file = $dir/$2.pem
webhook_secret = $dir/secret-new
webhook_secret_old = $dir/secret
timeout = 1s
patience = 4s
reconcile = 200ms
CONF
}
crasher=$ROOT/build/faults/control/dropgate-control
[[ -x $crasher ]] || crasher=''
start() { # start NUMBER [FAILPOINT]
    local program=$CONTROL
    [[ -z ${2:-} ]] || program=$crasher
    proc_start "pay-$1" "$(service_log "pay-$1")" ip netns exec "$DROPGATE_LAB-server" env DROPGATE_FAILPOINTS="${2:-}" \
        "$program" -c "$dir/$1.conf"
}
ready() { server curl -fsS -m 2 -o /dev/null "http://198.18.128.2:809$1/readyz"; }
api=http://198.18.128.2:8091
call() { # call KEY METHOD PATH [BODY [CURL-OPTION…]]: "STATUS BODY"
    local answer
    answer=$(server curl -sS -m 10 -w '\n%{http_code}' -H 'X-Dropgate-User: ann' -H "Idempotency-Key: $1" -X "$2" ${4:+--json "$4"} "${@:5}" "$api$3" 2>&1)
    printf '%s %s' "${answer##*$'\n'}" "${answer%$'\n'*}"
}
event() { # event BODY [SECRET-FILE [AGE]]: a webhook, signed
    local at=$(($(date +%s) - ${3:-0}))
    call - POST /v1/payments/webhook "$1" -H "Dropgate-Signature: t=$at,v1=$(printf %s "$at.$1" | openssl dgst -sha256 -mac HMAC \
        -macopt "key:$(<"${2:-$dir/secret}")" -r | cut -d' ' -f1)"
}

# --- one by one ---
configure 1 other
proc_start provider "$LOGS/provider.log" ip netns exec "$DROPGATE_LAB-server" "$ROOT/tests/provider/simulator.py" --listen 198.18.128.2:8099 \
    --key "$dir/key" --tls "$dir/ours.pem" "$dir/ours.key" --webhook http://198.18.128.2:8091/v1/payments/webhook \
    --webhook http://198.18.128.2:8092/v1/payments/webhook --secret "$dir/secret"
start 1
expect "an instance and the provider start" until_true 20 eval 'ready 1 && grep -q ready "$LOGS/provider.log"'
sale=$(sql -c "select coalesce(max(id), 0) + 1 from dropgate.sale")
sql -o /dev/null -c "select dropgate.item_put('paid', 'Thing', ''); select dropgate.sale_put($sale, 'paid', 400, 9, '10 minutes', 4900, 'EUR', clock_timestamp())"
known() { server curl -fsS -m 2 -o /dev/null "$api/v1/sales/$sale"; }
expect "its sale is known" until_true 5 known
reserved() { call "$1" POST "/v1/sales/$sale/reservations" '{"quantity":1}' | cut -d' ' -f2- | jq -r .id; }
id=$(reserved r1)
expect_match "a provider whose certificate is not trusted is sent nothing" '^202 .*"state":"pending"' "$(call p1 POST "/v1/reservations/$id/payment" '{"method":"ok"}')"
expect_match "which is told in the log" provider_certificate "$(<"$LOGS/pay-1.log")"
expect_equal "it has heard of nothing" '{}' "$(server curl -sSk https://198.18.128.2:8099/_books)"
kill -TERM "$(proc_pid pay-1)"
rc=0
proc_wait pay-1 || rc=$?
expect_equal "SIGTERM ends the instance with 0" 0 "$rc"
configure 1 ours
configure 2 ours
start 1
start 2
expect "two instances are ready" until_true 20 eval 'ready 1 && ready 2'

pay="/v1/reservations/$id/payment"
expect_match "the same key pays on" '^200 \{"reservation":"'"$id"'","state":"paid","amount":4900,"currency":"EUR"\}' "$(call p1 POST "$pay" '{"method":"ok"}')"
expect_match "and is told so again by another instance" '^200 .*"paid"' "$(api=http://198.18.128.2:8092 call p1 POST "$pay" '{"method":"ok"}')"
expect_match "the same key with another method is refused" '^422 .*key-reused' "$(call p1 POST "$pay" '{"method":"decline"}')"
expect_match "another key finds it paid" '^409 .*wrong-state' "$(call p2 POST "$pay" '{"method":"ok"}')"
expect_match "the reservation is paid" '^200 .*"state":"paid"' "$(call - GET "/v1/reservations/$id")"
id=$(reserved r2) pay="/v1/reservations/$id/payment"
expect_match "a payment needs a key" '^400 .*missing-key' "$(call '' POST "$pay" '{"method":"ok"}')"
expect_match "and exactly a method" '^400 .*bad-body.*method' "$(call p1 POST "$pay" '{"methods":"ok"}')"
expect_match "a refusal has its reason" '^402 .*payment-declined.*"reason":"insufficient_funds"' "$(call p1 POST "$pay" '{"method":"decline"}')"
expect_match "and leaves the hold" '^200 .*"state":"held"' "$(call - GET "/v1/reservations/$id")"
expect_match "another key may send the shopper to the bank" '^202 .*"state":"requires_action".*"action":"https://bank.example/' "$(call p2 POST "$pay" '{"method":"action"}')"
expect_match "meanwhile it cannot be cancelled" '^409 ' "$(call - DELETE "/v1/reservations/$id")"
is_paid() { [[ $(call - GET "/v1/reservations/$id") == *'"state":"paid"'* ]]; }
expect "after the bank it is paid, though nobody asks" until_true 15 is_paid
expect_match "nobody pays for what is not there" '^404 .*no-such-reservation' "$(call p1 POST "/v1/reservations/00000000-0000-0000-0000-000000000001/payment" '{"method":"ok"}')"
id=$(reserved r3)
sql -o /dev/null -c "select dropgate_lab.expire_now($sale, 10)"
expect_match "nor for what is over" '^410 .*reservation-expired' "$(call p1 POST "/v1/reservations/$id/payment" '{"method":"ok"}')"

# --- webhooks ---
body='{"id":"e-1","type":"captured","attempt":"00000000-0000-0000-0000-000000000001","more":{}}'
expect_equal "an event that is signed is taken" '204 ' "$(event "$body")"
expect_equal "twice" '204 ' "$(event "$body")"
expect_equal "and under the other secret" '204 ' "$(event "$body" "$dir/secret-new")"
expect_match "under none it is refused" '^400 .*bad-signature' "$(event "$body" "$dir/key")"
expect_match "so is an old one" '^400 .*bad-signature.*time' "$(event "$body" "$dir/secret" 301)"
expect_match "and one without a signature" '^400 .*bad-signature' "$(call - POST /v1/payments/webhook "$body")"
expect_match "what is signed must be an event" '^400 .*bad-body' "$(event '{"id":"e-2"}')"
expect_equal "each event is kept once" 1 "$(sql -c "select count(*) from dropgate.payment_event where event = 'e-1'")"

# --- all at once ---
proc_start pay-crowd "$LOGS/pay-crowd.log" ip netns exec "$DROPGATE_LAB-server" "$ROOT/tests/provider/crowd.py" --sale "$sale" --shoppers 160 \
    --within 8 --deadline 120 http://198.18.128.2:8091 http://198.18.128.2:8092
dead() { ! proc_alive pay-1; }
for place in begun authorised claimed captured voided refunded; do
    kill -KILL "$(proc_pid pay-1)"
    proc_wait pay-1 2>/dev/null || true
    if [[ -n $crasher ]]; then
        start 1 "payment.$place=abort:2"
        expect "an instance dies behind payment.$place" until_true 60 dead
        proc_wait pay-1 2>/dev/null || true
    else
        sleep 1
        kill -KILL "$(proc_pid pay-2)"
        proc_wait pay-2 2>/dev/null || true
        start 2
    fi
    start 1
done
proc_wait pay-crowd || fail "the shoppers end" "$(<"$LOGS/pay-crowd.log")"
cat "$LOGS/pay-crowd.log"
expect_equal "every shopper was told how it ended" 0 "$(jq .unanswered "$LOGS/pay-crowd.log")"
at_rest() { [[ $(sql -c "select count(*) from dropgate.payment where state not in ('captured', 'declined', 'voided', 'refunded') or check_at < clock_timestamp() + interval '1 minute'") == 0 ]]; }
told() { [[ $(server curl -sSk https://198.18.128.2:8099/_under_way | jq .under_way) == 0 ]]; }
expect "the provider has decided and told everything" until_true 60 told
expect "everything comes to an end" until_true 90 at_rest
same_books() {
    sql -c "select coalesce(json_agg(json_build_object('attempt', p.attempt, 'state', p.state, 'amount', p.amount,
        'reservation', (select r.state from dropgate.reservation r where r.id = p.placed))), '[]') from dropgate.payment p" >"$dir/ledger.json"
    server curl -sSk https://198.18.128.2:8099/_books >"$dir/books.json"
    "$ROOT/tests/provider/books.py" "$dir/books.json" "$dir/ledger.json"
}
until_true 20 same_books || true # an event may still be under way
books=$(same_books) && ok "the books are the same: $books" || fail "the books are the same" "$books"
expect_at_least "shoppers have paid" 70 "$(jq .paid "$LOGS/pay-crowd.log")"
expect_equal "each who was told so has a paid reservation" 0 "$(($(jq .paid "$LOGS/pay-crowd.log") > $(sql -c "select count(*) from dropgate.reservation where state = 'paid' and user_id like 'shopper-%' and sale = $sale")))"
expect_equal "each refund was asked for once" "$(sql -c "select count(*) from dropgate.payment where state = 'refunded'")" \
    "$(sql -c "select count(*) from dropgate.outbox where kind = 'payment.refund' and sale = $sale")"
expect_at_least "some of them" 1 "$(sql -c "select count(*) from dropgate.payment where state = 'refunded'")"
expect_invariants "$sale"
