-- SPDX-License-Identifier: BSD-3-Clause
-- The same as most applications send it: a transaction of two statements, the lock held over their round trips.
\set user random(1, 1000000000000)
begin;
update dropgate.stock set avail = avail - 1, held = held + 1, granted = granted + 1, entry = entry + 1
    where sale = 1 and avail > 0 returning entry \gset
insert into dropgate.reservation (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry)
select gen_random_uuid(), 1, 'shopper-' || :client_id || '-' || :user, gen_random_uuid(), 1, 1999, 'EUR', clock_timestamp(), clock_timestamp() + interval '10 minutes', :entry;
commit;
