# SPDX-License-Identifier: BSD-3-Clause
# limit: 240
# The ledger alone, with a PostgreSQL of its own: 5,000 colliding requests for 1,000 units from 8 connections, ten times; then
# with five crashes in the middle. Every 201 that a client saw is in the ledger, nothing is doubled, and replays read the same.
. "${0%/*}/lib.sh"

ledger=$LAB_DIR/ledger
cleanup() {
    proc_stop collide
    pg_drop "$ledger"
}
pg_drop "$ledger"
pg_start "$ledger"
"$ROOT/scripts/migrate" "$(pg_dsn "$ledger")" >"$LOGS/migrate-ledger.log"
collide() {
    proc_start collide "$LOGS/collide-$1.log" "$TOOLS/collide" --service "$(pg_dsn "$ledger" dropgate_service)" \
        --admin "$(pg_dsn "$ledger")" "${@:2}"
}
invariants_broken() {
    psql -XAtqd "$(pg_dsn "$ledger")" -f "$ROOT/sql/invariants.sql" | grep -cv 't$' || true
}

collide runs --runs 10
proc_wait collide || fail "ten runs of collisions" "$(grep -v '^run' "$LOGS/collide-runs.log")"
expect_equal "each of ten runs grants exactly 1,000 units" 10 "$(grep -c ': 1000 of 1000 units' "$LOGS/collide-runs.log")"
expect_equal "all invariants hold for each sale" 0 "$(invariants_broken)"

# Small batches, so that all five crashes fall into the time in which units are still being granted.
collide crashes --kills 5 --kill-every 60 --batch 3
kill_is_wanted() { (($(grep -c '^kill$' "$LOGS/collide-crashes.log") >= $1)) || ! proc_alive collide; }
for crash in 1 2 3 4 5; do
    until_true 60 kill_is_wanted "$crash" || fail "crash $crash is asked for"
    proc_alive collide || break
    pg_kill9 "$ledger"
    pg_start "$ledger"
done
proc_wait collide || fail "collisions with five crashes" "$(grep -v '^run' "$LOGS/collide-crashes.log")"
tail -n 2 "$LOGS/collide-crashes.log"
expect_match "with five crashes exactly 1,000 units are granted" ': 1000 of 1000 units.* 5 crashes' "$(cat "$LOGS/collide-crashes.log")"
expect_equal "all invariants hold after the crashes" 0 "$(invariants_broken)"
