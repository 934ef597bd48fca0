-- SPDX-License-Identifier: BSD-3-Clause
-- The first of the ledger's locks. Order everywhere: this advisory lock, then the sale's row in `stock`, then
-- reservations. Whoever moves stock takes all of them, each in a statement of its own, and only then reads the clock:
-- now() is older than the wait.
set local role dropgate_owner;

-- 1146244944 is "DROP" in ASCII; 0 in place of a sale is the migration's lock.
create or replace function dropgate.lock_sale(p_sale int) returns void
language plpgsql volatile as $$
begin
    -- A snapshot of the whole transaction would be older than the lock, and show stock that is gone.
    if pg_catalog.current_setting('transaction_isolation') <> 'read committed' then
        raise 'the ledger works in READ COMMITTED only' using errcode = 'invalid_transaction_state';
    end if;
    perform pg_catalog.pg_advisory_xact_lock(1146244944, p_sale);
end $$;

-- For whoever tells of a row without writing one. A row may be here and not at a synchronous standby: the wait for it was cut
-- short, or the server crashed within it. A commit record of our own lies behind that row's in the log, and is waited for. Costs
-- nothing without a synchronous standby: what is visible is on the disk then.
create or replace function dropgate.await_standby() returns void
language plpgsql volatile as $$
begin
    if pg_catalog.current_setting('synchronous_standby_names') <> '' then
        perform pg_catalog.pg_logical_emit_message(true, 'dropgate', 'read');
    end if;
end $$;
revoke all on function dropgate.lock_sale, dropgate.await_standby from public;
