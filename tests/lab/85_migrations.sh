# SPDX-License-Identifier: BSD-3-Clause
# limit: 90
# Migrations: each once, again without effect, from two at a time, never edited afterwards, and none by half. In a copy of sql/, on a
# PostgreSQL of its own, in a directory that only root may enter, as a clone below /root would be.
. "${0%/*}/lib.sh"

shut=$LAB_DIR/shut
cleanup() {
    pg_drop "$shut/ledger"
    rm -rf "$shut"
}
cleanup
mkdir -p "$shut"
chmod 700 "$shut"
cp -r "$ROOT/sql" "$shut/sql"
mkdir "$shut/scripts"
cp "$ROOT/scripts/migrate" "$shut/scripts/"
pg_start "$shut/ledger"
dsn=$(pg_dsn "$shut/ledger")
migrate() { "$shut/scripts/migrate" "$dsn"; }
applied() { psql -XAtqd "$dsn" -c 'select count(*) from dropgate_meta.migration'; }
files=$(find "$ROOT/sql" -name '[0-9]*.sql' -not -path '*/tests/*' | wc -l)

migrate >"$shut/one" & one=$!
migrate >"$shut/two" & two=$!
wait "$one" && wait "$two" && ok "two migrations at once both succeed" || fail "two migrations at once both succeed"
expect_equal "each file is applied once" "$files" "$(cat "$shut/one" "$shut/two" | grep -c ^applying)"
expect_equal "and recorded" "$files" "$(applied)"
expect_equal "a second run has nothing to do" "" "$(migrate)"

echo '-- a new thought' >>"$shut/sql/functions/020_catalog.sql"
expect_equal "a changed function is applied again" "applying functions/020_catalog.sql" "$(migrate)"
cat >"$shut/sql/900_half.sql" <<'SQL'
create table dropgate_meta.half (x int);
select 1 / 0;
SQL
expect_match "a migration that fails says why" "division by zero" "$(migrate 2>&1 || true)"
expect_equal "and leaves nothing" "" "$(psql -XAtqd "$dsn" -c "select to_regclass('dropgate_meta.half')")"
rm "$shut/sql/900_half.sql"
echo '-- a second thought' >>"$shut/sql/001_ledger.sql"
expect_match "an applied migration that was edited is refused by name" "001_ledger.sql was applied with other content" "$(migrate 2>&1 || true)"
if migrate 2>/dev/null; then fail "with an exit status"; else ok "with an exit status"; fi

# The server is somewhere that its user can reach, and a killed one is cleaned up by the next start.
expect "the server runs although its directory is closed to it" psql -Xqd "$dsn" -c 'select'
pg_kill9 "$shut/ledger"
pg_start "$shut/ledger"
expect "after a crash it starts again" psql -Xqd "$dsn" -c 'select'
before=$(pg__pid "$shut/ledger")
pg_start "$shut/ledger"
expect "a start over a running instance leaves no second one" until_true 5 test ! -d "/proc/$before"
expect_equal "and the data stays" "$files" "$(applied)"
home=$(pg__home "$shut/ledger")
pg_drop "$shut/ledger"
if [[ -e $home ]]; then fail "nothing is left behind in $home"; else ok "nothing is left behind"; fi
