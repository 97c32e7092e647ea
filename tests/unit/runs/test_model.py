from __future__ import annotations

import time
import uuid
from typing import Any

from app.runs.callback_address import callback_problem
from app.runs.effects import read_all_effects
from app.runs.model import ENDED, RunStatus, Send, new_run_id


def test_run_ids_are_uuids_of_version_seven_in_the_order_of_time() -> None:
    made = []
    for _ in range(5):
        made.append(new_run_id())
        time.sleep(0.002)
    assert made == sorted(made)
    assert {uuid.UUID(run_id).version for run_id in made} == {7}
    assert {uuid.UUID(run_id).variant for run_id in made} == {uuid.RFC_4122}


def test_run_ids_of_one_moment_differ() -> None:
    assert len({new_run_id() for _ in range(10_000)}) == 10_000


def test_four_states_of_a_run_are_ends() -> None:
    assert {status for status in RunStatus if status.ended} == ENDED
    assert {status.value for status in ENDED} == {"completed", "partial", "failed", "cancelled"}


def test_effects_of_several_operations_keep_their_order() -> None:
    send = {"run": "r", "queue": "inline.low", "name": "tool:t", "chained": None}
    raw: list[dict[str, Any]] = [
        {"sends": [{**send, "key": "a", "tail": [["b", "tool:u"]]}], "events": [], "wakes": []},
        {"sends": [{**send, "key": "c", "tail": None}], "events": [], "wakes": [{"run": "x", "key": "y"}]},
    ]
    effects = read_all_effects(raw)
    assert effects.sends == (
        Send("r", "a", "inline.low", "tool:t", (("b", "tool:u"),)),
        Send("r", "c", "inline.low", "tool:t"),
    )
    assert effects.wakes == (("x", "y"),)


def test_only_allowed_hosts_may_be_called_back() -> None:
    allowed = ("n8n.internal", "127.0.0.1:8443")
    for url in ("http://n8n.internal/x", "https://N8N.internal:99/x?y=1", "https://127.0.0.1:8443/"):
        assert callback_problem(url, allowed) is None
    for url in (
        "http://127.0.0.1/",
        "ftp://n8n.internal/",
        "http://n8n.internal@evil.example/",
        "http://n8n.internal\\@evil.example/",
        "http://n8n.internal.evil.example/",
        "http:///path",
        "http://n8n.internal:port/",
    ):
        assert callback_problem(url, allowed) is not None
    assert "CALLBACK_ALLOWED_HOSTS is not set" in (callback_problem("http://n8n.internal/", ()) or "")
