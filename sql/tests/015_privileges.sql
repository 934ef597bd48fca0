-- SPDX-License-Identifier: BSD-3-Clause
-- Who may do what, all of it: every table, view, sequence, type, function and the schema itself, against one list. Whatever is
-- added must be added here, or this fails; PUBLIC and the service get nothing by accident.
begin;
select plan(14);

-- Where sales are archived is no less closed; a table there, so that there is something to look at.
set local role dropgate_owner;
create table dropgate_archive.a_sale as select * from dropgate.reservation;
reset role;

-- The whole list of functions that somebody may execute, and who. Anything that is not on it is the owner's alone.
create temp table allowed (function text, role text);
insert into allowed values
    ('catalog', 'dropgate_admin'), ('catalog', 'dropgate_service'),
    ('events_last', 'dropgate_service'),
    ('events_read', 'dropgate_service'),
    ('item_put', 'dropgate_admin'),
    ('outbox_forget', 'dropgate_service'),
    ('outbox_inspect', 'dropgate_admin'),
    ('outbox_keep', 'dropgate_admin'),
    ('outbox_relay', 'dropgate_service'),
    ('payment_action', 'dropgate_service'),
    ('payment_authorised', 'dropgate_service'),
    ('payment_begin', 'dropgate_service'),
    ('payment_captured', 'dropgate_service'),
    ('payment_checked', 'dropgate_service'),
    ('payment_declined', 'dropgate_service'),
    ('payment_due', 'dropgate_service'),
    ('payment_prune', 'dropgate_service'),
    ('payment_refunded', 'dropgate_service'),
    ('payment_unknown', 'dropgate_service'),
    ('payment_voided', 'dropgate_service'),
    ('payment_webhook', 'dropgate_service'),
    ('payment_backlog', 'dropgate_admin'), ('payment_backlog', 'dropgate_service'),
    ('reservation_cancel', 'dropgate_service'),
    ('reservation_get', 'dropgate_service'),
    ('reservation_resolve', 'dropgate_admin'),
    ('reserve_arrays', 'dropgate_service'), ('reserve_batch', 'dropgate_service'),
    ('sale_close', 'dropgate_admin'),
    ('sale_inspect', 'dropgate_admin'),
    ('sale_list', 'dropgate_admin'),
    ('sale_price', 'dropgate_admin'),
    ('sale_put', 'dropgate_admin'),
    ('sale_restock', 'dropgate_admin'),
    ('sale_retire', 'dropgate_admin'),
    ('sales_retire', 'dropgate_admin'),
    ('user_inspect', 'dropgate_admin');

select set_eq(
    $$ select p.proname::text, r.rolname::text from pg_proc p cross join pg_roles r
       where p.pronamespace = 'dropgate'::regnamespace and r.rolname in ('dropgate_service', 'dropgate_admin')
         and has_function_privilege(r.rolname, p.oid, 'execute') $$,
    'select function, role from allowed', 'each role may execute exactly its functions');
select is_empty($$ select p.proname from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                   where p.pronamespace = 'dropgate'::regnamespace and a.grantee = 0 $$, 'PUBLIC may execute none');
select is_empty($$ select p.proname, a.grantee::regrole from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
                   where p.pronamespace = 'dropgate'::regnamespace and a.is_grantable and a.grantee <> p.proowner $$, 'nobody may pass a function on');
select is_empty($$ select p.proname from pg_proc p join pg_roles r on r.oid = p.proowner
                   where p.pronamespace = 'dropgate'::regnamespace and r.rolname <> 'dropgate_owner' $$, 'every function belongs to the owner role');
select is_empty($$ select p.proname from pg_proc p join allowed a on a.function = p.proname
                   where p.pronamespace = 'dropgate'::regnamespace and not p.prosecdef $$, 'whatever may be called runs as the owner');
select is_empty($$ select p.proname from pg_proc p where p.pronamespace = 'dropgate'::regnamespace and p.prosecdef
                     and not coalesce(p.proconfig @> array['search_path=pg_catalog, dropgate, pg_temp'], false) $$,
                'and with a fixed search_path, temporary objects last');

-- Tables of every kind, partitions and views. has_table_privilege sees what comes by PUBLIC or by membership, too.
select is_empty($$ select c.relname, what from pg_class c, unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) what
                   where c.relnamespace in ('dropgate'::regnamespace, 'dropgate_archive'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm', 'f')
                     and (has_table_privilege('dropgate_service', c.oid, what) or has_table_privilege('public', c.oid, what)) $$,
                'the service and PUBLIC have no right on any table');
select is_empty($$ select c.relname, a.attname, what from pg_class c join pg_attribute a on a.attrelid = c.oid and not a.attisdropped,
                   unnest(array['select', 'insert', 'update', 'references']) what
                   where c.relnamespace in ('dropgate'::regnamespace, 'dropgate_archive'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm', 'f')
                     and (has_column_privilege('dropgate_service', c.oid, a.attnum, what) or has_column_privilege('public', c.oid, a.attnum, what)) $$,
                'nor on any column');
select is_empty($$ select c.relname, what from pg_class c, unnest(array['insert', 'update', 'delete', 'truncate', 'references', 'trigger']) what
                   where c.relnamespace in ('dropgate'::regnamespace, 'dropgate_archive'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm', 'f')
                     and has_table_privilege('dropgate_admin', c.oid, what) $$, 'operators change no table but by their functions');
select is_empty($$ select c.relname from pg_class c where c.relnamespace in ('dropgate'::regnamespace, 'dropgate_archive'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm')
                     and not has_table_privilege('dropgate_admin', c.oid, 'select') $$, 'and may read all of them');
select is_empty($$ select c.relname, r.rolname from pg_class c cross join pg_roles r where c.relnamespace in ('dropgate'::regnamespace, 'dropgate_archive'::regnamespace) and c.relkind = 'S'
                     and r.rolname in ('dropgate_service', 'dropgate_admin') and has_sequence_privilege(r.rolname, c.oid, 'usage, select, update') $$,
                'nobody but the owner touches a sequence');
select is_empty($$ select c.relname, c.relowner::regrole from pg_class c where c.relnamespace in ('dropgate'::regnamespace, 'dropgate_archive'::regnamespace)
                     and c.relowner <> 'dropgate_owner'::regrole $$, 'every table, index and sequence belongs to the owner role');

-- The schema, and the roles themselves.
select is((select string_agg(concat_ws(' ', r.rolname, case when has_schema_privilege(r.rolname, 'dropgate', 'usage') then 'usage' end,
                                       case when has_schema_privilege(r.rolname, 'dropgate', 'create') then 'create' end), ', ' order by r.rolname)
           from (select rolname from pg_roles where rolname in ('dropgate_admin', 'dropgate_service') union all select 'public') r),
          'dropgate_admin usage, dropgate_service usage, public', 'the two roles may look into the schema, and nobody may add to it');
select is((select string_agg(concat_ws(' ', r.rolname, case when r.rolcanlogin then 'login' end,
                                       case when r.rolsuper or r.rolcreaterole or r.rolcreatedb or r.rolreplication or r.rolbypassrls then 'powerful' end,
                                       (select string_agg('in ' || m.roleid::regrole, ' ') from pg_auth_members m where m.member = r.oid)), ', ' order by r.rolname)
           from pg_roles r where r.rolname like 'dropgate%'),
          'dropgate_admin, dropgate_owner, dropgate_service login', 'only the service logs in, and no role has another''s rights');

select * from finish();
rollback;
