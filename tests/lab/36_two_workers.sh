# SPDX-License-Identifier: BSD-3-Clause
# limit: 240
# Two workers do what one does, on ports that cannot steer: the same bytes arrive, and the same verdicts are counted.
. "${0%/*}/lib.sh"
needs transfer

# What is compared: how connections begin and break, and what would be a loss. All else depends on how often a kernel
# acknowledges, on what came sooner, and on sockets that still speak to the gateway before; `knock` sees to it one by one.
SAME='["syn_cookie","opened","backend_answered","backend_refused","backend_timeout","flow_reset","flow_idle",
    "flow_replaced","head_malformed","request_malformed","tcp_checksum","ip_checksum","bad_tcp","bad_options","truncated",
    "paws","state","not_for_us","bogon","inside_spoof","budget","flow_table_full","held_full","tx_full","no_buffer",
    "handover_full","ring_full"]'

bring_up() { # bring_up WORKERS CORES: ready when the backends of the transfers are known
    lab_config dropgate.conf "$LAB_DIR/workers.conf"
    sed -i "s/^cores = .*/workers = $1\ncores = $2/" "$LAB_DIR/workers.conf"
    start_dataplane "$LAB_DIR/workers.conf" || fail "the gateway starts with $1 workers"
}

# The hash that chooses a worker is linear: each bit of an address decides by itself, under a key that is another one at
# each start. So the clients differ by a bit each, and all but never share a worker.
move() { # the digests of what twelve clients move both ways, one after the other
    local client
    for client in 1 2 4 8 16 32 64 128 256 512 1024 2048; do
        client "$TRANSFER" get --to "$VIP4:$TRANSFER_PORT" --to "[$VIP6]:$TRANSFER_PORT" \
            --bytes 2000000 --client "$client"
        client "$TRANSFER" put --to "$VIP4:$TRANSFER_PORT" --to "[$VIP6]:$TRANSFER_PORT" \
            --bytes 1000000 --client "$client"
    done | jq -c '[.sha256, .equal]'
}

knock() { # one packet of every kind; each is checked against its verdict there
    client env PYTHONDONTWRITEBYTECODE=1 "$ROOT/tests/lab/packets.py" "$(telemetry_socket)" dgc0 \
        "$(gateway cat /sys/class/net/dgo/address)" outside || FAILURES=$((FAILURES + 1))
}

verdicts() {
    telemetry /dropgate/verdicts | jq -c --argjson same "$SAME" 'with_entries(select(.key | IN($same[])))'
}

run() { # run WORKERS CORES: leaves what was seen in $LAB_DIR/workers-WORKERS.*
    bring_up "$1" "$2"
    move >"$LAB_DIR/workers-$1.moved"
    verdicts >"$LAB_DIR/workers-$1.verdicts"
    knock
}

cleanup() { proc_stop dataplane; }

run 1 0,1
run 2 0,0,1
expect_equal "two workers move the same bytes" "$(<"$LAB_DIR/workers-1.moved")" "$(<"$LAB_DIR/workers-2.moved")"
expect_equal "all 24 transfers arrived whole" 24 "$(grep -c true "$LAB_DIR/workers-2.moved")"
expect_equal "and count the same verdicts" "$(<"$LAB_DIR/workers-1.verdicts")" "$(<"$LAB_DIR/workers-2.verdicts")"
for worker in 0 1; do
    expect_at_least "worker $worker opened connections" 1 "$(telemetry "/dropgate/verdicts,$worker" | jq .opened)"
    expect_at_least "worker $worker was handed frames" 100 "$(telemetry "/dropgate/worker,$worker" | jq .taken)"
done
expect_equal "nothing was lost between them" 0 "$(verdict handover_full)"
