-- Money. A call is written before it is sent, and answered in the same row. The caller holds the run's row.

-- Reserve the worst case and write the call, or park the step and pause its run when money does not suffice.
-- A call that was answered already is handed back; one that is unknown, failed or rejected makes room for the next ordinal.
create or replace function batuta_reserve_call(inout fx batuta_effects, p_op jsonb, out answer jsonb)
language plpgsql as $$
declare
    v_run runs%rowtype;
    v_call calls%rowtype;
    v_key text := p_op ->> 'key';
    v_estimate numeric := (p_op ->> 'estimate_usd')::numeric;
    v_day date := (clock_timestamp() at time zone 'utc')::date;
    v_name text;
    v_cap numeric;
    v_short text;
    v_under_way boolean;
    v_delay_s float;
    v_request jsonb;
    v_ordinal int;
    v_aside boolean := coalesce((p_op ->> 'aside')::boolean, false);
begin
    select * into v_run from runs where run_id = (p_op ->> 'run')::uuid;
    if v_run.cancel_requested and v_aside then
        answer := '{"fenced": true}'::jsonb;
        return;
    elsif v_run.cancel_requested then
        -- Not even this one call more; the step learns of the end by finding that it is no longer its own.
        fx := batuta_end_step(fx, v_run.run_id, v_key, 'cancelled', null, null, 'run cancelled');
        answer := '{"fenced": true}'::jsonb;
        return;
    end if;
    select * into v_call from calls where run_id = v_run.run_id and step_key = v_key
        and part = coalesce((p_op ->> 'part')::int, 0)
        order by ordinal desc limit 1;
    if found and v_call.status = 'answered' then
        answer := jsonb_build_object('ordinal', v_call.ordinal, 'request', v_call.request, 'answer', v_call.response,
            'cost_usd', v_call.cost_usd);
        return;
    end if;
    if found and v_call.vendor_job_id is not null and v_call.status = 'sent' then
        answer := jsonb_build_object('ordinal', v_call.ordinal, 'request', v_call.request, 'vendor_job_id', v_call.vendor_job_id);
        return;
    end if;
    -- The stored request wins over a newly rendered one, except after a rejection, whose repair round asks anew.
    if found and v_call.status in ('unknown', 'failed') and not coalesce((p_op ->> 'replace')::boolean, false)
        and v_call.provider = p_op ->> 'provider' and v_call.model = p_op ->> 'model'
        and v_call.request ->> 'model' is not distinct from p_op -> 'request' ->> 'model' then
        v_request := v_call.request;
    end if;
    v_ordinal := coalesce((select max(ordinal) from calls where run_id = v_run.run_id and step_key = v_key), 0) + 1;

    if v_run.max_cost_usd is not null
        and v_run.spent_usd + v_run.reserved_usd + v_estimate > v_run.max_cost_usd then
        v_short := 'run';
    elsif v_run.max_cost_usd = 0 then
        v_short := 'run';
    end if;
    if v_short is null then
        -- '' is the installation, the other name the owner: in name order, always.
        for v_name, v_cap in
            select n.name, n.cap from (values ('', (p_op ->> 'day_cap_usd')::numeric),
                (v_run.owner, (p_op ->> 'owner_cap_usd')::numeric)) n (name, cap) order by n.name
        loop
            insert into budgets (day, name) values (v_day, v_name) on conflict do nothing;
            update budgets set reserved_usd = reserved_usd + v_estimate
                where day = v_day and name = v_name and (v_cap is null or spent_usd + reserved_usd + v_estimate <= v_cap);
            if not found then
                v_short := case when v_name = '' then 'day' else 'owner' end;
                if v_name <> '' then
                    update budgets set reserved_usd = reserved_usd - v_estimate where day = v_day and name = '';
                end if;
                exit;
            end if;
        end loop;
    end if;
    if v_short is not null and v_aside then
        -- A question beside the step's own work is left out: neither the step nor its run waits for money because of it.
        answer := jsonb_build_object('parked', true, 'budget', v_short);
        return;
    elsif v_short is not null then
        -- Calls under way are reserved at their worst and mostly cost less: while there are any, the step only waits
        -- for one of them to settle. Those of its own run wake it; for those of other runs it looks again by the clock.
        if v_short = 'run' then
            v_under_way := v_run.reserved_usd > 0;
        else
            select reserved_usd > 0 into v_under_way from budgets
                where day = v_day and name = case v_short when 'day' then '' else v_run.owner end;
            v_delay_s := case when v_under_way then 1 + 2 * random() end;
        end if;
        fx := batuta_park(fx, p_op || jsonb_build_object('reason', 'budget', 'delay_s', v_delay_s));
        if not v_under_way then
            fx := batuta_pause(fx, v_run.run_id, 'paused_budget', v_short);
        end if;
        answer := jsonb_build_object('parked', true, 'budget', v_short);
        return;
    end if;
    update runs set reserved_usd = reserved_usd + v_estimate where run_id = v_run.run_id;
    if not v_aside then
        update steps set rendered = coalesce(rendered, p_op -> 'rendered'), model = p_op ->> 'model'
            where run_id = v_run.run_id and key = v_key;
    end if;
    insert into calls (run_id, step_key, ordinal, part, owner, kind, provider, model, agent, status, request, estimate_usd,
            price_version, day)
        values (v_run.run_id, v_key, v_ordinal, coalesce((p_op ->> 'part')::int, 0), v_run.owner, v_run.kind, p_op ->> 'provider', p_op ->> 'model',
            coalesce(p_op ->> 'agent', ''), 'sent', coalesce(v_request, p_op -> 'request'), v_estimate, coalesce(p_op ->> 'price_version', ''), v_day);
    -- A request goes back only where it is another than was given: the given one may be long.
    answer := jsonb_build_object('ordinal', v_ordinal);
    if v_request is not null then
        answer := answer || jsonb_build_object('request', v_request);
    end if;
end $$;


-- Settle a call: answered, rejected (answered, but unusable: it cost money all the same) or failed (cost nothing,
-- unless it was sent and nobody knows).
create or replace function batuta_answer_call(inout fx batuta_effects, p_op jsonb, out answer jsonb)
language plpgsql as $$
declare
    v_call calls%rowtype;
    v_status text := p_op ->> 'status';
    v_cost numeric := coalesce((p_op ->> 'cost_usd')::numeric, 0);
    v_tokens bigint;
    v_released numeric;
    v_before numeric;
    v_usage jsonb := coalesce(p_op -> 'usage', '{}'::jsonb);
begin
    select * into v_call from calls where run_id = (p_op ->> 'run')::uuid and step_key = p_op ->> 'key'
        and ordinal = (p_op ->> 'ordinal')::int for update;
    if not found then
        answer := '{"settled": false}'::jsonb;
        return;
    end if;
    if p_op ? 'vendor_job_id' then
        update calls set vendor_job_id = p_op ->> 'vendor_job_id' where call_id = v_call.call_id;
        answer := '{"settled": true}'::jsonb;
        return;
    end if;
    if v_call.status not in ('sent', 'unknown') then
        -- An answer that turns out unusable was paid for already; only its word changes.
        if v_call.status = 'answered' and v_status = 'rejected' then
            update calls set status = 'rejected', error = p_op -> 'error' where call_id = v_call.call_id;
        end if;
        answer := jsonb_build_object('settled', v_call.status = 'answered');
        return;
    end if;
    if v_status = 'unknown' then
        v_cost := v_call.estimate_usd;
    end if;
    v_before := case when v_call.status = 'unknown' then coalesce(v_call.cost_usd, 0) else 0 end;
    v_released := case when v_call.status = 'sent' then v_call.estimate_usd else 0 end;
    v_tokens := coalesce((v_usage ->> 'input_tokens')::bigint, 0) + coalesce((v_usage ->> 'output_tokens')::bigint, 0)
        + coalesce((v_usage ->> 'cache_read_tokens')::bigint, 0) + coalesce((v_usage ->> 'cache_write_5m_tokens')::bigint, 0)
        + coalesce((v_usage ->> 'cache_write_1h_tokens')::bigint, 0);
    update calls set status = v_status, response = p_op -> 'response', error = p_op -> 'error', cost_usd = v_cost,
        input_tokens = coalesce((v_usage ->> 'input_tokens')::bigint, 0),
        output_tokens = coalesce((v_usage ->> 'output_tokens')::bigint, 0),
        cache_read_tokens = coalesce((v_usage ->> 'cache_read_tokens')::bigint, 0),
        cache_write_5m_tokens = coalesce((v_usage ->> 'cache_write_5m_tokens')::bigint, 0),
        cache_write_1h_tokens = coalesce((v_usage ->> 'cache_write_1h_tokens')::bigint, 0),
        answered_at = clock_timestamp()
        where call_id = v_call.call_id;
    update runs set spent_usd = spent_usd + v_cost - v_before, reserved_usd = reserved_usd - v_released,
        tokens = tokens + v_tokens where run_id = v_call.run_id;
    update steps set cost_usd = cost_usd + v_cost - v_before, tokens = tokens + v_tokens
        where run_id = v_call.run_id and key = v_call.step_key;
    perform batuta_settle_budgets(v_call.day, v_call.owner, v_cost - v_before, v_released);
    if v_released > 0 then
        fx := batuta_wake_for_money(fx, v_call.run_id);
    end if;
    answer := '{"settled": true}'::jsonb;
end $$;


-- Money of the run's own became free: the first step that waits for some tries again. One at a time; its own call wakes
-- the next when it settles, and recovery where it makes none.
create or replace function batuta_wake_for_money(inout fx batuta_effects, p_run uuid)
language plpgsql as $$
declare
    v_key text;
begin
    select s.key into v_key from steps s join runs r using (run_id)
        where s.run_id = p_run and r.status = 'running' and s.status = 'parked' and s.reason = 'budget'
        order by s.block, s.position, s.item limit 1;
    if found then
        fx := batuta_wake(fx, p_run, v_key);
    end if;
end $$;


-- Move money from reserved to spent in the day's budgets: the installation's first, then the owner's.
create or replace function batuta_settle_budgets(p_day date, p_owner text, p_spent numeric, p_released numeric) returns void
language plpgsql as $$
begin
    update budgets set spent_usd = spent_usd + p_spent, reserved_usd = reserved_usd - p_released
        where day = p_day and name = '';
    update budgets set spent_usd = spent_usd + p_spent, reserved_usd = reserved_usd - p_released
        where day = p_day and name = p_owner;
end $$;


-- Caps of the day come with a worker's settings: when one starts, every run that waits for the day tries again under
-- what it brought. Those that still do not fit pause again.
create or replace function batuta_retry_under_new_caps(out effects jsonb)
language plpgsql as $$
declare
    fx batuta_effects := batuta_no_effects();
    r record;
begin
    for r in
        select run_id from runs where status = 'paused_budget' and pause_reason in ('day', 'owner') order by run_id limit 500
    loop
        continue when not batuta_lock_free_run(r.run_id);
        fx := batuta_unpause(fx, r.run_id);
    end loop;
    effects := batuta_effects_json(fx);
end $$;
