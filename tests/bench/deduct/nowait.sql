-- SPDX-License-Identifier: BSD-3-Clause
-- FOR UPDATE NOWAIT, in a function since the error must be caught (see recipes.psql).
\set user random(1, 1000000000000)
select bench.nowait('shopper-' || :client_id || '-' || :user);
