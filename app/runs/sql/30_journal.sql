-- What a worker writes. `batuta_journal` takes many operations of many steps in one round trip and one commit.

create or replace function batuta_owner_is_dead(p_owner uuid, p_lease interval) returns boolean
language sql stable as $$
    -- After a restart of this server nobody could renew: no lease is dead before a whole one has passed.
    select p_owner is null or (
        clock_timestamp() > pg_postmaster_start_time() + p_lease
        and not exists (select 1 from processes where process_id = p_owner and expires_at > clock_timestamp()))
$$;


-- The step's owner died: what it had sent and not heard of is unknown, and counts at its estimate. A vendor's job is not
-- lost with its owner, but with its step (p_jobs): nobody looks at it any more, unless a retry finds it again.
create or replace function batuta_lose_calls(p_run uuid, p_key text, p_jobs boolean default false) returns void
language plpgsql as $$
declare
    v_call record;
begin
    for v_call in
        update calls set status = 'unknown', cost_usd = estimate_usd
        where run_id = p_run and step_key = p_key and status = 'sent'
            and (vendor_job_id is null or (p_jobs and vendor_job_id not like 'batch:%'))
        returning estimate_usd, day, owner
    loop
        update runs set spent_usd = spent_usd + v_call.estimate_usd, reserved_usd = reserved_usd - v_call.estimate_usd
            where run_id = p_run;
        update steps set cost_usd = cost_usd + v_call.estimate_usd where run_id = p_run and key = p_key;
        perform batuta_settle_budgets(v_call.day, v_call.owner, v_call.estimate_usd, v_call.estimate_usd);
    end loop;
end $$;


-- What a step sees: the document's variables, and the outputs of what comes before it; later in the document wins.
create or replace function batuta_scope(p_step steps, p_type text) returns jsonb
language plpgsql stable as $$
declare
    v_values jsonb;
    v_outputs jsonb;
    v_missing jsonb;
begin
    if cardinality(p_step.reads) = 0 then
        return '{"values": {}, "missing": []}'::jsonb;
    end if;
    select coalesce(jsonb_object_agg(e.key, e.value), '{}'::jsonb) into v_values
        from run_inputs i, jsonb_each(i.variables) e
        where i.run_id = p_step.run_id and e.key = any(p_step.reads);
    select jsonb_object_agg(name, coalesce(value, 'null'::jsonb)) filter (where known),
           jsonb_agg(name) filter (where not known)
        into v_outputs, v_missing
        from (
            select distinct on (s.output_variable) s.output_variable as name, s.output as value,
                s.status = 'completed' or (s.status = 'skipped' and s.reason = 'when') as known
            from steps s
            where s.run_id = p_step.run_id and s.output_variable = any(p_step.reads) and s.parent is null
              and (s.block < p_step.block or (s.block = p_step.block and (
                    (p_type = 'inline' and s.position < p_step.position) or s.key = any(p_step.ancestors))))
            order by s.output_variable, s.block desc, s.position desc
        ) v;
    return jsonb_build_object('values', v_values || coalesce(v_outputs, '{}'::jsonb),
        'missing', coalesce(v_missing, '[]'::jsonb));
end $$;


create or replace function batuta_claim(
    inout fx batuta_effects, p_process uuid, p_lease interval, p_op jsonb, out answer jsonb)
language plpgsql as $$
declare
    v_run runs%rowtype;
    v_step steps%rowtype;
    v_type text;
    v_latency text;
    v_scope jsonb;
begin
    select * into v_run from runs where run_id = (p_op ->> 'run')::uuid;
    select * into v_step from steps where run_id = (p_op ->> 'run')::uuid and key = p_op ->> 'key' for update;
    if not found then
        answer := '{"refused": "unknown"}'::jsonb;
        return;
    end if;
    if v_step.status = 'running' and v_step.owner = p_process and v_step.claim = p_op ->> 'claim' then
        null;  -- the commit of this very claim was not heard of; it is ours
    elsif v_run.status <> 'running' or v_run.cancel_requested then
        answer := jsonb_build_object('refused', v_run.status);
        return;
    elsif v_step.status = 'ready' or (v_step.status = 'running' and batuta_owner_is_dead(v_step.owner, p_lease)) then
        if v_step.status = 'running' then
            if v_step.crashes >= 5 then
                answer := '{"refused": "lost too often"}'::jsonb;  -- recovery ends it
                return;
            end if;
            perform batuta_lose_calls(v_step.run_id, v_step.key);
        end if;
        -- A ready step without a place came by an old message; it keeps to the block's ceiling like any other.
        if not v_step.placed then
            answer := '{"refused": "no place"}'::jsonb;
            return;
        end if;
        update steps set status = 'running', reason = null, owner = p_process, claim = p_op ->> 'claim', fence = fence + 1,
            attempts = attempts + 1, crashes = crashes + (v_step.status = 'running')::int, not_before = null,
            started_at = coalesce(started_at, clock_timestamp())
            where run_id = v_step.run_id and key = v_step.key returning * into v_step;
        fx := batuta_note(fx, v_step.run_id, 'step_started', v_step.key, jsonb_build_object('attempt', v_step.attempts));
    else
        answer := jsonb_build_object('refused', v_step.status);
        return;
    end if;
    select type, latency into v_type, v_latency from blocks where run_id = v_step.run_id and block = v_step.block;
    v_scope := batuta_scope(v_step, v_type);
    answer := jsonb_build_object(
        'fence', v_step.fence, 'task', v_step.task, 'attempts', v_step.attempts, 'crashes', v_step.crashes,
        'tries', v_step.tries, 'doomed', v_step.doomed, 'rendered', v_step.rendered, 'scope', v_scope -> 'values',
        'missing', v_scope -> 'missing', 'item', v_step.item, 'item_value', v_step.item_value, 'parent', v_step.parent,
        'slots', to_jsonb(v_step.slots), 'run_owner', v_run.owner, 'run_kind', v_run.kind, 'origin', v_run.origin, 'latency', v_latency, 'queue', v_step.queue);
end $$;


-- Is the step still this owner's? Everything but a claim is fenced by owner and fence.
create or replace function batuta_holds(p_process uuid, p_op jsonb) returns boolean
language sql stable as $$
    select exists (select 1 from steps where run_id = (p_op ->> 'run')::uuid and key = p_op ->> 'key'
        and status = 'running' and owner = p_process and fence = (p_op ->> 'fence')::int)
$$;


-- Give a step back: it comes again at `delay` (null: when woken). Counts nothing but, for a failed try, its class.
create or replace function batuta_park(inout fx batuta_effects, p_op jsonb)
language plpgsql as $$
declare
    v_run uuid := (p_op ->> 'run')::uuid;
    v_key text := p_op ->> 'key';
    v_class text := p_op ->> 'error_class';
    v_reason text := p_op ->> 'reason';
    v_block int;
begin
    perform batuta_unplace(v_run, v_key);
    update steps set owner = null, reason = v_reason,
        status = case when v_reason = 'handed back' then 'ready' else 'parked' end,
        error = coalesce(p_op -> 'error', error),
        tries = case when v_class is null then tries
            else tries || jsonb_build_object(v_class, coalesce((tries ->> v_class)::int, 0) + 1) end,
        not_before = clock_timestamp() + make_interval(secs => (p_op ->> 'delay_s')::float)
        where run_id = v_run and key = v_key returning block into v_block;
    -- Who waits for money or a rate holds nobody up; a vendor's job that is alive still uses what it took.
    if v_reason in ('budget', 'rate', 'breaker') and not exists (select 1 from calls where run_id = v_run and step_key = v_key
            and status = 'sent' and vendor_job_id is not null) then
        fx := batuta_free_slots(fx, v_run, v_key);
    end if;
    fx := batuta_note(fx, v_run, case when v_reason = 'handed back' then 'step_handed_back' else 'step_parked' end, v_key,
        jsonb_strip_nulls(jsonb_build_object('reason', v_reason, 'delay_s', p_op -> 'delay_s', 'error', p_op -> 'error')));
    fx := batuta_place(fx, v_run, v_block);
end $$;


-- Wait for a person: no place, no owner, no clock.
create or replace function batuta_wait(inout fx batuta_effects, p_op jsonb)
language plpgsql as $$
declare
    v_run uuid := (p_op ->> 'run')::uuid;
    v_key text := p_op ->> 'key';
    v_block int;
begin
    perform batuta_unplace(v_run, v_key);
    update steps set owner = null, status = 'waiting', reason = 'person', rendered = coalesce(p_op -> 'rendered', rendered)
        where run_id = v_run and key = v_key returning block into v_block;
    update runs set waiting_steps = waiting_steps + 1 where run_id = v_run;
    fx := batuta_note(fx, v_run, 'step_waiting', v_key, jsonb_build_object('question', p_op -> 'rendered'));
    fx := batuta_place(fx, v_run, v_block);
    fx := batuta_settle_run(fx, v_run);
end $$;


-- A for_each becomes its items; they are steps like any other, and the for_each ends with the last of them.
create or replace function batuta_expand(inout fx batuta_effects, p_op jsonb)
language plpgsql as $$
declare
    v_step steps%rowtype;
    v_count int := jsonb_array_length(p_op -> 'items');
begin
    select * into v_step from steps where run_id = (p_op ->> 'run')::uuid and key = p_op ->> 'key';
    if exists (select 1 from steps where run_id = v_step.run_id and parent = v_step.key) then
        -- Begun before a retry: its list is what it was, and only what did not complete is done again.
        update steps set status = 'ready' where run_id = v_step.run_id and parent = v_step.key and status = 'pending';
        get diagnostics v_count = row_count;
        p_op := p_op - 'items';
    elsif v_count + (select count(*) from steps where run_id = v_step.run_id) > 10000 then
        -- Two thousand tasks of a thousand items each are one small document. A run's row is locked while its steps are
        -- placed and cancelled, which takes longer the more there are, and the writers of all runs wait for it.
        fx := batuta_end_step(fx, v_step.run_id, v_step.key, 'failed', null, jsonb_build_object('code', 'too_many_steps',
            'class', 'fatal', 'message', 'With the items of this for_each the run has over 10000 steps.'), null);
        return;
    end if;
    fx := batuta_note(fx, v_step.run_id, 'step_expanded', v_step.key, jsonb_build_object('items', v_count));
    if v_count = 0 then
        fx := batuta_end_items(fx, v_step.run_id, v_step.key);
        return;
    end if;
    perform batuta_unplace(v_step.run_id, v_step.key);
    insert into steps (run_id, key, block, position, parent, item, item_value, kind, target, task, reads, ancestors, slots,
            queue, status)
        select v_step.run_id, v_step.key || '.' || (e.place - 1), v_step.block, v_step.position, v_step.key, e.place - 1,
            e.value, v_step.kind, v_step.target, v_step.task || '{"for_each": []}',  -- not the whole list a thousand times
            array(select jsonb_array_elements_text(p_op -> 'reads')), v_step.ancestors, v_step.slots, v_step.queue, 'ready'
        from jsonb_array_elements(p_op -> 'items') with ordinality e (value, place);
    update steps set owner = null, status = 'waiting', reason = 'items', deps_left = v_count
        where run_id = v_step.run_id and key = v_step.key;
    fx := batuta_place(fx, v_step.run_id, v_step.block);
end $$;


-- Take all wanted slots, in name order, or none: then the step parks, and the next release wakes it.
create or replace function batuta_take_slots(inout fx batuta_effects, p_op jsonb, out answer jsonb)
language plpgsql as $$
declare
    v_run uuid := (p_op ->> 'run')::uuid;
    v_key text := p_op ->> 'key';
    v_want record;
    v_place int;
begin
    for v_want in select w ->> 0 as name, (w ->> 1)::int as places from jsonb_array_elements(p_op -> 'slots') w order by 1 loop
        insert into slots (name, place) select v_want.name, g from generate_series(1, v_want.places) g on conflict do nothing;
        -- The first place's row is the name's lock: a release between "none free" and "parked" cannot slip by.
        perform 1 from slots where name = v_want.name and place = 1 for update;
        if exists (select 1 from slots where name = v_want.name and run_id = v_run and step_key = v_key) then
            continue;
        end if;
        update slots set run_id = v_run, step_key = v_key where name = v_want.name and place = (
            select place from slots where name = v_want.name and run_id is null and place <= v_want.places
            order by place limit 1 for update) returning place into v_place;
        if v_place is null then
            fx := batuta_free_slots(fx, v_run, v_key);  -- all or none
            insert into slot_waiters (name, run_id, step_key) values (v_want.name, v_run, v_key) on conflict do nothing;
            update steps set slots = array(select w ->> 0 from jsonb_array_elements(p_op -> 'slots') w)
                where run_id = v_run and key = v_key;
            fx := batuta_park(fx, p_op || jsonb_build_object('reason', 'slot:' || v_want.name, 'delay_s', null));
            answer := jsonb_build_object('parked', true);
            return;
        end if;
        v_place := null;
    end loop;
    update steps set slots = array(select w ->> 0 from jsonb_array_elements(p_op -> 'slots') w)
        where run_id = v_run and key = v_key;
    answer := jsonb_build_object('parked', false);
end $$;


-- Wake a parked step: its time has come, a slot is free, money is there.
create or replace function batuta_wake(inout fx batuta_effects, p_run uuid, p_key text)
language plpgsql as $$
declare
    v_block int;
begin
    update steps set status = 'ready', reason = null, not_before = null
        where run_id = p_run and key = p_key and status = 'parked' returning block into v_block;
    if found then
        delete from slot_waiters where run_id = p_run and step_key = p_key;
        fx := batuta_place(fx, p_run, v_block);
    end if;
end $$;


-- One operation of a worker. The caller holds the run's row.
create or replace function batuta_apply(
    inout fx batuta_effects, p_process uuid, p_lease interval, p_op jsonb, out answer jsonb)
language plpgsql as $$
declare
    v_run uuid := (p_op ->> 'run')::uuid;
    v_key text := p_op ->> 'key';
    v_sends int := coalesce(cardinality(fx.sends), 0);
    r record;
begin
    case p_op ->> 'op'
    when 'claim' then
        select * into r from batuta_claim(fx, p_process, p_lease, p_op);
        fx := r.fx; answer := r.answer;
        return;
    when 'wake' then
        fx := batuta_wake(fx, v_run, v_key);
        answer := '{}'::jsonb;
        return;
    when 'answer_call' then  -- not fenced: a late answer still settles
        select * into r from batuta_answer_call(fx, p_op);
        fx := r.fx; answer := r.answer;
        return;
    when 'vendor_job' then
        answer := batuta_vendor_job(p_op);
        return;
    when 'stored_calls' then
        answer := jsonb_build_object('calls', coalesce((select jsonb_agg(jsonb_build_object('ordinal', c.ordinal,
                'request', c.request, 'answer', c.response, 'cost_usd', c.cost_usd) order by c.ordinal)
            from calls c where c.run_id = v_run and c.step_key = v_key and c.part = coalesce((p_op ->> 'part')::int, 0)
              and (c.status = 'answered' or c.status = 'rejected' and not coalesce(c.error ? 'put_away', false))),
            '[]'::jsonb));
        return;
    else null;
    end case;
    if not batuta_holds(p_process, p_op) then
        answer := '{"fenced": true}'::jsonb;
        return;
    end if;
    answer := '{"fenced": false}'::jsonb;
    case p_op ->> 'op'
    when 'finish' then
        if p_op ? 'model' or p_op ? 'rendered' then
            update steps set model = coalesce(p_op ->> 'model', model), rendered = coalesce(rendered, p_op -> 'rendered')
                where run_id = v_run and key = v_key;
        end if;
        if p_op ? 'grow' then
            p_op := batuta_grow(p_op);
        end if;
        fx := batuta_end_step(fx, v_run, v_key, p_op ->> 'status', p_op -> 'output', p_op -> 'error', p_op ->> 'reason',
            p_op ->> 'chained');
        if p_op ? 'chained' then
            answer := jsonb_build_object('fenced', false, 'chained', exists (
                select 1 from unnest(fx.sends[v_sends + 1:]) s where (s ->> 'chained')::boolean));
        end if;
    when 'nothing' then null;
    when 'freeze' then
        update steps set rendered = coalesce(rendered, p_op -> 'rendered') where run_id = v_run and key = v_key;
    when 'park' then
        fx := batuta_park(fx, p_op);
    when 'wait' then
        fx := batuta_wait(fx, p_op);
    when 'expand' then
        fx := batuta_expand(fx, p_op);
    when 'slots' then
        select * into r from batuta_take_slots(fx, p_op);
        fx := r.fx; answer := r.answer;
    when 'pool_call' then
        select * into r from batuta_pool_call(fx, p_op);
        fx := r.fx; answer := r.answer;
    when 'reserve_call' then
        select * into r from batuta_reserve_call(fx, p_op);
        fx := r.fx; answer := r.answer;
    end case;
end $$;


-- Apply many operations in one transaction. Runs are locked in the order of their ids, whatever the order of p_ops.
create or replace function batuta_journal(p_process uuid, p_lease_s float, p_ops jsonb, out answers jsonb, out effects jsonb)
language plpgsql as $$
declare
    v_none batuta_effects := batuta_no_effects();
    v_lease interval := make_interval(secs => p_lease_s);
    v_op jsonb;
    v_answers jsonb[] := array[]::jsonb[];
    v_effects jsonb[] := array[]::jsonb[];
    r record;
begin
    perform 1 from runs where run_id in (select (o ->> 'run')::uuid from jsonb_array_elements(p_ops) o)
        order by run_id for update;
    for v_op in select o from jsonb_array_elements(p_ops) o loop
        -- Each begins with none: what is gathered is copied at every call, and a batch may hold hundreds.
        select * into r from batuta_apply(v_none, p_process, v_lease, v_op);
        v_answers := array_append(v_answers, coalesce(r.answer, '{}'::jsonb));
        if cardinality((r.fx).sends) + cardinality((r.fx).events) + cardinality((r.fx).wakes) > 0 then
            v_effects := array_append(v_effects, batuta_effects_json(r.fx));
        end if;
    end loop;
    answers := to_jsonb(v_answers);
    effects := to_jsonb(v_effects);
end $$;


create or replace function batuta_effects_json(fx batuta_effects) returns jsonb
language sql immutable as $$
    select jsonb_build_object('sends', to_jsonb(fx.sends), 'events', to_jsonb(fx.events), 'wakes', to_jsonb(fx.wakes))
$$;


-- The beginning of a chain of functions.
create or replace function batuta_no_effects() returns batuta_effects
language sql immutable as $$
    select row(array[]::jsonb[], array[]::jsonb[], array[]::jsonb[])::batuta_effects
$$;
