# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# The ClientHellos of curl, openssl and Chromium, each with a second segment that overtakes the first: all are served.
# Chromium's takes two segments anyway; those of the others are cut in two by the relay.
. "${0%/*}/lib.sh"
port=443 backend_port=8088 work=$LAB_DIR/tls
conf=$work/dropgate.conf
rm -rf "$work"
mkdir -p "$work"
lab_config dropgate.conf "$conf"
cat >>"$conf" <<CONF
[backend tls4]
address = 198.18.128.2:$backend_port
[backend tls6]
address = [2001:db8:0:1::2]:$backend_port
[service tls]
listen = $VIP4:$port, [$VIP6]:$port
backends = tls4, tls6
protocol = tls
server_names = shop.test
CONF
cleanup() {
    relay_out
    proc_stop tls
    proc_stop dataplane # its configuration is none of the others'
    rm -rf "$work/chromium"
}

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=shop.test \
    -addext subjectAltName=DNS:shop.test -keyout "$work/key.pem" -out "$work/cert.pem" 2>"$work/openssl.log"
proc_start tls "$LOGS/tls.log" ip netns exec "$DROPGATE_LAB-server" "$ROOT/tests/lab/tls_server.py" "$work/cert.pem" \
    "$work/key.pem" $backend_port 198.18.128.2 2001:db8:0:1::2
until_true 10 grep -q ready "$LOGS/tls.log" || fail "the TLS server starts" "$(<"$LOGS/tls.log")"
start_dataplane "$conf" || fail "the gateway starts"
until_true 20 backends_learned tls4 tls6 || fail "the gateway knows the TLS server"

by_curl() { # by_curl ADDRESS
    client curl -sS -m 20 --cacert "$work/cert.pem" --resolve "shop.test:$port:$1" https://shop.test/ 2>&1
}
by_openssl() {
    printf 'GET / HTTP/1.1\r\nHost: shop.test\r\nConnection: close\r\n\r\n' | client timeout 20 openssl s_client -quiet \
        -verify_return_error -CAfile "$work/cert.pem" -servername shop.test -connect "$1:$port" 2>&1
}
by_chromium() {
    client timeout 60 chromium-headless-shell --no-sandbox --disable-gpu --user-data-dir="$work/chromium" \
        --ignore-certificate-errors --host-resolver-rules="MAP shop.test $1" --dump-dom https://shop.test/ 2>"$LOGS/chromium.log"
}

served() { # served CLIENT RELAY-OPTION…: over both families, the first segment overtaken each time
    local who=$1 address
    shift
    for address in "$VIP4" "[$VIP6]"; do
        relay_in --way forward --first-overtaken "$@"
        expect_match "$who is served by $address" 'served by the backend over TLSv1.3' "$("by_$who" "$address" || true)"
        relay_stop
        expect_at_least "its first segment was overtaken" 1 "$(jq .forward.first_overtaken <<<"$RELAYED")"
    done
}
served curl --first-split
served openssl --first-split
served chromium

relay_out
needs dataplane
refusal=$(client curl -sSk -m 10 --resolve "other.test:$port:$VIP4" https://other.test/ 2>&1 || true)
expect_match "a name that is not served is told so" 'unrecognized name' "$refusal"
expect_at_least "the refusal was counted" 1 "$(verdict tls_name)"
plain=$(client curl -sS -m 10 "http://$VIP4:$port/" 2>&1 || true)
expect_match "what is no TLS is reset" 'reset|Empty reply' "$plain"

# Of TLS a rule sees the server name, and refuses by a reset.
cp "$conf" "$work/base"
say_rule() { # say_rule KEYS: a rule for that name, in force
    local before; before=$(grep -c '"event":"reload"' "$LOGS/dataplane.log" || true)
    { cat "$work/base"; printf '[rule drop]\nserver_name = shop.test\n%b\n' "$1"; } >"$conf"
    kill -HUP "$(proc_pid dataplane)"
    until_true 10 eval "((\$(grep -c '\"event\":\"reload\"' '$LOGS/dataplane.log') > $before))" || fail "the rule is read"
}
say_rule 'state = closed'
expect_match "a name that is closed is reset" 'reset' "$(by_curl "$VIP4" || true)"
expect_equal "also over IPv6" "" "$(by_curl "[$VIP6]" 2>&1 | grep served || true)"
expect_at_least "each is counted" 2 "$(verdict rule_closed)"
say_rule 'admit_per_second = 1'
(for _ in $(seq 8); do by_curl "$VIP4" & done; wait) >"$work/eight"
expect_match "of several at once one is served" 'served by the backend' "$(<"$work/eight")"
expect_match "and another is reset" 'reset' "$(<"$work/eight")"
expect_at_least "as its rule counts" 1 "$(verdict rule_rate)"
