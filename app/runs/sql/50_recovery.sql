-- What a run needs when somebody died, a message was lost, or a time has come. Any worker may run these, at once too:
-- runs that somebody else works on are skipped and looked at again two seconds later.

-- Lock a run unless somebody holds it.
create or replace function batuta_lock_free_run(p_run uuid) returns boolean
language plpgsql as $$
begin
    perform 1 from runs where run_id = p_run for update skip locked;
    return found;
end $$;


-- One pass. p_epoch: messages older than this were lost with the broker's memory; p_depths: queue -> messages waiting.
create or replace function batuta_recover(
    p_lease_s float, p_limit int, p_epoch timestamptz, p_depths jsonb, out effects jsonb, out counts jsonb)
language plpgsql as $$
declare
    fx batuta_effects := batuta_no_effects();
    v_lease interval := make_interval(secs => p_lease_s);
    r record;
    v_lost int := 0;
    v_resent int := 0;
    v_woken int := 0;
    v_admitted int := 0;
begin
    -- One pass at a time saves work; every part is right without it.
    if not pg_try_advisory_xact_lock(hashtext('batuta_recover')) then
        counts := '{"busy": true}'::jsonb;
        return;
    end if;

    -- Steps of the dead: ready again, or failed when they killed five owners.
    for r in
        select s.run_id, s.key, s.crashes, s.block from steps s
        where s.status = 'running' and batuta_owner_is_dead(s.owner, v_lease)
        order by s.run_id, s.key limit p_limit
    loop
        continue when not batuta_lock_free_run(r.run_id);
        perform 1 from steps where run_id = r.run_id and key = r.key and status = 'running'
            and batuta_owner_is_dead(owner, v_lease) for update;
        continue when not found;
        v_lost := v_lost + 1;
        perform batuta_lose_calls(r.run_id, r.key);
        if exists (select 1 from runs where run_id = r.run_id and cancel_requested) then
            fx := batuta_end_step(fx, r.run_id, r.key, 'cancelled', null, null, 'run cancelled');
        elsif r.crashes >= 5 then
            fx := batuta_end_step(fx, r.run_id, r.key, 'failed', null, jsonb_build_object('code', 'worker_lost',
                'message', 'The worker died ' || (r.crashes + 1) || ' times while it ran this step.'), null);
        else
            perform batuta_unplace(r.run_id, r.key);
            update steps set status = 'ready', reason = null, owner = null, crashes = crashes + 1
                where run_id = r.run_id and key = r.key;
            fx := batuta_note(fx, r.run_id, 'step_lost', r.key, jsonb_build_object('crashes', r.crashes + 1));
            fx := batuta_place(fx, r.run_id, r.block);
        end if;
    end loop;

    -- Messages that nobody answered. While the queue is as long as the ready rows, they are only waiting their turn.
    for r in
        with waiting as (
            select s.queue, count(*) as n from steps s where s.status = 'ready' and s.placed group by s.queue
        )
        select s.run_id, s.key, s.queue, s.kind, s.target from steps s join waiting w using (queue)
        where p_depths is not null and s.status = 'ready' and s.placed and (
            s.enqueued_at < p_epoch
            or (s.enqueued_at < clock_timestamp() - make_interval(secs => least(4 * power(2, s.resends), 120))
                and coalesce((p_depths ->> s.queue)::int, 0) < w.n))
        order by s.run_id, s.block, s.position, s.item limit p_limit
    loop
        continue when not batuta_lock_free_run(r.run_id);
        update steps set enqueued_at = clock_timestamp(), resends = resends + 1
            where run_id = r.run_id and key = r.key and status = 'ready' and placed;
        continue when not found;
        v_resent := v_resent + 1;
        fx.sends := fx.sends || jsonb_build_object('run', r.run_id, 'key', r.key, 'queue', r.queue,
            'name', r.kind || ':' || r.target, 'tail', null, 'chained', false);
    end loop;

    -- Parked steps whose time has come, or whose slot is free although nobody woke them.
    for r in
        select run_id, key from steps where status = 'parked' and not_before <= clock_timestamp()
        union
        select w.run_id, w.step_key from slot_waiters w where exists (
            select 1 from slots f where f.name = w.name and f.run_id is null)
        union
        -- The taker of a free slot's wake may have died with it.
        select s.run_id, s.key from steps s where s.status = 'parked' and s.reason like 'slot:%' and not exists (
            select 1 from slot_waiters w where w.run_id = s.run_id and w.step_key = s.key)
        order by 1, 2 limit p_limit
    loop
        continue when not batuta_lock_free_run(r.run_id);
        v_woken := v_woken + 1;
        fx := batuta_wake(fx, r.run_id, r.key);
    end loop;

    -- Steps that wait for a call of their run to settle, when none is under way any more.
    for r in
        select distinct s.run_id from steps s join runs u using (run_id)
        where s.status = 'parked' and s.reason = 'budget' and u.status = 'running' and u.reserved_usd = 0
        order by s.run_id limit p_limit
    loop
        continue when not batuta_lock_free_run(r.run_id);
        fx := batuta_wake_for_money(fx, r.run_id);
    end loop;

    -- Free places in open blocks, for steps that are ready and were never sent.
    for r in
        select b.run_id, b.block from blocks b join runs u using (run_id)
        where b.status = 'open' and b.taken < b.places and u.status = 'running' and not u.cancel_requested
          and exists (select 1 from steps s where s.run_id = b.run_id and s.block = b.block and s.status = 'ready'
            and not s.placed)
        order by b.run_id limit p_limit
    loop
        continue when not batuta_lock_free_run(r.run_id);
        fx := batuta_place(fx, r.run_id, r.block);
    end loop;

    -- Cancels whose second half was never done.
    for r in
        select u.run_id from runs u where u.cancel_requested and u.finished_at is null order by u.run_id limit p_limit
    loop
        continue when not batuta_lock_free_run(r.run_id);
        fx := batuta_cancel_rest(fx, r.run_id);
    end loop;

    -- Places that are free while runs queue.
    for r in
        select run_id from runs where status = 'queued'
        order by case priority when 'high' then 0 when 'medium' then 1 else 2 end, created_at
        limit least(p_limit, (select count(*) from admission where run_id is null))
    loop
        continue when not batuta_lock_free_run(r.run_id);
        v_admitted := v_admitted + 1;
        fx := batuta_admit(fx, r.run_id, true);
    end loop;

    -- A day's budget is a new one at midnight UTC.
    for r in
        select run_id from runs u where u.status = 'paused_budget' and u.pause_reason in ('day', 'owner') and not exists (
            select 1 from events e where e.run_id = u.run_id and e.type = 'run_paused_budget'
              and e.at >= date_trunc('day', clock_timestamp() at time zone 'utc') at time zone 'utc')
        order by u.run_id limit p_limit
    loop
        continue when not batuta_lock_free_run(r.run_id);
        fx := batuta_unpause(fx, r.run_id);
    end loop;

    -- Places of runs that are gone.
    update admission a set run_id = null where a.run_id is not null
        and not exists (select 1 from runs u where u.run_id = a.run_id and u.status = 'running');
    delete from processes where expires_at < clock_timestamp() - interval '1 hour';

    effects := batuta_effects_json(fx);
    counts := jsonb_build_object('lost', v_lost, 'resent', v_resent, 'woken', v_woken, 'admitted', v_admitted);
end $$;


-- Go on after a pause of any kind.
create or replace function batuta_unpause(inout fx batuta_effects, p_run uuid)
language plpgsql as $$
begin
    update steps set status = 'ready', reason = null, not_before = null
        where run_id = p_run and status = 'parked' and reason = 'budget';
    update runs set status = 'queued' where run_id = p_run;
    fx := batuta_note(fx, p_run, 'run_resumed', null, null);
    fx := batuta_admit(fx, p_run);
end $$;


-- What people ask of a run. Answers null when the run's state does not allow it.
create or replace function batuta_command(p_run uuid, p_command text, p_op jsonb, out status text, out effects jsonb)
language plpgsql as $$
declare
    fx batuta_effects := batuta_no_effects();
    v_run runs%rowtype;
    v_step steps%rowtype;
begin
    select * into v_run from runs where run_id = p_run for update;
    case p_command
    when 'admit' then
        fx := batuta_admit(fx, p_run);
    when 'cancel' then
        if v_run.finished_at is not null then return; end if;
        update runs set cancel_requested = true where run_id = p_run;
        fx := batuta_note(fx, p_run, 'run_cancel_requested', null, null);
    when 'cancel_rest' then
        if v_run.finished_at is null then
            fx := batuta_cancel_rest(fx, p_run);
        end if;
    when 'pause' then
        if v_run.status not in ('running', 'waiting', 'queued') or v_run.cancel_requested then return; end if;
        fx := batuta_pause(fx, p_run, 'paused', 'asked');
    when 'resume' then
        if v_run.status not in ('paused', 'paused_budget') or v_run.cancel_requested then return; end if;
        fx := batuta_unpause(fx, p_run);
    when 'budget' then
        if v_run.finished_at is not null then return; end if;
        update runs set max_cost_usd = (p_op ->> 'max_cost_usd')::numeric where run_id = p_run;
        fx := batuta_note(fx, p_run, 'run_budget_set', null, p_op);
        if v_run.status = 'paused_budget' then
            fx := batuta_unpause(fx, p_run);
        end if;
    when 'retry' then
        if v_run.status not in ('failed', 'partial', 'cancelled') then return; end if;
        fx := batuta_retry(fx, p_run);
    when 'approve' then
        select * into v_step from steps where run_id = p_run and key = p_op ->> 'key' for update;
        if v_step.status is distinct from 'waiting' or v_step.reason is distinct from 'person'
            or v_run.cancel_requested then return; end if;
        fx := batuta_note(fx, p_run, 'step_judged', v_step.key, p_op);
        fx := batuta_end_step(fx, p_run, v_step.key,
            case when (p_op ->> 'approved')::boolean then 'completed' else 'failed' end,
            case when (p_op ->> 'approved')::boolean then p_op -> 'output' end,
            case when not (p_op ->> 'approved')::boolean then jsonb_build_object('code', 'rejected',
                'message', coalesce(nullif(p_op ->> 'note', ''), 'A person said no.')) end, null);
        if (select r.status from runs r where r.run_id = p_run) = 'waiting' and exists (
                select 1 from steps where run_id = p_run and steps.status in ('ready', 'pending')) then
            fx := batuta_admit(fx, p_run);
            fx := batuta_settle_run(fx, p_run);
        end if;
    end case;
    select r.status into status from runs r where r.run_id = p_run;
    effects := batuta_effects_json(fx);
end $$;


-- Write a new run with all its blocks and steps, and admit it.
create or replace function batuta_submit(p_run jsonb, p_blocks jsonb, p_steps jsonb, out status text, out effects jsonb)
language plpgsql as $$
declare
    fx batuta_effects := batuta_no_effects();
    v_run uuid := (p_run ->> 'run_id')::uuid;
begin
    insert into runs (run_id, kind, owner, status, priority, subject, max_cost_usd, callback_url, origin, block_count)
        values (v_run, p_run ->> 'kind', p_run ->> 'owner', 'new', p_run ->> 'priority', p_run -> 'subject',
            (p_run ->> 'max_cost_usd')::numeric, p_run ->> 'callback_url', nullif(p_run -> 'origin', 'null'),
            jsonb_array_length(p_blocks));
    insert into run_inputs (run_id, document, variables) values (v_run, p_run -> 'document', p_run -> 'variables');
    insert into blocks (run_id, block, type, latency, remaining, places)
        select v_run, b.block, b.type, b.latency, b.remaining, b.places
        from jsonb_to_recordset(p_blocks) b (block int, type text, latency text, remaining int, places int);
    insert into steps (run_id, key, block, position, kind, target, task, reads, ancestors, dependents, deps_left,
            output_variable, queue)
        select v_run, s.key, s.block, s.position, s.kind, s.target, s.task, s.reads, s.ancestors, s.dependents, s.deps_left,
            s.output_variable, s.queue
        from jsonb_to_recordset(p_steps) s (key text, block int, position int, kind text, target text, task jsonb,
            reads text[], ancestors text[], dependents text[], deps_left int, output_variable text, queue text);
    fx := batuta_note(fx, v_run, 'run_accepted', null, jsonb_build_object('kind', p_run ->> 'kind'));
    fx := batuta_admit(fx, v_run);
    select r.status into status from runs r where r.run_id = v_run;
    effects := batuta_effects_json(fx);
end $$;


-- Make MAX_CONCURRENT_WORKFLOWS places. Places over it that are taken go when their runs end.
create or replace function batuta_resize_admission(p_places int) returns void
language plpgsql as $$
begin
    insert into admission (place) select g from generate_series(1, p_places) g on conflict do nothing;
    delete from admission where place > p_places and run_id is null;
end $$;
