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

# A ledger that was filled before reservations were partitioned, brought up to date: every row as it was, in its sale's partition, and
# an old key gets its old answer.
old=$shut/old
mkdir -p "$old/sql/functions" "$old/scripts"
cp "$ROOT/scripts/migrate" "$old/scripts/"
cp "$ROOT/sql/001_ledger.sql" "$old/sql/"
psql -Xqd "$dsn dbname=postgres" -c 'create database filled'
filled=${dsn/dbname=dropgate/dbname=filled}
"$old/scripts/migrate" "$filled" >"$shut/filled" 2>&1 || cat "$shut/filled"
psql -Xqd "$filled" -v ON_ERROR_STOP=1 >/dev/null <<'SQL'
insert into dropgate.item values ('thing', 'A thing', '');
insert into dropgate.sale select id, 'thing', 3, 3, '1 hour', 100, 'EUR', '2020-01-01' from unnest(array[1, 1023, 1024, 70000, 2147483647]) id;
insert into dropgate.stock (sale, total, avail, held, granted, released, entry) select id, 1000, 800, 200, 300, 100, 3 from dropgate.sale;
insert into dropgate.reservation (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry, released_entry, state)
    select md5(s.id || '/' || i)::uuid, s.id, 'user-' || i, md5('body')::uuid, 1, 100, 'EUR', '2020-01-02', '2099-01-01', 1,
           case when i % 3 = 0 then 2 end, case when i % 3 = 0 then 'expired' else 'held' end::dropgate.reservation_state
    from dropgate.sale s, generate_series(1, 300) i;
SQL
rows() {
    psql -XAtqd "$filled" -c "select md5(string_agg((id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at,
        granted_entry, released_entry, state, render)::text, ' ' order by id)) from dropgate.reservation"
}
before=$(rows)
expect "a filled ledger of the first days is brought up to date" "$ROOT/scripts/migrate" "$filled"
expect_equal "with every reservation as it was" "$before" "$(rows)"
expect_equal "each in its sale's partition" "reservation_0 600
reservation_1024 300
reservation_2147482624 300
reservation_69632 300" "$(psql -XAtqF ' ' -d "$filled" -c "select tableoid::regclass::text, count(*) from dropgate.reservation group by 1 order by 1" | sed 's/^dropgate\.//')"
expect_equal "all invariants hold" "" "$(psql -XAtqd "$filled" -f "$ROOT/sql/invariants.sql" | grep -v 't$')"
expect_equal "an old key gets its old answer, a new one a new" "201 201 2020" "$(psql -XAtqF ' ' -d "$filled" -c "
    select (array_agg(status order by ord))[1], (array_agg(status order by ord))[2], min(extract(year from granted_at))
    from dropgate.reserve_batch(70000, array[md5('70000/1'), md5('new')]::uuid[], array['user-1', 'new'], array[md5('body'), md5('body')]::uuid[], '{1,1}')")"

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
