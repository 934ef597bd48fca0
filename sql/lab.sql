-- SPDX-License-Identifier: BSD-3-Clause
-- For tests and the demo only, never a migration: lets time pass for holds. Installed by a superuser, since it writes a column
-- that is immutable everywhere else.
create schema if not exists dropgate_lab;

-- Makes up to p_limit holds of a sale due now, those that would have been due first. Returns how many. The next batch releases them.
create or replace function dropgate_lab.expire_now(p_sale int, p_limit int) returns int
language plpgsql volatile security definer
set search_path = pg_catalog, dropgate, pg_temp set session_replication_role = replica as $$
declare
    t timestamptz;
    changed int;
begin
    perform lock_sale(p_sale);
    t := clock_timestamp();
    update reservation r set expires_at = greatest(t, r.granted_at + interval '1 microsecond')
        where r.sale = p_sale and r.id = any (array(select d.id from reservation d where d.sale = p_sale and d.state = 'held' and d.expires_at > t
                                order by d.expires_at limit p_limit));
    get diagnostics changed = row_count;
    return changed;
end $$;
revoke all on function dropgate_lab.expire_now from public;
