"""What an agent's calls read from the vendor's cache, by the ledger."""

from __future__ import annotations

from pathlib import Path

from app.http import create_app
from simulator import Simulator
from tests.acceptance.runs.canon_writer import CANON, USER
from tests.engine.saying import say
from tests.engine.trial import open_trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]
HIT_RATES = 'select "cacheHitRate", "costDollars" from cost_tracking where component = \'canon_writer\' order by id'
HIT_RATE = (
    "select sum(cache_read_tokens)::float / sum(input_tokens + cache_read_tokens + cache_write_5m_tokens + "
    "cache_write_1h_tokens), min(price_version), max(price_version), sum(cache_write_1h_tokens) from calls "
    "where agent = 'canon_writer' and call_id > (select min(call_id) from calls)"
)


def test_the_second_and_later_calls_of_an_agent_read_most_of_their_input_from_the_cache(
    database_url: str, redis_url: str, tmp_path: Path, simulator: Simulator
) -> None:
    environment = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "ANTHROPIC_BASE_URL": simulator.anthropic_url,
        "ANTHROPIC_API_KEY": "sk-ant-of-the-simulator",
        "EXTENSIONS": "tests.engine.tools,tests.acceptance.runs.canon_writer",
    }
    with open_trial(environment, tmp_path) as trial:
        trial.workers.start(2)
        web = create_app(trial.application).test_client()
        for part in range(2):  # across runs as well
            tasks = [{"agent": "canon_writer", "input": {"brief": f"Number {part}.{n}, please."}} for n in range(4)]
            answer = web.post("/workflow", json={"workflow": [{"type": "inline", "tasks": tasks}]})
            assert answer.status_code == 202 or answer.get_json()["status"] == "completed", answer.get_json()
        rates = trial.ask(HIT_RATES)
        [(later, *versions, written)] = trial.ask(HIT_RATE)

    say(f"hit rates {', '.join(str(rate) for rate, _ in rates)}; {later:.1%} of all input after the first call")
    assert len(rates) == 8
    assert rates[0][0] == 0
    assert all(rate >= 0.6 for rate, _ in rates[1:])
    assert later >= 0.6
    assert written == 0
    assert rates[0][1] > 3 * max(cost for _, cost in rates[1:])
    assert versions == [trial.application.registry.version] * 2
    [first, *_] = simulator.log("/anthropic/v1/messages")
    marked = [(block["text"], block["cache_control"]["ttl"]) for block in first["body"]["system"]]
    assert marked == [(CANON, "1h"), (USER, "1h")]
