# SPDX-License-Identifier: BSD-3-Clause
# limit: 900
# 100 MB down and up, IPv4 and IPv6, with window scale and timestamps each on and off at either side: what arrives is
# what was sent, to the last bit. (TRANSFER_BYTES makes it quicker by hand.)
. "${0%/*}/lib.sh"
needs transfer dataplane

bytes=${TRANSFER_BYTES:-100000000}
cleanup() {
    for ns in client server; do $ns sysctl -qw net.ipv4.tcp_window_scaling=1 net.ipv4.tcp_timestamps=1; done
}

# What the gateway may promise clients follows from what its probes see: wait until it has seen the change.
backend_offers() { # backend_offers SCALING TIMESTAMPS
    telemetry /dropgate/backends | jq -e --argjson scaling "$1" --argjson timestamps "$2" '
        all(.transfer4, .transfer6; .learned == 1 and .timestamps == $timestamps and (.window_scale >= 0) == ($scaling == 1))'
}

move() { # move get|put ADDRESS: one line of the transfer tool
    client "$TRANSFER" "$1" --to "$2:$TRANSFER_PORT" --bytes "$bytes" 2>&1
}

# move_all OPTIONS: both ways over both families, all at once: with a window that is not scaled, one alone is waiting mostly.
move_all() {
    local way address seen moves=() n=0
    for way in get put; do
        for address in "$VIP4" "[$VIP6]"; do
            move $way "$address" >"$LAB_DIR/moved-$way-$address" &
            moves+=($!)
        done
    done
    for way in get put; do
        for address in "$VIP4" "[$VIP6]"; do
            wait "${moves[n++]}" || true
            seen=$(<"$LAB_DIR/moved-$way-$address")
            if [[ $(jq -r .equal <<<"$seen" 2>/dev/null) == true ]]; then
                ok "$way $address, $1: $(jq .mbit_s <<<"$seen") Mbit/s"
            else
                fail "$way $address, $1" "$seen"
            fi
        done
    done
}

for server_scaling in 1 0; do
    for server_timestamps in 1 0; do
        server sysctl -qw net.ipv4.tcp_window_scaling=$server_scaling net.ipv4.tcp_timestamps=$server_timestamps
        until_true 20 backend_offers $server_scaling $server_timestamps || fail "the gateway learns what the server offers"
        for client_scaling in 1 0; do
            for client_timestamps in 1 0; do
                client sysctl -qw net.ipv4.tcp_window_scaling=$client_scaling net.ipv4.tcp_timestamps=$client_timestamps
                move_all "scaling $client_scaling-$server_scaling, timestamps $client_timestamps-$server_timestamps"
            done
        done
    done
done

expect "a small receive buffer holds nobody up" client "$TRANSFER" get --to "$VIP4:$TRANSFER_PORT" --bytes 2000000 --rcvbuf 4096
expect "small segments arrive whole" client "$TRANSFER" put --to "[$VIP6]:$TRANSFER_PORT" --bytes 2000000 --maxseg 600
expect "a client that closes behind its last byte still reads the answer" \
    client "$TRANSFER" put --to "$VIP4:$TRANSFER_PORT" --bytes 2000000 --half-close
