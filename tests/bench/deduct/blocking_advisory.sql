-- SPDX-License-Identifier: BSD-3-Clause
-- Wait for an advisory lock, then decrement; sent as one message, so that the lock is not held over round trips.
\set user random(1, 1000000000000)
begin \;
select pg_advisory_xact_lock(1) \;
with taken as (update dropgate.stock set avail = avail - 1, held = held + 1, granted = granted + 1, entry = entry + 1
               where sale = 1 and avail > 0 returning entry)
insert into dropgate.reservation (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry)
select gen_random_uuid(), 1, 'shopper-' || :client_id || '-' || :user, gen_random_uuid(), 1, 1999, 'EUR', clock_timestamp(), clock_timestamp() + interval '10 minutes', entry from taken \;
commit;
