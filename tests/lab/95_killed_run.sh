# SPDX-License-Identifier: BSD-3-Clause
# A run that is killed (kill -9) leaves namespaces, processes, PostgreSQL and Redis behind; the next one cleans it all up.
. "${0%/*}/lib.sh"

# A laboratory of its own, beside the one that this scenario runs in.
export DROPGATE_LAB=victim
work=$(mktemp -d)
cleanup() { rm -rf "$work" "$ROOT/build/lab-victim" /run/dropgate/victim; }
cat >"$work/run" <<'RUN'
. "$ROOT/tests/lab/lib.sh"
for part in owner redis; do . "$ROOT/scripts/lib/$part.sh"; done
own_lab
"$ROOT/scripts/lab" up
if [[ $1 == die ]]; then
    "$ROOT/scripts/lab" relay in
    pg_start "$LAB_DIR/postgres"
    redis_start "$LOGS/redis.log"
    proc_start sleeper "$LOGS/sleeper.log" ip netns exec victim-server sleep 1000
    ip netns exec victim-client sleep 1001 &  # started by hand, unrecorded, but in our namespace
    echo "$(proc_pid redis) $(proc_pid sleeper) $! $(pg__pid "$LAB_DIR/postgres")" >"$2"
    kill -9 $$
fi
RUN
unset DROPGATE_OWNER
bash "$work/run" die "$work/pids" >"$work/first" 2>&1 && fail "the first run is killed" "$(<"$work/first")" || ok "the first run is killed"
read -r -a left <"$work/pids"
expect_equal "it left four processes" 4 ${#left[@]}
for pid in "${left[@]}"; do expect "process $pid is still there" test -d "/proc/$pid"; done
ip netns add victim-bystander
ip netns exec victim-bystander sleep 1002 & bystander=$!

expect "the next run starts" bash "$work/run" live
for pid in "${left[@]}"; do
    if [[ -d /proc/$pid ]] && [[ -n $(proc_birth "$pid") ]]; then fail "process $pid is gone"; else ok "process $pid is gone"; fi
done
expect_equal "and so are the namespaces" "" "$(ip netns list | grep -E '^victim-(client|gateway|server|relay)' || true)"
expect "what was not ours is untouched" test -d "/proc/$bystander"
kill "$bystander"
ip netns del victim-bystander
