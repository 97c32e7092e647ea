-- A question that may wait is written into the ledger like any other and pooled; its step is parked in the same
-- transaction, so that an answer cannot come before there is somebody to wake. The caller holds the run's row.

-- Reserve the call and pool it, or say that it is to be asked live: {"live": true}. Otherwise the step is parked:
-- for money, or until its answer is there, at the latest shortly after `live_after_s`.
create or replace function batuta_pool_call(inout fx batuta_effects, p_op jsonb, out answer jsonb)
language plpgsql as $$
declare
    v_run uuid := (p_op ->> 'run')::uuid;
    v_key text := p_op ->> 'key';
    v_call calls%rowtype;
    v_live_at timestamptz;
    r record;
begin
    -- Once in a batch is enough: a live call that failed after it is tried again live, for the batch's time is over.
    select * into v_call from calls where run_id = v_run and step_key = v_key
        and part = coalesce((p_op ->> 'part')::int, 0) and vendor_job_id like 'batch:%' order by ordinal desc limit 1;
    if found then
        select live_at into v_live_at from pooled_calls
            where run_id = v_run and step_key = v_key and ordinal = v_call.ordinal;
        if v_call.status <> 'sent' or not found then
            answer := '{"live": true}'::jsonb;  -- the batch did not bring it, or brought what cannot be used
            return;
        end if;
    else
        select * into r from batuta_reserve_call(fx, p_op);
        fx := r.fx;
        answer := r.answer;
        if not answer ? 'ordinal' or answer ? 'answer' or answer ? 'vendor_job_id' then
            return;
        end if;
        v_live_at := clock_timestamp() + make_interval(secs => (p_op ->> 'live_after_s')::float);
        update calls set vendor_job_id = 'batch:' where run_id = v_run and step_key = v_key
            and ordinal = (answer ->> 'ordinal')::int;
        insert into pooled_calls (run_id, step_key, ordinal, provider, model, live_at)
            values (v_run, v_key, (answer ->> 'ordinal')::int, p_op ->> 'provider', p_op ->> 'vendor_model', v_live_at);
    end if;
    -- Woken by the answer. The clock is for what no pass came to: it looks again, and pools nothing twice.
    fx := batuta_park(fx, p_op || jsonb_build_object('reason', 'batch', 'delay_s',
        greatest(60, extract(epoch from v_live_at - clock_timestamp()))));
    answer := '{"pooled": true}'::jsonb;
end $$;
