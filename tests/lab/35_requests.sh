# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# The control service and the gateway are of one opinion about every request of the corpus, over real TCP and on any
# cut into segments; and a client that keeps its connections loses nothing by being read.
. "${0%/*}/lib.sh"
needs control dataplane

corpus() { # corpus "sentence" RUN… [--gateway] HOST PORT: sets SENT, the report's last line
    local sentence=$1 report
    shift
    report=$("$1" "$ROOT/tests/lab/requests.py" "${@:2}") && ok "$sentence" || fail "$sentence" "$report"
    SENT=${report##*$'\n'}
}
refused() { # a head beyond 8,192 bytes is beyond the announced window, too
    telemetry /dropgate/verdicts | jq -er ".head_malformed + .request_malformed + .held_too_large"
}

corpus "the control service says of each request what the corpus says" server 198.18.128.2 8080
sent_again() { client nstat -asz TcpRetransSegs | awk '/TcpRetransSegs/ { print $2 }'; }
before=$(refused) again=$(sent_again)
corpus "the gateway says the same over IPv4" client --gateway "$VIP4" 80
wanted=$(grep -o '[0-9]* to be refused' <<<"$SENT") wanted=${wanted% to be refused} seen=$(($(refused) - before))
expect_at_least "it refused what it should" "$wanted" "$seen"
# What is refused leaves nothing behind: on a machine so busy that a client sends its request again, it is refused again.
expect_at_most "once each" $((wanted + $(sent_again) - again)) "$seen"
corpus "the gateway says the same over IPv6" client --gateway "$VIP6" 80

sale=$(new_sale 1)
requests() { telemetry /dropgate/worker | jq -er .requests; }
for host in "$VIP4" "[$VIP6]"; do
    before=$(requests)
    report=$(client wrk -t2 -c50 -d3s "http://$host/v1/items/item-$sale")
    answered=$(awk '/requests in/ { print $1 }' <<<"$report")
    expect_equal "wrk sees no error on $host" "" "$(grep -E 'Socket errors|Non-2xx' <<<"$report")"
    expect_at_least "wrk is answered often" 1000 "${answered:-0}"
    counted=$(($(requests) - before))
    expect_at_least "each of its requests was counted" "${answered:-0}" "$counted"
    expect_at_most "and none twice; some were still on their way" $((answered + 50)) "$counted"
done
