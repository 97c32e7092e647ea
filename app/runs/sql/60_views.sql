-- The ledger in the words of callers' own reports. `component` is the agent that asked, `tokensUsed` all tokens,
-- `cacheHitRate` the share of input that was read from a vendor's cache.
create or replace view cost_tracking as
select
    c.call_id as "id",
    c.run_id::text as "taskId",
    coalesce(r.subject ->> 'userId', c.owner) as "userId",
    coalesce(nullif(c.agent, ''), c.model) as "component",
    c.input_tokens + c.output_tokens + c.cache_read_tokens + c.cache_write_5m_tokens + c.cache_write_1h_tokens as "tokensUsed",
    1 as "apiCalls",
    coalesce(c.cost_usd, 0) as "costDollars",
    case when c.input_tokens + c.cache_read_tokens + c.cache_write_5m_tokens + c.cache_write_1h_tokens = 0 then 0
        else round(c.cache_read_tokens::numeric
            / (c.input_tokens + c.cache_read_tokens + c.cache_write_5m_tokens + c.cache_write_1h_tokens), 2)
    end as "cacheHitRate",
    c.sent_at as "createdAt"
from calls c left join runs r on r.run_id = c.run_id
where c.status in ('answered', 'rejected', 'unknown');
