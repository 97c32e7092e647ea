-- All of ours goes before all of it is laid, in one transaction: `create or replace` neither changes what a function
-- answers nor removes one that is gone. The view stays: callers may have built on it.
do $$
declare
    v_function regprocedure;
begin
    for v_function in
        select oid from pg_proc where starts_with(proname, 'batuta_') and pronamespace = to_regnamespace(current_schema())
    loop
        execute 'drop function ' || v_function;
    end loop;
end $$;
drop type if exists batuta_effects;
