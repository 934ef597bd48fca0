# SPDX-License-Identifier: BSD-3-Clause
# limit: 240
# Two instances of the purchase service behind the gateway. First 200 shoppers arrive each second while one instance is killed
# every few seconds: everything is sold once, and whoever asks again with the same key gets an answer, the same bytes from either.
# Then each is ended by SIGTERM under the same load: no shopper's connection notices.
. "${0%/*}/lib.sh"
needs postgres
port=([1]=8082 [2]=8083)
SHOP_API=198.18.128.2:${port[1]}
conf=$LAB_DIR/instances.conf
cleanup() {
    proc_stop shoppers
    proc_stop instance-1
    proc_stop instance-2
    proc_stop dataplane # its configuration is none of the others'
}

for n in 1 2; do
    lab_config control.conf "$LAB_DIR/instance-$n.conf"
    sed -i -e "s/:8080/:${port[$n]}/g" -e 's/^identity = .*/&\ndrain_notice = 1s/' "$LAB_DIR/instance-$n.conf"
done
start_instance() {
    proc_start "instance-$1" "$(service_log "instance-$1")" ip netns exec "$DROPGATE_LAB-server" "$CONTROL" -c "$LAB_DIR/instance-$1.conf"
}
ready() { server curl -fsS -m 2 -o /dev/null "http://198.18.128.2:${port[$1]}/readyz"; }
lab_config dropgate.conf "$conf"
sed -i -e '/^\[service shop\]/,$d' "$conf"
for n in 1 2; do
    printf '[backend a%d]\naddress = 198.18.128.2:%d\n[backend b%d]\naddress = [2001:db8:0:1::2]:%d\n' \
        $n "${port[$n]}" $n "${port[$n]}" >>"$conf"
done
printf '[service shop]\nlisten = %s:80, [%s]:80\nbackends = a1, a2, b1, b2\n' $VIP4 $VIP6 >>"$conf"
for n in 1 2; do start_instance $n; done
for n in 1 2; do until_true 20 ready $n || fail "instance $n starts"; done
start_dataplane "$conf" || fail "the gateway starts"
until_true 20 backends_learned a1 a2 b1 b2 || fail "the gateway knows both"

crowd() { # crowd NAME SALE SHOPPERS SECONDS [OPTION…]: evenly, as the lab's clients
    proc_start shoppers "$LOGS/shoppers-$1.log" ip netns exec "$DROPGATE_LAB-client" "$TOOLS/shoppers" \
        --to "$VIP4:80" --to "[$VIP6]:80" --sale "$2" --shoppers "$3" --within "$4" --evenly --prefix "$1-" \
        --history "$LAB_DIR/history-$1.jsonl" --deadline 100 "${@:5}"
}
at() { jq -se --argjson t "$2" 'last | (.seconds // 1e9) >= $t' "$LOGS/shoppers-$1.log"; }
settled() { tail -n 1 "$LOGS/shoppers-$1.log" | jq -e '.settled != false'; }
finish() { # finish NAME SALE: all are answered, all is sold, and the ledger holds what they were told
    local result
    until_true 60 settled "$1" || fail "$1: shoppers come to an end"
    kill -USR1 "$(proc_pid shoppers)"
    proc_wait shoppers || fail "$1: every shopper got an answer" "$(tail -n 1 "$LOGS/shoppers-$1.log")"
    result=$(tail -n 1 "$LOGS/shoppers-$1.log" | jq -c .result)
    printf '%s\n' "$result"
    expect_equal "$1: nobody was left without an answer" 0 "$(jq .failed <<<"$result")"
    expect_equal "$1: no replay read differently" 0 "$(jq .changed_replays <<<"$result")"
    expect_equal "$1: everything was sold" 0 "$(sql -c "select avail from dropgate.stock where sale = $2")"
    expect_history "$2" "$LAB_DIR/history-$1.jsonl"
    expect_invariants "$2"
}

sale=$(new_sale 3000)
crowd killed "$sale" 3600 18 --replay 20 --cancel 10
open=0
for second in 3 6 10 13; do
    until_true 40 at killed $second || fail "second $second of the sale"
    n=$((1 + open % 2))
    proc_stop "instance-$n" KILL 2>>"$LOGS/kills.log"
    (($(sql -c "select avail from dropgate.stock where sale = $sale") == 0)) || open=$((open + 1))
    start_instance $n
done
expect_equal "an instance was killed four times while stock was there" 4 "$open"
finish killed "$sale"
expect_at_least "each was at work" 500 "$(telemetry /dropgate/backends | jq '[.a1.opened + .b1.opened, .a2.opened + .b2.opened] | min')"
for n in 1 2; do until_true 20 ready $n || fail "instance $n is back"; done
until_true 20 backends_learned a1 a2 b1 b2 || fail "the gateway knows that both are back"

sale=$(new_sale 1200)
crowd drained "$sale" 1400 7 --replay 20
for n in 1 2; do
    until_true 20 at drained $((n * 3 - 2)) || fail "the sale goes on"
    kill -TERM "$(proc_pid "instance-$n")"
    draining() { [[ $(server curl -sS -m 2 -w ' %{http_code}' "http://198.18.128.2:${port[$n]}/readyz") == *problems/draining*503 ]]; }
    expect "instance $n says that it is ending" until_true 1 draining
    proc_wait "instance-$n" && ok "instance $n ends with 0" || fail "instance $n ends with 0" "$(tail -n 3 "$LOGS/instance-$n.log")"
    expect_match "all its requests were answered" 'all requests are answered' "$(cat "$LOGS/instance-$n.log")"
    start_instance $n
    until_true 20 ready $n || fail "instance $n starts again"
    until_true 20 backends_learned "a$n" "b$n" || fail "the gateway knows that it is back"
done
finish drained "$sale"
expect_equal "no shopper's connection was refused, reset, closed or silent" 0 \
    "$(tail -n 1 "$LOGS/shoppers-drained.log" | jq .result.connection_failures)"
