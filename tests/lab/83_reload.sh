# SPDX-License-Identifier: BSD-3-Clause
# limit: 180
# The configuration is changed twenty times under load: limits, rates, backends and services that come and go, rules. No
# shopper notices; who was removed finishes what it has begun; what cannot be taken over changes nothing, and the log
# says why, with the line.
. "${0%/*}/lib.sh"

work=$LAB_DIR/reload
conf=$work/dropgate.conf
rm -rf "$work"; mkdir -p "$work/html"
cleanup() {
    for load in keep4 keep6 new4 large; do proc_stop "load-$load"; done
    for part in flood witness-client witness-server fleet dataplane; do proc_stop $part; done
}

# Backends 2 to 5 at ports 8082 to 8085, of one process: each answers by its number, and has a large file.
backends() {
    echo "daemon off; worker_processes 1; error_log stderr; pid $work/nginx.pid; events { worker_connections 4096; }"
    echo "http { access_log off; keepalive_requests 1000000;"
    for part in client_body proxy fastcgi uwsgi scgi; do echo "${part}_temp_path $work/$part;"; done
    for n in 2 3 4 5; do
        echo "server { listen 198.18.128.2:808$n backlog=4096; listen [2001:db8:0:1::2]:808$n backlog=4096;"
        echo "location = /large { alias $work/html/large; } location / { return 200 \"$n\\n\"; } }"
    done
    echo "}"
}

# write_conf "2 3" [TEXT]: a configuration whose shop has those backends, with more sections; SIDE= leaves out the side
# service and its backend.
write_conf() {
    lab_config dropgate.conf "$conf.new"
    sed -i '/^\[backend shop4\]/,$d' "$conf.new"
    {
        local list='' n
        for n in $1 ${SIDE-5}; do
            printf '[backend a%d]\naddress = 198.18.128.2:808%d\nprobe_path = /\n' "$n" "$n"
            printf '[backend b%d]\naddress = [2001:db8:0:1::2]:808%d\nprobe_path = /\n' "$n" "$n"
        done
        for n in $1; do list+="${list:+, }a$n, b$n"; done
        printf '[service shop]\nlisten = %s:80, [%s]:80\nbackends = %s\n' $VIP4 $VIP6 "$list"
        [[ -z ${SIDE-5} ]] || printf '[service side]\nlisten = %s:82, [%s]:82\nbackends = a5, b5\n' $VIP4 $VIP6
        printf '%b' "${2:-}"
    } >>"$conf.new"
    mv "$conf.new" "$conf"
}

said() { grep -c "\"event\":\"$1\"" "$LOGS/dataplane.log" || true; }
said_more() { (($(said "$1") > $2)); }
log_has() { grep -qF -- "$1" "$LOGS/dataplane.log"; }
hang_up() { kill -HUP "$(proc_pid dataplane)"; }

reload() { # reload "2 3" [TEXT]: writes such a file, and waits until it is taken over
    local before
    before=$(said reload)
    write_conf "$@"
    hang_up
    until_true 30 said_more reload "$before" || fail "the file for $1 is taken over" "$(tail -n 3 "$LOGS/dataplane.log")"
}

refused() { # refused "sentence" TEXT-IN-THE-LOG: the file that was written is not taken over
    local before
    before=$(said reload_refused)
    hang_up
    until_true 30 said_more reload_refused "$before" || true
    expect "$1" log_has "$2"
}

backend_is() { telemetry /dropgate/backends | jq -e --arg n "$1" --arg is "$2" '.[$n].health == $is'; }
backend_known() { telemetry /dropgate/backends | jq -e --arg n "$1" 'has($n)'; }
backend_unknown() { ! backend_known "$1"; }
feed_is() { telemetry /dropgate/feeds | jq -e --argjson n "$1" '.bad.prefixes == $n'; }
memory() { awk '/VmRSS/ { print $2 }' "/proc/$(proc_pid dataplane)/status"; }

backends >"$work/nginx.conf"
head -c 2M /dev/zero >"$work/html/large"
echo 203.0.113.0/24 >"$work/bad.txt"
chmod 755 "$LAB_DIR" "$work" "$work/html"
proc_start fleet "$LOGS/fleet.log" ip netns exec "$DROPGATE_LAB-server" nginx -c "$work/nginx.conf"
until_true 10 server bash -c ': </dev/tcp/198.18.128.2/8085' || fail "the backends start" "$(<"$LOGS/fleet.log")"
write_conf "2 3"
for service in control transfer; do proc_stop $service; done # the gateway would be waited for until it knows them
start_dataplane "$conf" || fail "the gateway starts"
until_true 20 backend_is b3 up || fail "the backends are known to answer"

# Who has begun with what is about to be removed: at 256 kB/s it takes some 8 s.
slow() { client curl -sS -m 60 --limit-rate 256k -o /dev/null -w '%{http_code} %{size_download}\n' "$@"; }
load() { # load NAME URL [WRK-OPTION…]: until it is told to end
    proc_start "load-$1" "$work/$1.wrk" ip netns exec "$DROPGATE_LAB-client" \
        wrk --threads 1 --duration 120s --timeout 10s "${@:3}" "$2"
}
start_flood --rate 5000
load keep4 "http://$VIP4/" --connections 20
load keep6 "http://[$VIP6]/" --connections 20
load new4 "http://$VIP4/" --connections 10 --header 'Connection: close'
slow "http://$VIP4:82/large" >"$work/side.large" 2>&1 &
side_large=$!
for n in 1 2 3 4 5 6; do slow "http://$VIP4/large" >"$work/shop$n.large" 2>&1 & shop_large[n]=$!; done
all_there() { telemetry /dropgate/tables | jq -e '.flows >= 57'; }
until_true 10 all_there || fail "all loads are at it"

for round in 1 2; do
    reload "2 3" '[tcp]\nidle = 10m\nhead_timeout = 5s\n[guard]\nsource_rate = 30000\n[budgets]\nresets = 500\n'
    reload "2 3 4" '[tcp]\nmss_v4 = 1400\nsyn_timeout = 2s\n'
    reload "3 4"
    SIDE='' reload "3 4" '[rule closed]\npath = /closed\nstate = closed\n'
    [[ $round == 2 ]] || answer_closed=$(client curl -s -m 20 -o /dev/null -w '%{http_code}' "http://$VIP4/closed" || true)
    [[ $round == 2 ]] || gone_side=$(client curl -s -m 1 -o /dev/null -w '%{http_code}' "http://$VIP4:82/" || true)
    SIDE='' reload "3"
    reload "2 3" '[slow]\nmode = observe\n'
    [[ $round == 2 ]] || expect "a service that is back is served" until_true 30 client curl -fs -m 5 "http://$VIP4:82/"
    reload "4" '[limits]\nconnections = 100000\n'
    reload "2 4" "[feed bad]\\nfile = $work/bad.txt\\n"
    [[ $round == 2 ]] || expect "a feed that is named is in force" until_true 20 feed_is 1
    SIDE='' reload "2 3 4 5"
    reload "2 3" '[clients]\nshared_factor = 8\n'
    [[ $round == 2 ]] || memory_before=$(memory)
done
expect_equal "each was taken over" 20 "$(said reload)"
expect "the log says what has changed" log_has '[guard] source_rate: 20000 -> 30000'
expect "also of what comes" log_has '[backend a4]: added'
expect "and of whom a service has" log_has '[service shop] backends: +a4 +b4'
expect_equal "a rule holds from its reload on" 410 "$answer_closed"
expect_equal "a removed service takes nobody new" 000 "$gone_side"

write_conf "2" '[tcp]\nidle = soon\n'
line=$(grep -n '^idle = soon' "$conf")
refused "a mistake is told with its line" "$conf:${line%%:*}: [tcp] idle = soon: "
write_conf "2" '[tables]\nflows = 1000\n'
line=$(grep -n '^flows = 1000' "$conf")
refused "so is a key that only a restart takes" "$conf:${line%%:*}: [tables] flows: "
expect "and neither has changed anything" backend_known a3

for name in keep4 keep6 new4; do
    kill -INT "$(proc_pid "load-$name")" || fail "wrk is at work to the end ($name)"
    proc_wait "load-$name" || fail "wrk ends well ($name)"
    report=$(<"$work/$name.wrk")
    answered=$(awk '/requests in/ { print $1 }' <<<"$report")
    expect_at_least "shoppers are served all the while ($name)" 100 "${answered:-0}"
    expect_equal "and none in vain ($name)" "" "$(grep -E 'Socket errors|Non-2xx' <<<"$report")"
done
stop_flood
expect_at_least "under a flood" 10000 "$FLOOD_SENT"
wait $side_large || true
expect_equal "what a removed service had begun is finished" "200 2097152" "$(<"$work/side.large")"
for n in 1 2 3 4 5 6; do
    wait "${shop_large[n]}" || true
    expect_equal "so is what a removed backend had begun ($n)" "200 2097152" "$(<"$work/shop$n.large")"
done

write_conf "2 3"
reload "3"
expect "the last connection of a removed backend ends" until_true 30 backend_unknown a2/leaving
expect "and the log says so" log_has 'backend a2 at 198.18.128.2:8082: removed, and its last connection has ended'
grew=$(($(memory) - memory_before))
[[ $BUILD == *sanitize* ]] || expect_at_most "nothing is left behind in memory (kB)" 4096 "$grew"
