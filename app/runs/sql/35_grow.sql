-- A step that ends may add blocks to its run: a plan that a step wrote becomes part of the document it was written in.

-- Add the blocks of `p_op`'s `grow`, counted from the block after the step's own, in the transaction that ends the step.
-- The caller holds the run's row, and the step is its own: nothing else opens a block meanwhile. Answers the operation
-- to go on with: the same, or one that fails the step where the run must not grow so.
create or replace function batuta_grow(p_op jsonb) returns jsonb
language plpgsql as $$
declare
    v_run runs%rowtype;
    v_grow jsonb := p_op -> 'grow';
    v_next int;
    v_tasks int;
    v_clash text;
begin
    select * into v_run from runs where run_id = (p_op ->> 'run')::uuid;
    select block + 1 into v_next from steps where run_id = v_run.run_id and key = p_op ->> 'key';
    select count(*) into v_tasks from steps where run_id = v_run.run_id and parent is null;
    -- A number that another block has is as much of a clash as a step's key.
    select 'block ' || b.block into v_clash from blocks b
        where b.run_id = v_run.run_id and b.block in (select (n ->> 'block')::int + v_next from jsonb_array_elements(v_grow -> 'blocks') n)
        limit 1;
    if v_clash is null then
        select 'step ' || s.key into v_clash from steps s
            where s.run_id = v_run.run_id and s.key in (select n ->> 'key' from jsonb_array_elements(v_grow -> 'steps') n)
            limit 1;
    end if;
    if v_clash is not null or v_tasks + jsonb_array_length(v_grow -> 'steps') > 2000 then
        return (p_op - 'output') || jsonb_build_object('status', 'failed', 'error', jsonb_build_object(
            'code', 'growth_refused', 'class', 'fatal', 'message', case
                when v_clash is not null then 'The run has a ' || v_clash || ' already.'
                else 'With these steps the run would have over 2000 tasks.' end));
    end if;
    insert into blocks (run_id, block, type, latency, remaining, places)
        select v_run.run_id, b.block + v_next, b.type, b.latency, b.remaining, b.places
        from jsonb_to_recordset(v_grow -> 'blocks') b (block int, type text, latency text, remaining int, places int);
    insert into steps (run_id, key, block, position, kind, target, task, reads, ancestors, dependents, deps_left,
            output_variable, queue)
        select v_run.run_id, s.key, s.block + v_next, s.position, s.kind, s.target, s.task, s.reads, s.ancestors, s.dependents,
            s.deps_left, s.output_variable, s.shape || '.' || v_run.priority
        from jsonb_to_recordset(v_grow -> 'steps') s (key text, block int, position int, kind text, target text, task jsonb,
            reads text[], ancestors text[], dependents text[], deps_left int, output_variable text, shape text);
    update runs set block_count = block_count + jsonb_array_length(v_grow -> 'blocks') where run_id = v_run.run_id;
    -- What the run has wins: nothing that a step wrote changes what the run was given.
    update run_inputs set variables = (v_grow -> 'variables') || variables where run_id = v_run.run_id;
    return p_op;
end $$;
