-- SPDX-License-Identifier: BSD-3-Clause
-- Copyright (c) 2026, the Dropgate authors
--
-- How long a published event can be read. In the database, since every relay must agree and only operators may change it.
set local role dropgate_owner;
alter table dropgate.outbox_head add column keep interval not null default '14 days'
    constraint kept_for_a_while check (keep between '1 hour' and '10 years');
