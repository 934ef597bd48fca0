-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- Reservations partitioned by ranges of sales, so that finished sales go away as whole tables (functions/080_retention.sql) and
-- the indexes that a batch writes to stay as small as the sales of the season.
--
-- Why ranges, and not a partition per sale: whoever has only an id (a URL carries no more) asks each partition's index, 3 µs
-- apiece, and every cached plan locks each partition, whether or not it prunes it later: far beyond the 16 locks that are free.
-- Measured with all partitions empty, processor time of a look-up by id: 20 µs with 8 partitions, 0.1 ms with 32, 0.2 ms with 64,
-- 0.6 ms with 128, 4.8 ms with 512; ten thousand small sales would be ten thousand tables. Planning anew would prune
-- beforehand, but costs more than a batch's own work. So a partition takes 1,024 numbers of sales, or one huge sale alone, and
-- there are a few dozen of them (functions/025_partitions.sql). The day of the grant is no key: a retry after midnight would
-- look for its first answer in another partition.
create schema dropgate_archive authorization dropgate_owner;
grant usage on schema dropgate_archive to dropgate_admin;
set local role dropgate_owner;
alter default privileges in schema dropgate_archive grant select on tables to dropgate_admin;

alter table dropgate.reservation rename to reservation_before;
alter table dropgate.reservation_before rename constraint reservation_pkey to reservation_before_pkey;
alter index dropgate.reservation_live rename to reservation_before_live;
alter index dropgate.reservation_due rename to reservation_before_due;

-- The key is as unique as `id` alone, because an id is a hash of its sale among others and so belongs to one.
create table dropgate.reservation (
    like dropgate.reservation_before including defaults including constraints,
    primary key (id, sale)
) partition by range (sale);
create index reservation_live on dropgate.reservation using hash (user_id) where state < 'expired';
create index reservation_due on dropgate.reservation (sale, expires_at) where state = 'held';

-- What there is moves into partitions as functions/025_partitions.sql would have made them.
do $$
declare first int;
begin
    for first in select distinct id / 1024 * 1024 from dropgate.sale order by 1 loop
        execute format('create table dropgate.reservation_%s partition of dropgate.reservation for values from (%s) to (%s)
                        with (autovacuum_vacuum_scale_factor = 0.02)',
            first, first, case when first > 2147483647 - 1024 then 'maxvalue' else (first + 1024)::text end);
    end loop;
end $$;
insert into dropgate.reservation select * from dropgate.reservation_before;
drop table dropgate.reservation_before;

create trigger reservation_is_immutable
    before update of id, sale, user_id, fingerprint, quantity, unit_price, currency, granted_at, expires_at, granted_entry, render
    on dropgate.reservation for each row execute function dropgate.refuse_change();

-- What is left of a sale whose reservations are gone. Its number is never used again: an old key would be granted anew.
create table dropgate.retired (
    sale int primary key,
    item text collate "C" not null,
    opens_at timestamptz not null,
    closes_at timestamptz not null,
    total bigint not null,
    granted bigint not null,                            -- units, as in `stock`
    released bigint not null,
    reservations bigint not null default 0,
    paid bigint not null default 0,                     -- units
    retired_at timestamptz not null default clock_timestamp(),
    archive text                                        -- the table in dropgate_archive that its reservations went to, if any
);
