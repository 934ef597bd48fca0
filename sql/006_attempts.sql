-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- A limit to the reservations that one user may give back, or let run out, in one sale: whoever reserves and cancels in a loop
-- keeps units from the others without buying any.
set local role dropgate_owner;

alter table dropgate.sale add column attempts int not null default 20 check (attempts between 1 and 10000);

-- All reservations of a user in a sale, live or ended, now that their number has a limit: one probe finds what counts against either
-- limit, and an earlier grant of the same id. Of both together, so that a user of a thousand sales is no slower; as a hash, which is
-- less than half as dear for each new row as a B-tree over texts.
drop index dropgate.reservation_live;
create index reservation_of_user on dropgate.reservation using hash (hashtextextended(user_id, sale));
