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
revoke all on function dropgate.lock_sale from public;
