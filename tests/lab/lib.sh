# shellcheck shell=bash
# SPDX-License-Identifier: BSD-3-Clause
# Copyright (c) 2026, the Dropgate authors
#
# What a scenario has at hand. A scenario is a file tests/lab/NN_name.sh of some forty lines about one feature:
#
#     # What must hold, in a sentence or two.
#     # limit: 60                             seconds until it is ended; 120 unless it says so
#     . "${0%/*}/lib.sh"
#     needs dataplane control                 started now, or still running from the scenario before
#     sale=$(new_sale 100)                    each scenario sells something of its own
#     expect "a purchase is answered 201" client curl …
#
# Services are started once and shared; a scenario that breaks one stops it at its end, and the next one that needs it
# starts a fresh one. Verdict counters are compared as differences. Logs are in $LAB_DIR/log.

. "$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/scripts/lib/common.sh"
. "$ROOT/scripts/lib/process.sh"
. "$ROOT/scripts/lib/postgres.sh"

BUILD=${DROPGATE_BUILD:-$ROOT/build/release}
TOOLS=$BUILD/tests/lab
# It forks for each connection and hashes what it moves: as released, where there is such a build, it takes a fraction of the time.
TRANSFER=$ROOT/build/release/tests/lab/transfer
[[ -x $TRANSFER ]] || TRANSFER=$TOOLS/transfer
DATAPLANE=$BUILD/dataplane/dropgate-dataplane
CONTROL=$BUILD/control/dropgate-control
LOGS=$LAB_DIR/log
VIP4=198.18.0.80 VIP6=2001:db8::80           # the shop's service, port 80
TRANSFER_PORT=81                             # the same addresses: the transfer server, plain bytes
DRIVER=${DROPGATE_DRIVER:-net_af_xdp}         # or net_af_packet: how the dataplane takes the lab's devices
mkdir -p "$LOGS"

# Sanitizers report to the service's log and end it, so that a finding cannot be overlooked.
export ASAN_OPTIONS=exitcode=99:detect_leaks=1:abort_on_error=0
export LSAN_OPTIONS=suppressions=$ROOT/tests/lab/leaks.supp:print_suppressions=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

# --- where a command runs -------------------------------------------------------------------------------------

client() { ip netns exec "$DROPGATE_LAB-client" "$@"; }
gateway() { ip netns exec "$DROPGATE_LAB-gateway" "$@"; }
server() { ip netns exec "$DROPGATE_LAB-server" "$@"; }

# --- what is seen ---------------------------------------------------------------------------------------------

FAILURES=0

ok() { printf 'ok: %s\n' "$*"; }

fail() { # fail "sentence" [detail]: counted; the scenario goes on
    printf 'not ok: %s\n' "$1"
    [[ -z ${2:-} ]] || printf '%s\n' "$2" | sed 's/^/    /'
    FAILURES=$((FAILURES + 1))
}

expect() { # expect "sentence" CMD…: the command succeeds
    local sentence=$1 output rc=0
    shift
    output=$("$@" 2>&1) || rc=$?
    if ((rc == 0)); then ok "$sentence"; else fail "$sentence" "exit $rc of: $*"$'\n'"$output"; fi
}

expect_equal() { # expect_equal "sentence" WANTED SEEN
    if [[ $2 == "$3" ]]; then ok "$1"; else fail "$1" "wanted: $2"$'\n'"seen:   $3"; fi
}

expect_match() { # expect_match "sentence" REGEX TEXT
    if [[ $3 =~ $2 ]]; then ok "$1"; else fail "$1" "wanted: $2"$'\n'"seen:   $3"; fi
}

expect_at_least() { # expect_at_least "sentence" LIMIT SEEN
    if (($3 >= $2)); then ok "$1 ($3)"; else fail "$1" "wanted at least $2, seen $3"; fi
}

expect_at_most() { # expect_at_most "sentence" LIMIT SEEN
    if (($3 <= $2)); then ok "$1 ($3)"; else fail "$1" "wanted at most $2, seen $3"; fi
}

skip() { # skip "reason": this machine cannot show it
    printf 'skipped: %s\n' "$*"
    FINISHED=yes
    exit 77
}

# until_true SECONDS CMD…: waits until the command succeeds; fails when it does not in time.
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < end)) || return 1
        sleep 0.05
    done
}

# --- the services ---------------------------------------------------------------------------------------------

# A fresh log for each start, with NAME.log leading to the newest.
service_log() {
    local n=1
    while [[ -e $LOGS/$1.$n.log ]]; do n=$((n + 1)); done
    : >"$LOGS/$1.$n.log"
    ln -sfn "$1.$n.log" "$LOGS/$1.log"
    printf '%s' "$LOGS/$1.$n.log"
}

# lab_config NAME OUT: tests/lab/NAME with the places of this lab filled in.
lab_config() {
    sed -e "s|@DSN@|${LEDGER_DSN:-$(pg_dsn "$LAB_DIR/postgres" dropgate_service)}|" -e "s|@LAB@|$DROPGATE_LAB|" \
        -e "s|@DRIVER@|$DRIVER|" "$ROOT/tests/lab/$1" >"$2"
}

# The shared ledger, or the one in LEDGER where a scenario has its own (with LEDGER_DSN for the service).
sql() { psql -XAtqv ON_ERROR_STOP=1 -d "$(pg_dsn "${LEDGER:-$LAB_DIR/postgres}")" "$@"; }

start_postgres() {
    pg_start "$LAB_DIR/postgres" || return 1
    "$ROOT/scripts/migrate" "$(pg_dsn "$LAB_DIR/postgres")" >"$LOGS/migrate.log" 2>&1 || {
        cat "$LOGS/migrate.log"
        return 1
    }
    sql -o /dev/null -f "$ROOT/sql/lab.sql"
}

start_control() { # start_control [CONF]
    local conf=${1:-$LAB_DIR/control.conf}
    [[ -n ${1:-} ]] || lab_config control.conf "$conf"
    proc_stop control
    proc_start control "$(service_log control)" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$conf"
    until_true 20 control_ready || {
        tail -n 20 "$LOGS/control.log"
        return 1
    }
}

control_ready() {
    proc_alive control || return 0 # it has ended: no use in waiting
    server curl -fsS -m 2 -o /dev/null "http://198.18.128.2:8080/readyz"
}

start_dataplane() { # start_dataplane [CONF]
    local conf=${1:-$LAB_DIR/dropgate.conf}
    [[ -n ${1:-} ]] || lab_config dropgate.conf "$conf"
    proc_stop dataplane
    # In production a worker has a processor to itself; here it shares two with everybody, and gets its share first.
    proc_start dataplane "$(service_log dataplane)" ip netns exec "$DROPGATE_LAB-gateway" \
        nice -n -10 "$DATAPLANE" -c "$conf"
    until_true 40 dataplane_ready || return 1
    proc_alive dataplane || {
        tail -n 20 "$LOGS/dataplane.log"
        return 1
    }
}

# Ready when it has learned what each backend that runs can do; until then it offers clients less.
dataplane_ready() {
    local wanted=()
    proc_alive dataplane || return 0 # it has ended: no use in waiting
    if proc_alive control; then wanted+=(shop4 shop6); fi
    if proc_alive transfer; then wanted+=(transfer4 transfer6); fi
    backends_learned "${wanted[@]}"
}

backends_learned() { # backends_learned NAME…: the gateway has probed them since they came up
    telemetry /dropgate/backends | jq -e 'all(.[$ARGS.positional[]]; .learned == 1 and .answering == 1)' --args -- "$@"
}

start_transfer() { # start_transfer [TRANSFER-OPTION…]
    proc_start transfer "$(service_log transfer)" ip netns exec "$DROPGATE_LAB-server" \
        "$TRANSFER" serve --to 198.18.128.2:8081 --to '[2001:db8:0:1::2]:8081' "$@"
    until_true 5 server bash -c ': </dev/tcp/198.18.128.2/8081'
}

# needs SERVICE…: postgres, control, transfer, dataplane, with what each of them needs; left running for the next one.
# Name the dataplane last: it is ready when it knows the backends that run.
needs() {
    local service
    for service in "$@"; do
        case $service in
        postgres) pg__pid "$LAB_DIR/postgres" >/dev/null || start_postgres ;;
        control)
            needs postgres
            proc_alive control || start_control
            ;;
        transfer) proc_alive transfer || start_transfer ;;
        dataplane)
            proc_alive dataplane || start_dataplane
            until_true 20 dataplane_ready
            ;;
        *) die "needs $service: there is no such service" ;;
        esac || {
            fail "$service starts"
            exit 1
        }
    done
}

# --- the dataplane's own account --------------------------------------------------------------------------------

telemetry() { # telemetry /dropgate/verdicts: the answer as JSON
    "$TOOLS/telemetry" "$(telemetry_socket)" "$1"
}

telemetry_socket() { printf '/var/run/dpdk/%s/dpdk_telemetry.v2' "dropgate-$DROPGATE_LAB"; }

verdict() { # verdict NAME: how many packets had it so far
    telemetry /dropgate/verdicts | jq -er ".\"$1\""
}

# --- the ledger's own account -----------------------------------------------------------------------------------

# new_sale UNITS [PER_USER [HOLD]]: opens a sale, waits until the service (SHOP_API) knows it, prints its number.
new_sale() {
    local sale
    sale=$(sql -c "select coalesce(max(id), 0) + 1 from dropgate.sale")
    sql -o /dev/null <<SQL
select dropgate.item_put('item-$sale', 'Item $sale', 'Sold in the laboratory.');
select dropgate.sale_put($sale, 'item-$sale', $1, ${2:-1}, '${3:-10 minutes}', 4900, 'EUR', clock_timestamp(), null);
SQL
    until_true 10 server curl -fsS -m 2 -o /dev/null "http://${SHOP_API:-198.18.128.2:8080}/v1/sales/$sale" ||
        fail "the service knows sale $sale"
    printf '%s' "$sale"
}

# reserve ADDRESS SALE USER KEY [CURL-OPTION…]: one purchase by curl from the client; prints "STATUS BODY".
reserve() {
    local to=$1 sale=$2 user=$3 key=$4 answer
    shift 4
    answer=$(client curl -sS -m 15 -w '\n%{http_code}' -H "X-Dropgate-User: $user" -H "Idempotency-Key: $key" \
        -H 'Content-Type: application/json' -d '{"quantity":1}' "$@" "http://$to/v1/sales/$sale/reservations" 2>&1)
    printf '%s %s' "${answer##*$'\n'}" "${answer%$'\n'*}"
}

# ledger_json SALE: the ledger as history.py reads it, in one look.
ledger_json() {
    sql <<SQL
select json_build_object('sale', s.id, 'total', k.total, 'avail', k.avail, 'per_user', s.per_user_highest,
    'opens_at', (extract(epoch from s.opens_at) * 1000000)::bigint, 'rows', coalesce((
    select json_agg(json_build_object('id', r.id, 'user', r.user_id, 'quantity', r.quantity, 'state', r.state,
        'granted', r.granted_entry, 'released', r.released_entry,
        'granted_at', (extract(epoch from r.granted_at) * 1000000)::bigint,
        'expires_at', (extract(epoch from r.expires_at) * 1000000)::bigint)) from dropgate.reservation r where r.sale = s.id), '[]'))
from dropgate.sale s join dropgate.stock k on k.sale = s.id where s.id = $1
SQL
}

# expect_history SALE FILE…: what shoppers were told is what the ledger holds.
expect_history() {
    local sale=$1 report
    shift
    ledger_json "$sale" >"$LAB_DIR/ledger-$sale.json"
    report=$("$ROOT/tests/lab/history.py" "$LAB_DIR/ledger-$sale.json" "$@") &&
        ok "every shopper was told what the ledger of sale $sale holds" ||
        fail "every shopper was told what the ledger of sale $sale holds" "$report"
}

# ledger_invariants SALE: the row of sql/invariants.sql for that sale, as JSON.
ledger_invariants() {
    sql -c "select row_to_json(i) from ($(sed -e 's/;[[:space:]]*$//' "$ROOT/sql/invariants.sql")
        ) i where i.sale = $1"
}

expect_invariants() { # expect_invariants SALE: every invariant that the ledger can tell holds, and its events say the same
    local row
    row=$(ledger_invariants "$1")
    if [[ $(jq -r .ok <<<"$row") == true ]]; then
        ok "the ledger's invariants hold for sale $1"
    else
        fail "the ledger's invariants hold for sale $1" "$row"
    fi
    row=$(sql -c "select row_to_json(e) from ($(sed -e 's/;[[:space:]]*$//' "$ROOT/sql/events.sql")
        ) e where e.sale = $1")
    if [[ $(jq -r .ok <<<"$row") == true ]]; then
        ok "the outbox tells the story of sale $1"
    else
        fail "the outbox tells the story of sale $1" "$row"
    fi
}

# --- the flood --------------------------------------------------------------------------------------------------

# end_left_over: what an earlier crowd of clients has left is still being closed: thousands of connections that send FINs.
# Their kernel is told when the next device has no room, tries again every half second, all of them in step, and gives up
# after ten times: a shopper's SYN among them would share that fate (TCPRetransFail, TCPAbortOnTimeout). No real line says so.
# A kernel that cannot end them (INET_DIAG_DESTROY) is waited for.
end_left_over() {
    client ss -HtnK state fin-wait-1 state last-ack >/dev/null 2>&1 || true
    until_true 60 nothing_left_over || true
}
nothing_left_over() { [[ -z $(client ss -Htn state fin-wait-1 state last-ack) ]]; }

# start_flood [FLOOD-OPTION…]: spoofed SYNs to the shop's service, counted where they are sent, where they are answered
# and where the backend would see them. It gives way to all others: what it takes from them on two processors would be
# the machine's failure, not the gateway's.
start_flood() {
    local netns="ip netns exec $DROPGATE_LAB"
    proc_start witness-server "$LOGS/witness-server.log" $netns-server "$TOOLS/witness" dgs0 from-flood
    proc_start witness-client "$LOGS/witness-client.log" $netns-client "$TOOLS/witness" dgc0 answers-to-flood
    until_true 5 test -s "$LOGS/witness-server.log" -a -s "$LOGS/witness-client.log"
    proc_start flood "$LOGS/flood.log" $netns-client nice -n 10 "$TOOLS/flood" --device dgc0 \
        --mac "$(gateway cat /sys/class/net/dgo/address)" --to "$VIP4:80" --to "[$VIP6]:80" "$@"
    until_true 5 test -s "$LOGS/flood.log"
    # A kernel that groups processes by session (sched_autogroup) weighs the groups first, and nice only counts within one.
    { echo 10 >"/proc/$(proc_pid flood)/autogroup"; } 2>/dev/null || true
}

# stop_flood: ends it; sets FLOOD_SENT, FLOOD_ANSWERED and FLOOD_REACHED.
stop_flood() {
    proc_stop flood
    proc_stop witness-client
    proc_stop witness-server
    FLOOD_SENT=$(tail -n 1 "$LOGS/flood.log" | jq .sent)
    FLOOD_ANSWERED=$(tail -n 1 "$LOGS/witness-client.log" | jq .packets)
    FLOOD_REACHED=$(tail -n 1 "$LOGS/witness-server.log" | jq .packets)
    printf 'flood: sent %s, answered %s, reached the backend %s\n' "$FLOOD_SENT" "$FLOOD_ANSWERED" "$FLOOD_REACHED"
}

# --- the bad line -----------------------------------------------------------------------------------------------

# relay_in [RELAY-OPTION…]: the relay (tools/relay_options.h) goes between client and gateway, which need not notice;
# `forward` is towards the gateway. Again with other options: the same relay, started anew. cleanup() calls relay_out.
relay_in() {
    proc_stop relay
    [[ -e /run/netns/$DROPGATE_LAB-relay ]] || "$ROOT/scripts/lab" relay in
    relay__start relay dgr0 dgr1 "$@"
}

relay__start() { # relay__start NAME DEVICE DEVICE [RELAY-OPTION…]
    local name=$1
    : >"$LOGS/$name.log"
    proc_start "$name" "$LOGS/$name.log" ip netns exec "$DROPGATE_LAB-relay" nice -n -5 "$TOOLS/relay" "${@:2}"
    until_true 5 grep -q ready "$LOGS/$name.log" || fail "the relay starts" "$(<"$LOGS/$name.log")"
}

# relay_stop: ends the program, so that nothing passes; RELAYED is what it counted, as JSON.
relay_stop() {
    proc_stop relay
    RELAYED=$(tail -n 1 "$LOGS/relay.log")
}

# relay_out: the line is as it was before relay_in.
relay_out() {
    relay_stop
    proc_stop relay-direct
    "$ROOT/scripts/lab" relay out
}

# --- the end ------------------------------------------------------------------------------------------------------

FINISHED=no
lab__finish() {
    local rc=$?
    if declare -F cleanup >/dev/null; then cleanup; fi # a scenario may define it
    if ((rc == 77)) && [[ $FINISHED == yes ]]; then exit 77; fi
    ((rc == 0)) || printf 'not ok: died at line %s (exit %d)\n' "${LAST_LINE:-?}" "$rc"
    ((rc == 0 && FAILURES == 0)) || exit 1
}

# Only scenarios end this way; the demo and the runner have ends of their own.
if [[ $0 == */tests/lab/[0-9]*.sh ]]; then
    set -E
    trap 'LAST_LINE=$LINENO' ERR
    trap lab__finish EXIT
fi
