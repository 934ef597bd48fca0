-- SPDX-License-Identifier: BSD-3-Clause
-- The plainest recipe: decrement if something is left. Nothing says who got it, and a lost answer cannot be asked for again.
update dropgate.stock set avail = avail - 1, held = held + 1, granted = granted + 1 where sale = 1 and avail > 0;
