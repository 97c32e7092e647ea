-- A run's own states: admission, ends, waiting, pause, cancel, retry. The caller holds the run's row.

-- Take a place, or queue behind those who wait already. A run that has a place goes on where it stands.
create or replace function batuta_admit(inout fx batuta_effects, p_run uuid, p_ahead boolean default false)
language plpgsql as $$
declare
    v_place int;
    v_block record;
begin
    if p_ahead or not exists (select 1 from runs where status = 'queued' and run_id <> p_run) then
        select place into v_place from admission where run_id is null limit 1 for update skip locked;
    end if;
    if v_place is null then
        update runs set status = 'queued', pause_reason = null where run_id = p_run and status <> 'queued';
        if found then
            fx := batuta_note(fx, p_run, 'run_queued', null, null);
        end if;
        return;
    end if;
    update admission set run_id = p_run where place = v_place;
    update runs set status = 'running', pause_reason = null, started_at = coalesce(started_at, clock_timestamp())
        where run_id = p_run;
    fx := batuta_note(fx, p_run, 'run_started', null, null);
    if not exists (select 1 from blocks where run_id = p_run and status <> 'pending') then
        fx := batuta_open_block(fx, p_run, 0);
    else
        select block into v_block from blocks where run_id = p_run and status = 'open';
        if found then
            fx := batuta_place(fx, p_run, v_block.block);
            fx := batuta_settle_run(fx, p_run);  -- all that is open may wait for a person
        else
            fx := batuta_end_run(fx, p_run);
        end if;
    end if;
end $$;


-- Give the place back and hand it to the next in the queue: by priority, then by age.
create or replace function batuta_release_place(inout fx batuta_effects, p_run uuid)
language plpgsql as $$
declare
    v_next uuid;
begin
    update admission set run_id = null where run_id = p_run;
    if not found then
        return;
    end if;
    select run_id into v_next from runs where status = 'queued'
        order by case priority when 'high' then 0 when 'medium' then 1 else 2 end, created_at
        limit 1 for update skip locked;
    if v_next is not null then
        fx := batuta_admit(fx, v_next, true);
    end if;
end $$;


create or replace function batuta_end_run(inout fx batuta_effects, p_run uuid)
language plpgsql as $$
declare
    v_run runs%rowtype;
    v_status text;
begin
    select * into v_run from runs where run_id = p_run;
    v_status := case
        when v_run.cancel_requested then 'cancelled'
        when v_run.failed_steps = 0 then 'completed'
        when v_run.completed_steps > 0 then 'partial'
        else 'failed' end;
    update runs set status = v_status, pause_reason = null, finished_at = clock_timestamp() where run_id = p_run;
    if v_run.callback_url is not null then
        insert into outbox (delivery_id, run_id, url) values (gen_random_uuid(), p_run, v_run.callback_url);
    end if;
    fx := batuta_note(fx, p_run, 'run_' || v_status, null, null);
    fx := batuta_release_place(fx, p_run);
end $$;


-- After a step of the run changed: a cancelled run ends when nothing of it runs; one whose open steps all wait
-- for a person gives its place back.
create or replace function batuta_settle_run(inout fx batuta_effects, p_run uuid)
language plpgsql as $$
declare
    v_run runs%rowtype;
begin
    select * into v_run from runs where run_id = p_run;
    if v_run.finished_at is not null then
        return;
    end if;
    if v_run.cancel_requested then
        if not exists (select 1 from steps where run_id = p_run and status not in
                ('completed', 'failed', 'skipped', 'cancelled')) then
            fx := batuta_end_run(fx, p_run);
        end if;
        return;
    end if;
    if v_run.status = 'running' and v_run.waiting_steps > 0
        and not exists (select 1 from steps where run_id = p_run and status in ('ready', 'running', 'parked')) then
        update runs set status = 'waiting' where run_id = p_run;
        fx := batuta_note(fx, p_run, 'run_waiting', null, null);
        fx := batuta_release_place(fx, p_run);
    end if;
end $$;


-- Stop sending: ready steps lose their places, running ones finish. `p_status`: paused or paused_budget.
create or replace function batuta_pause(inout fx batuta_effects, p_run uuid, p_status text, p_reason text)
language plpgsql as $$
begin
    update runs set status = p_status, pause_reason = p_reason
        where run_id = p_run and status in ('running', 'waiting', 'queued');
    if not found then
        return;
    end if;
    perform batuta_unplace(p_run, key) from steps where run_id = p_run and status = 'ready' and placed order by key;
    fx := batuta_note(fx, p_run, 'run_' || p_status, null, jsonb_build_object('reason', p_reason));
    fx := batuta_release_place(fx, p_run);
end $$;


-- Second half of a cancel (the flag is set and committed): end all that does not run; what runs ends by itself.
create or replace function batuta_cancel_rest(inout fx batuta_effects, p_run uuid)
language plpgsql as $$
declare
    v_key record;
begin
    -- Items before their parents, so that a parent is never ended by its last item. A few hundred at a time: the run's
    -- row is locked meanwhile, and every version of it that one transaction makes is in the way of the next. Who calls
    -- comes again until nothing is cancelled any more.
    for v_key in
        select key, parent from steps s where run_id = p_run and status in ('pending', 'ready', 'parked', 'waiting')
            and not (reason is not distinct from 'items' and deps_left > 0 and exists (
                select 1 from steps i where i.run_id = p_run and i.parent = s.key and i.status = 'running'))
        order by (parent is null), block, position, item
        limit 500
    loop
        fx := batuta_cancel_step(fx, p_run, v_key.key);
    end loop;
    fx := batuta_settle_run(fx, p_run);
end $$;


create or replace function batuta_cancel_step(inout fx batuta_effects, p_run uuid, p_key text)
language plpgsql as $$
declare
    v_step steps%rowtype;
begin
    select * into v_step from steps where run_id = p_run and key = p_key for update;
    if v_step.reason = 'items' and v_step.deps_left > 0 and exists (
            select 1 from steps where run_id = p_run and parent = p_key and status = 'running') then
        return;  -- its last running item ends it
    end if;
    update blocks set remaining = remaining - (v_step.parent is null)::int, taken = taken - v_step.placed::int
        where run_id = p_run and block = v_step.block;
    update runs set waiting_steps = waiting_steps - (v_step.status = 'waiting' and v_step.reason = 'person')::int
        where run_id = p_run;
    update steps set status = 'cancelled', reason = 'run cancelled', owner = null, placed = false, not_before = null,
        finished_at = clock_timestamp() where run_id = p_run and key = p_key;
    if v_step.parent is not null then
        update steps set deps_left = deps_left - 1 where run_id = p_run and key = v_step.parent and reason = 'items';
    end if;
    if cardinality(v_step.slots) > 0 then
        fx := batuta_free_slots(fx, p_run, p_key);
    end if;
    if v_step.status = 'parked' and v_step.kind in ('model', 'agent') then
        perform batuta_lose_calls(p_run, p_key, p_jobs => true);  -- a vendor is at work for it
    end if;
    fx := batuta_note(fx, p_run, 'step_cancelled', p_key, null);
end $$;


-- What a retry does again: what failed, what was cancelled, and what was skipped for want of those.
create or replace function batuta_comes_again(p_step steps) returns boolean
language sql immutable as $$
    select p_step.status in ('failed', 'cancelled') or (p_step.status = 'skipped' and p_step.reason is distinct from 'when')
$$;


-- Answers that could not be used are put away: they stay paid, and are not judged once more, or a person's retry could
-- only fail as before. Those that a step's own program could make nothing of (class `logical`) count among them; what
-- explained the failure (parts from 1000000) does not.
create or replace function batuta_put_away(p_run uuid) returns void
language sql as $$
    update calls c set status = 'rejected',
        error = case when jsonb_typeof(c.error) = 'object' then c.error else '{}' end || '{"put_away": true}'
        from steps s
        where s.run_id = p_run and batuta_comes_again(s) and c.run_id = p_run and c.step_key = s.key and c.part < 1000000
          and (c.status = 'rejected' or c.status = 'answered' and s.status = 'failed'
               and s.error ->> 'class' = 'logical' and s.error ->> 'code' is distinct from 'unusable_answer')
$$;


-- Begin again at what failed. What completed stays, with its output and what it cost; only a step that tells of the
-- others (`config.tells`) comes again with them.
create or replace function batuta_retry(inout fx batuta_effects, p_run uuid)
language plpgsql as $$
declare
    v_block record;
    v_left int;
    v_open boolean := false;
begin
    perform batuta_put_away(p_run);
    -- A for_each with items that did not complete comes again, when its turn is, for those items alone.
    update steps p set status = 'pending', reason = null, output = null, finished_at = null
        where p.run_id = p_run and p.status in ('completed', 'cancelled') and exists (
            select 1 from steps i where i.run_id = p_run and i.parent = p.key and batuta_comes_again(i));
    update steps set status = 'pending', reason = null, doomed = false, placed = false, owner = null, not_before = null,
        output = null, error = null, tries = '{}', crashes = 0, finished_at = null
        where run_id = p_run and (batuta_comes_again(steps)
            or status = 'completed' and task -> 'config' -> 'tells' = 'true'::jsonb);
    -- Between two that come again there may be one that stays: each waits for the nearest before it that come again.
    with recursive again as (
        select t.key, t.block, t.position, t.task, b.type from steps t join blocks b using (run_id, block)
        where t.run_id = p_run and t.status = 'pending' and t.parent is null
    ), back (key, needs) as (
        select a.key, n.key from again a, jsonb_array_elements_text(a.task -> 'depends_on') n (key) where a.type = 'graph'
        union
        select b.key, n.key from back b join steps m on m.run_id = p_run and m.key = b.needs and m.status <> 'pending',
            jsonb_array_elements_text(m.task -> 'depends_on') n (key)
    ), edges (key, needs) as (
        select b.key, b.needs from back b join again a on a.key = b.needs
        union all
        select key, lag(key) over (partition by block order by position) from again where type = 'inline'
    )
    update steps s set
        dependents = array(select e.key from edges e where e.needs = s.key),
        deps_left = (select count(e.needs) from edges e where e.key = s.key)
        where s.run_id = p_run and s.key in (select key from again);
    for v_block in select block from blocks where run_id = p_run order by block for update loop
        select count(*) into v_left from steps where run_id = p_run and block = v_block.block and parent is null
            and status not in ('completed', 'skipped');
        update blocks set remaining = v_left, taken = 0,
            status = case when v_left = 0 and not v_open then 'done' when v_open then 'pending' else 'open' end
            where run_id = p_run and block = v_block.block;
        if v_left > 0 and not v_open then
            v_open := true;
            update steps set status = 'ready'
                where run_id = p_run and block = v_block.block and status = 'pending' and deps_left = 0 and parent is null;
        end if;
    end loop;
    update runs set cancel_requested = false, error = null, finished_at = null, status = 'queued', failed_steps = 0,
        completed_steps = (select count(*) from steps where run_id = p_run and status = 'completed' and not exists (
            select 1 from steps i where i.run_id = p_run and i.parent = steps.key)),
        output_chars = (select coalesce(sum(length(output::text)), 0) from steps where run_id = p_run),
        waiting_steps = 0
        where run_id = p_run;
    fx := batuta_note(fx, p_run, 'run_retried', null, null);
    fx := batuta_admit(fx, p_run);
end $$;
