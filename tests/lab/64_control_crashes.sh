# SPDX-License-Identifier: BSD-3-Clause
# limit: 240
# PostgreSQL is killed five times and stopped once under a crowd that talks to the purchase service directly, over both
# families: every 201 that was seen is in the ledger, nothing is doubled, replays read the same, and nobody is told more
# than 503 meanwhile.
. "${0%/*}/lib.sh"
needs control
sale=$(new_sale 1000 3)

proc_start crowd "$LOGS/crowd.log" ip netns exec "$DROPGATE_LAB-server" "$ROOT/tests/lab/control_crowd.py" "$sale" 2500 64 \
    "$LAB_DIR/history-$sale.jsonl" 198.18.128.2:8080 '[2001:db8:0:1::2]:8080'
decided() { (($(tail -n 1 "$LOGS/crowd.log" | jq -r '.granted + .refused + .replayed // 999999') >= $1)) || ! proc_alive crowd; }
for crash in 1 2 3 4 5; do
    until_true 60 decided $((crash * 300)) || fail "crash $crash"
    pg_kill9 "$LAB_DIR/postgres"
    pg_start "$LAB_DIR/postgres"
done
until_true 60 decided 2000
pg_stop "$LAB_DIR/postgres"
expect "an instance without its database is alive" server curl -fsS -m 2 -o /dev/null http://198.18.128.2:8080/healthz
expect "and ready, and answers from memory" server curl -fsS -m 2 -o /dev/null "http://198.18.128.2:8080/v1/sales/$sale"
pg_start "$LAB_DIR/postgres"
proc_wait crowd || fail "everybody was answered, and every replay read the same" "$(grep unexpected "$LOGS/crowd.log" | head -n 5)"

result=$(tail -n 1 "$LOGS/crowd.log" | jq -c .result)
printf '%s\n' "$result"
expect_equal "nobody was left without an answer" 0 "$(jq .unanswered <<<"$result")"
expect_equal "no replay read differently" 0 "$(jq .changed <<<"$result")"
expect_at_least "grants were made" 300 "$(jq .granted <<<"$result")"
expect_history "$sale" "$LAB_DIR/history-$sale.jsonl"
expect_invariants "$sale"
