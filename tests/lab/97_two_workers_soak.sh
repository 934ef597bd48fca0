# SPDX-License-Identifier: BSD-3-Clause
# long: yes
# limit: 300
# Two workers, for a minute: iperf3 up and down through a TCP service, and wrk on keep-alive connections beside it.
# (SOAK_SECONDS makes it quicker by hand.)
. "${0%/*}/lib.sh"
seconds=${SOAK_SECONDS:-60} iperf_port=5201 backend_port=8089
conf=$LAB_DIR/workers-soak.conf
lab_config dropgate.conf "$conf"
sed -i 's/^cores = .*/workers = 2\ncores = 0,0,1/' "$conf"
cat >>"$conf" <<CONF
[backend iperf4]
address = 198.18.128.2:$backend_port
[backend iperf6]
address = [2001:db8:0:1::2]:$backend_port
[service iperf]
listen = $VIP4:$iperf_port, [$VIP6]:$iperf_port
backends = iperf4, iperf6
protocol = tcp
CONF
cleanup() {
    for name in iperf-server4 iperf-server6 "${started[@]}"; do proc_stop "$name"; done
    client ip route del "$VIP4/32" dev dgc0 2>/dev/null || true
    proc_stop dataplane # its configuration is none of the others'
}
started=()
proc_stop dataplane
needs control
sale=$(new_sale 10)
for family in 4 6; do
    address=198.18.128.2
    [[ $family == 4 ]] || address=2001:db8:0:1::2
    proc_start iperf-server$family "$LOGS/iperf-server$family.log" ip netns exec "$DROPGATE_LAB-server" \
        iperf3 --server --bind "$address" --port $backend_port
done
start_dataplane "$conf" || fail "the gateway starts"

in_client() { # in_client NAME CMD…: goes on beside the others
    proc_start "$1" "$LOGS/$1.log" ip netns exec "$DROPGATE_LAB-client" "${@:2}"
    started+=("$1")
}
# A worker has its part of the clients, so these come from several addresses: wrk cannot choose one, the route can.
connected() { (($(client ss -Htn state established src "$1" | wc -l) == $2)); }
for n in {1..10}; do
    client ip route replace "$VIP4/32" dev dgc0 src 198.18.64.$n
    in_client wrk4-$n wrk --threads 1 --connections 4 --duration "${seconds}s" --timeout 10s "http://$VIP4/v1/sales/$sale"
    until_true 5 connected 198.18.64.$n 4 || fail "wrk4-$n has its connections"
done
in_client wrk6 wrk --threads 1 --connections 32 --duration "${seconds}s" --timeout 10s "http://[$VIP6]/v1/sales/$sale"
in_client iperf-put iperf3 --json --client "$VIP4" --port $iperf_port --time "$seconds" --parallel 4
in_client iperf-get iperf3 --json --client "$VIP6" --port $iperf_port --time "$seconds" --parallel 4 --reverse
for name in "${started[@]}"; do
    rc=0
    proc_wait "$name" || rc=$?
    expect_equal "$name comes to its end" 0 $rc
done

for name in wrk4-{1..10} wrk6; do
    requests=$(sed -nE 's/^ *([0-9]+) requests in .*/\1/p' "$LOGS/$name.log")
    expect_at_least "$name: requests were answered" $((seconds * 10)) "${requests:-0}"
    expect_equal "$name: none failed" "" "$(grep -E 'Socket errors|Non-2xx' "$LOGS/$name.log" || true)"
done
for name in iperf-put iperf-get; do
    expect_at_least "$name: megabytes went through" $((seconds / 2)) \
        "$(jq '.end.sum_received.bytes / 1e6 | floor' "$LOGS/$name.log")"
done
for worker in 0 1; do
    expect_at_least "worker $worker opened connections" 4 "$(telemetry "/dropgate/verdicts,$worker" | jq .opened)"
done
expect "the gateway still runs" proc_alive dataplane
