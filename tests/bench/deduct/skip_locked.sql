-- SPDX-License-Identifier: BSD-3-Clause
-- SKIP LOCKED on the one row: whoever finds it locked goes away with nothing, although something may be left.
\set user random(1, 1000000000000)
with free as (select sale from dropgate.stock where sale = 1 and avail > 0 for update skip locked),
     taken as (update dropgate.stock k set avail = avail - 1, held = held + 1, granted = granted + 1, entry = entry + 1
               from free where k.sale = free.sale returning entry)
insert into dropgate.reservation (id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry)
select gen_random_uuid(), 1, 'shopper-' || :client_id || '-' || :user, gen_random_uuid(), 1, 1999, 'EUR', clock_timestamp(), clock_timestamp() + interval '10 minutes', entry from taken;
