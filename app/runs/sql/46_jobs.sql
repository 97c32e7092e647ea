-- Jobs at a vendor: what a step ordered, and what became of the word about it.

-- The step's newest call, if it was sent and never answered: {"ordinal", "job_id", "request", "age_s", "retried", "code"}.
-- `job_id` is null where the vendor's answer was never heard; `retried` says that a person had the run tried again since.
create or replace function batuta_vendor_job(p_op jsonb) returns jsonb
language plpgsql stable as $$
declare
    v_call calls%rowtype;
begin
    select * into v_call from calls where run_id = (p_op ->> 'run')::uuid and step_key = p_op ->> 'key'
        and part = coalesce((p_op ->> 'part')::int, 0) order by ordinal desc limit 1;
    if not found or v_call.status not in ('sent', 'unknown') then
        return '{}'::jsonb;
    end if;
    return jsonb_build_object('ordinal', v_call.ordinal, 'job_id', v_call.vendor_job_id, 'request', v_call.request,
        'age_s', extract(epoch from clock_timestamp() - v_call.sent_at), 'code', coalesce(v_call.error ->> 'code', ''),
        'retried', exists (select 1 from events where run_id = v_call.run_id and type = 'run_retried'
            and at > v_call.sent_at));
end $$;
