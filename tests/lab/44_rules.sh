# SPDX-License-Identifier: BSD-3-Clause
# What operators say of a sale holds at the gateway and in the purchase service, from the moment of SIGHUP on: sold out, nothing
# reaches the backend, however the path is spelled; reopened, the next request does; what is upcoming opens by itself; and
# no more is let through than a rule admits.
. "${0%/*}/lib.sh"
cleanup() { proc_stop dataplane; proc_stop control; } # the next scenario starts them with their usual configuration
needs postgres

work=$LAB_DIR/rules
rm -rf "$work"; mkdir -p "$work"
lab_config dropgate.conf "$work/dropgate.base"
lab_config control.conf "$work/control.base"

# say PROGRAM [RULE…]: its configuration with these rules, put in force by SIGHUP if it runs.
say_rules() {
    local program=$1 name log
    shift
    name=$program; [[ $program == dropgate ]] && name=dataplane
    { cat "$work/$program.base"; printf '%b\n' "$@"; } >"$work/$program.conf"
    proc_alive "$name" || return 0
    log=$(realpath "$LOGS/$name.log")
    local before; before=$(grep -c '"event":"reload"' "$log" || true)
    kill -HUP "$(proc_pid "$name")"
    until_true 10 reloaded "$log" "$before" || fail "$program reads its rules again" "$(tail -n 5 "$log")"
}
reloaded() { (($(grep -c '"event":"reload"' "$1") > $2)); }
rule_of() { telemetry "/dropgate/rules,$1" | jq -r ".$2"; } # rule_of NAME WHAT
# What the backend has seen of it, by its own count, which it tells when it is sent SIGHUP.
backend_saw() {
    say_rules control "$seen" >/dev/null
    grep -o 'rule seen: [0-9]* passed' "$LOGS/control.log" | tail -n 1 | tr -dc 0-9
}
seen='[rule seen]\npath = /v1/sales\nstate = open'

say_rules control "$seen"
say_rules dropgate
start_control "$work/control.conf" && start_dataplane "$work/dropgate.conf" || { fail "both start"; exit 1; }
sale=$(new_sale 1000 1000)
path=/v1/sales/$sale/reservations
sale_rule="[rule sale]\nmethods = POST\npath = /v1/sales/$sale\n"
buy() { reserve "$VIP4" "$sale" ann "$@"; }

# --- sold out, and reopened ---
expect_match "before there is a rule, a purchase is granted" '^201 ' "$(buy key-1)"
say_rules dropgate "${sale_rule}state = sold_out"
before=$(backend_saw) opened=$(verdict opened)
expect_match "sold out at the gateway is 409" '^409 .*problems/sold-out' "$(buy key-2)"
expect_match "over IPv6, too" '^409 .*problems/sold-out' "$(reserve "[$VIP6]" "$sale" ann key-2)"
for spelled in "/v1/%73ales/$sale/reservations" "//v1/sales/$sale/reservations" "/v1/./sales/$sale/reservations" \
    "/x/../v1/sales/$sale/reservations" "/v1/sales/$sale;a/reservations" "/v1%2Fsales/$sale/reservations"; do
    expect_equal "spelled $spelled, too" 409 "$(client curl -sS -m 10 --path-as-is -o /dev/null -w '%{http_code}' \
        -X POST "http://$VIP4$spelled")"
done
expect_equal "other methods pass" 200 "$(client curl -sS -m 10 -o /dev/null -w '%{http_code}' "http://$VIP4/v1/sales/$sale")"
expect_equal "nothing else has reached the backend" $((before + 1)) "$(backend_saw)"
expect_equal "nor has a flow been opened for it" 1 $(($(verdict opened) - opened))
expect_at_least "each is counted by its rule" 8 "$(rule_of sale refused)"
say_rules dropgate "${sale_rule}state = open"
expect_match "reopened, the next one is granted" '^201 ' "$(buy key-2)"
say_rules dropgate "${sale_rule}state = closed\nmode = observe"
expect_match "observed, it is let through" '^201 ' "$(buy key-3)"
expect_at_least "and counted" 1 "$(verdict rule_closed_observed)"

# --- the same in the purchase service ---
say_rules dropgate
say_rules control "${sale_rule}state = sold_out"
expect_match "sold out in the service is the same answer" '^409 .*problems/sold-out' "$(buy key-4)"
say_rules control "${sale_rule}state = closed"
expect_match "closed is 410" '^410 .*problems/sale-closed' "$(buy key-4)"
expect_equal "whoever watches the process is answered" 200 \
    "$(server curl -sS -m 5 -o /dev/null -w '%{http_code}' http://198.18.128.2:8080/healthz)"
say_rules control "${sale_rule}state = open"
expect_match "reopened, the next one is granted" '^201 ' "$(buy key-4)"

# --- upcoming ---
at=$(($(date +%s) + 3))
upcoming="state = upcoming\nopens_at = $(date -u -d "@$at" +%Y-%m-%dT%H:%M:%SZ)"
say_rules control "$sale_rule$upcoming"
say_rules dropgate "$sale_rule$upcoming"
early=$(buy key-5 -D "$work/head")
if (($(date +%s) < at)); then
    expect_match "before its time it is 403, with the time" \
        "^403 .*problems/not-open.*\"opens_at\":\"$(date -u -d "@$at" +%Y-%m-%dT%H:%M:%S)" "$early"
    retry=$(sed -n 's/^[Rr]etry-[Aa]fter: \([0-9]*\).*/\1/p' "$work/head")
    expect_at_most "and seconds to wait" 7 "${retry:-99}"
fi
granted() { [[ $(buy key-5) == 201* ]]; }
expect "it opens by itself" until_true 15 granted
expect_at_least "and not before" "$at" "$(date +%s)"

# --- a rate ---
say_rules control "$seen" # from here on the service lets all pass
say_rules dropgate "[rule rate]\npath = /v1/sales\nadmit_per_second = 100\nburst = 100"
backend=$(backend_saw) begin=$(date +%s%N)
client wrk -t1 -c16 -d3 "http://$VIP4/v1/sales/$sale" >"$work/wrk"
passed=$(rule_of rate passed) end=$(date +%s%N) over=$(rule_of rate over_rate)
most=$((100 + 100 * (end - begin) / 1000000000))
expect_at_most "no more than bucket and rate are let through" "$most" "$passed"
expect_at_least "and not much fewer" $((most / 2)) "$passed"
saw=$(($(backend_saw) - backend)) # but for what wrk did not wait for,
passed=$(rule_of rate passed)     # of which some was still to come
expect_at_most "no more reach the backend" "$passed" "$saw"
expect_at_least "and not fewer" $((passed - 16)) "$saw"
expect_at_least "the others are refused" 50 "$over"
say_rules dropgate "[rule rate]\npath = /v1/sales\nadmit_per_second = 1"
for _ in 1 2 3; do client curl -sS -m 10 -D - -o /dev/null "http://$VIP4/v1/sales/$sale"; done >"$work/heads"
expect_match "with 503 and a time to come again" $'HTTP/1.1 503.*Retry-After: [1-9]' "$(<"$work/heads")"

# --- mistakes change nothing ---
{ cat "$work/dropgate.base"; printf '[rule bad]\nstate = upcoming\n'; } >"$work/dropgate.conf"
kill -HUP "$(proc_pid dataplane)"
refused() { grep -q 'reload_refused.*state = upcoming: opens_at is missing' "$LOGS/dataplane.log"; }
expect "a rule that says too little is refused with its line" until_true 10 refused
expect_equal "and the rules of before stay" open "$(rule_of rate state)"
expect_invariants "$sale"
