create type batuta_effects as (sends jsonb[], events jsonb[], wakes jsonb[]);

-- A step's way from pending to its end. Every function here expects the caller to hold the run's row
-- (`select ... for update`), and takes locks in one order: run, block, step, slot, ledger. So two finishes of
-- one run follow each other, and what a statement reads under that lock is true until the commit.
--
-- `fx` gathers what must be published after the commit: sends (messages), events, wakes (steps of other runs).

create or replace function batuta_note(inout fx batuta_effects, p_run uuid, p_type text, p_step text, p_data jsonb)
language plpgsql as $$
declare
    v_seq int;
    v_at timestamptz := clock_timestamp();
begin
    update runs set event_seq = event_seq + 1 where run_id = p_run returning event_seq into v_seq;
    insert into events (run_id, seq, at, type, step_key, data) values (p_run, v_seq, v_at, p_type, p_step, p_data);
    fx.events := fx.events || jsonb_build_object(
        'run', p_run, 'seq', v_seq, 'at', v_at, 'type', p_type, 'step', p_step, 'data', p_data);
end $$;


-- Give free places of a block to its ready steps, in their order, and ask for their messages.
-- `p_chained` is the step that the caller's own Celery chain carries next; it needs no message of its own.
create or replace function batuta_place(inout fx batuta_effects, p_run uuid, p_block int, p_chained text default null)
language plpgsql as $$
declare
    v_run runs%rowtype;
    v_block blocks%rowtype;
    v_step record;
    v_tail jsonb;
    v_taken int := 0;
begin
    select * into v_run from runs where run_id = p_run;
    if v_run.status <> 'running' or v_run.cancel_requested then
        return;
    end if;
    select * into v_block from blocks where run_id = p_run and block = p_block for update;
    if v_block.status <> 'open' or v_block.taken >= v_block.places then
        return;
    end if;
    for v_step in
        update steps set placed = true, enqueued_at = clock_timestamp(), resends = 0
        where run_id = p_run and key in (
            select key from steps
            where run_id = p_run and block = p_block and status = 'ready' and not placed
            order by position, item
            limit v_block.places - v_block.taken
        )
        returning key, queue, kind, target, position, item
    loop
        v_taken := v_taken + 1;
        v_tail := null;
        if v_block.type = 'inline' and v_step.item is null and v_step.key is distinct from p_chained then
            select jsonb_agg(jsonb_build_array(t.key, t.kind || ':' || t.target) order by t.position) into v_tail
            from (
                select key, kind, target, position from steps
                where run_id = p_run and block = p_block and status = 'pending' and parent is null
                  and position > v_step.position
                order by position limit 19
            ) t;
        end if;
        fx.sends := fx.sends || jsonb_build_object(
            'run', p_run, 'key', v_step.key, 'queue', v_step.queue, 'name', v_step.kind || ':' || v_step.target,
            'tail', v_tail, 'chained', v_step.key = p_chained);
    end loop;
    if v_taken > 0 then
        update blocks set taken = taken + v_taken where run_id = p_run and block = p_block;
    end if;
end $$;


-- Take a step's place back without ending it (parked, waiting, handed back).
create or replace function batuta_unplace(p_run uuid, p_key text) returns void
language plpgsql as $$
declare
    v_block int;
begin
    update steps set placed = false where run_id = p_run and key = p_key and placed returning block into v_block;
    if found then
        update blocks set taken = taken - 1 where run_id = p_run and block = v_block;
    end if;
end $$;


-- Free what a step holds of the shared slots; each place that becomes free wakes the one that waited longest.
create or replace function batuta_free_slots(inout fx batuta_effects, p_run uuid, p_key text)
language plpgsql as $$
declare
    v_name text;
    v_waiter record;
begin
    delete from slot_waiters where run_id = p_run and step_key = p_key;
    -- The names' locks first, in order: who finds none free waits in the table before we look for who waits.
    perform 1 from slots where place = 1
        and name in (select name from slots where run_id = p_run and step_key = p_key) order by name for update;
    for v_name in
        with freed as (
            update slots set run_id = null, step_key = null where run_id = p_run and step_key = p_key returning name
        )
        select name from freed order by name
    loop
        delete from slot_waiters where waiter_id = (
            select waiter_id from slot_waiters where name = v_name order by waiter_id limit 1 for update skip locked
        ) returning run_id, step_key into v_waiter;
        if found then
            fx.wakes := fx.wakes || jsonb_build_object('run', v_waiter.run_id, 'key', v_waiter.step_key);
        end if;
    end loop;
end $$;


-- The one way out: worker, recovery, skip and cancel all end a step here.
create or replace function batuta_end_step(
    inout fx batuta_effects, p_run uuid, p_key text, p_status text, p_output jsonb, p_error jsonb, p_reason text,
    p_chained text default null)
language plpgsql as $$
declare
    v_step steps%rowtype;
    v_type text;
    v_left int;
    v_parent steps%rowtype;
    v_size int := coalesce(length(p_output::text), 0);
begin
    select * into v_step from steps where run_id = p_run and key = p_key for update;
    if not found or v_step.status in ('completed', 'failed', 'skipped', 'cancelled') then
        return;
    end if;
    -- A run is read whole, so there is a most to all its outputs too. Ten thousand steps of eight thousand characters
    -- stay under it; only larger ones are worth the look.
    if v_size > 8000 and (select output_chars from runs where run_id = p_run) + v_size > 128000000 then
        p_status := 'failed';
        p_output := null;
        v_size := 0;
        p_error := jsonb_build_object('code', 'run_too_large', 'class', 'fatal',
            'message', 'The outputs of the run together are over 128000000 characters.');
    end if;
    update blocks set remaining = remaining - (v_step.parent is null)::int, taken = taken - v_step.placed::int
        where run_id = p_run and block = v_step.block
        returning type, remaining into v_type, v_left;
    update steps set status = p_status, output = p_output, error = p_error, reason = p_reason, owner = null, placed = false,
        not_before = null, finished_at = clock_timestamp()
        where run_id = p_run and key = p_key;
    update runs set
        completed_steps = completed_steps + (p_status = 'completed' and v_step.reason is distinct from 'items')::int,
        failed_steps = failed_steps + (p_status = 'failed')::int,
        output_chars = output_chars + v_size,
        waiting_steps = waiting_steps - (v_step.status = 'waiting' and v_step.reason = 'person')::int
        where run_id = p_run;
    if p_status in ('skipped', 'failed') and v_step.task ? 'for_each' then
        -- items that a retry was to do again
        update steps set status = 'skipped', reason = coalesce(p_reason, 'its for_each failed'), finished_at = clock_timestamp()
            where run_id = p_run and parent = p_key and status = 'pending';
    end if;
    if cardinality(v_step.slots) > 0 then
        fx := batuta_free_slots(fx, p_run, p_key);
    end if;
    if v_step.kind in ('model', 'agent') then
        -- stopped between writing a call and hearing of it, or while a vendor is at work
        perform batuta_lose_calls(p_run, p_key, p_jobs => true);
    end if;
    fx := batuta_note(fx, p_run, 'step_' || p_status, p_key,
        jsonb_strip_nulls(jsonb_build_object('error', p_error, 'reason', p_reason)));

    -- What a failed step was needed for must not run: an approval is a gate for all that follows it,
    -- and a declared dependency of a graph is a need even where no variable is read.
    if p_status = 'failed' and v_step.kind = 'approval' then
        update steps set doomed = true
            where run_id = p_run and status in ('pending', 'ready')
              and (block > v_step.block or (block = v_step.block and (
                    (v_type = 'inline' and position > v_step.position)
                    or coalesce(v_step.parent, p_key) = any(ancestors))));
    elsif v_type = 'graph' and v_step.parent is null
        and (p_status = 'failed' or (p_status = 'skipped' and p_reason is distinct from 'when')) then
        update steps set doomed = true
            where run_id = p_run and key = any(v_step.dependents) and status in ('pending', 'ready');
    end if;

    if v_step.parent is not null then
        update steps set deps_left = deps_left - 1 where run_id = p_run and key = v_step.parent returning * into v_parent;
        if v_parent.deps_left = 0 then
            fx := batuta_end_items(fx, p_run, v_parent.key);
        else
            fx := batuta_place(fx, p_run, v_step.block, p_chained);
            fx := batuta_settle_run(fx, p_run);
        end if;
        return;
    end if;
    if cardinality(v_step.dependents) > 0 then
        update steps set deps_left = deps_left - 1,
            status = case when deps_left = 1 then 'ready' else status end
            where run_id = p_run and key = any(v_step.dependents) and status = 'pending';
    end if;
    if v_left = 0 then
        update blocks set status = 'done' where run_id = p_run and block = v_step.block;
        fx := batuta_open_block(fx, p_run, v_step.block + 1);
    else
        fx := batuta_place(fx, p_run, v_step.block, p_chained);
    end if;
    fx := batuta_settle_run(fx, p_run);
end $$;


-- All items of a for_each have ended: its output is their outputs in item order, null where one did not complete.
create or replace function batuta_end_items(inout fx batuta_effects, p_run uuid, p_key text)
language plpgsql as $$
declare
    v_outputs jsonb;
begin
    -- Together they must stay under what a step's own output may be, and far under the 256 MB that jsonb takes:
    -- an error here would be the last item's, and no write could ever end it.
    if (select coalesce(sum(length(output::text)), 0) > 32000000 from steps where run_id = p_run and parent = p_key) then
        fx := batuta_end_step(fx, p_run, p_key, 'failed', null, jsonb_build_object('code', 'output_too_large',
            'class', 'fatal', 'message', 'The outputs of the items together are over 32000000 characters.'), null);
        return;
    end if;
    select coalesce(jsonb_agg(coalesce(output, 'null'::jsonb) order by item), '[]'::jsonb) into v_outputs
        from steps where run_id = p_run and parent = p_key;
    fx := batuta_end_step(fx, p_run, p_key, 'completed', v_outputs, null, null);
end $$;


-- Open block p_block, or the next one that has steps, or end the run after the last.
create or replace function batuta_open_block(inout fx batuta_effects, p_run uuid, p_block int)
language plpgsql as $$
declare
    v_block blocks%rowtype;
begin
    for v_block in select * from blocks where run_id = p_run and block >= p_block order by block for update loop
        update runs set block_index = v_block.block where run_id = p_run;
        if v_block.remaining > 0 then
            update blocks set status = 'open' where run_id = p_run and block = v_block.block;
            update steps set status = 'ready'
                where run_id = p_run and block = v_block.block and status = 'pending' and deps_left = 0 and parent is null;
            fx := batuta_note(fx, p_run, 'block_opened', null, jsonb_build_object('block', v_block.block));
            fx := batuta_place(fx, p_run, v_block.block);
            return;
        end if;
        update blocks set status = 'done' where run_id = p_run and block = v_block.block;
    end loop;
    fx := batuta_end_run(fx, p_run);
end $$;
