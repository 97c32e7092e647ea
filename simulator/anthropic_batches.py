"""Anthropic's message batches: handed in, worked on for a while, ended, and read from an address of their own."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.anthropic_account import AnthropicAccount, Batch, stamp
from simulator.anthropic_message import message_of, plain, say
from simulator.anthropic_rules import Refusal, check_messages
from simulator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.answers import AnswerBook

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MOST_REQUESTS = 100_000
LIFE_S = 24 * 3600.0
OUTCOMES = ("succeeded", "errored", "canceled", "expired")


def create(request: web.Request, body: Any) -> dict[str, Any]:
    """Take a batch. What its questions look like is judged only while it is worked on, as the vendor does."""
    account = request.app[STATE].anthropic
    items = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(items, list) or not items:
        raise Refusal("requests: Field required")
    for key in set(body) - {"requests"}:
        raise Refusal(f"{key}: Extra inputs are not permitted")
    if len(items) > MOST_REQUESTS:
        raise Refusal(f"requests: List should have at most {MOST_REQUESTS} items")
    names = [item.get("custom_id") if isinstance(item, dict) else None for item in items]
    for place, (name, item) in enumerate(zip(names, items, strict=True)):
        if not isinstance(name, str) or not CUSTOM_ID.fullmatch(name):
            raise Refusal(f"requests.{place}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        if not isinstance(item.get("params"), dict):
            raise Refusal(f"requests.{place}.params: Field required")
    if len(set(names)) != len(names):
        raise Refusal("requests: Duplicate custom_id")
    now = account.now()
    batch = Batch(account.name("msgbatch"), items, now, now + account.batch_delay_s)
    account.batches[batch.batch_id] = batch
    return _show(request, batch)


def read(request: web.Request) -> dict[str, Any]:
    """Tell how a batch stands."""
    return _show(request, _batch(request))


def cancel(request: web.Request) -> dict[str, Any]:
    """Stop a batch: it ends at the next look, and what was not done is not."""
    batch = _batch(request)
    if batch.ended_at is None and batch.cancelled_at is None:
        batch.cancelled_at = request.app[STATE].anthropic.now()
        return _show(request, batch, finish=False)
    return _show(request, batch)


def delete(request: web.Request) -> dict[str, Any]:
    """Forget a batch that has ended."""
    batch = _batch(request)
    if batch.ended_at is None:
        raise Refusal("Cannot delete a message batch that is in progress")
    del request.app[STATE].anthropic.batches[batch.batch_id]
    return {"id": batch.batch_id, "type": "message_batch_deleted"}


def list_batches(request: web.Request) -> dict[str, Any]:
    """List batches, newest first, a page at a time."""
    newest = sorted(request.app[STATE].anthropic.batches.values(), key=lambda one: one.batch_id, reverse=True)
    ids = [batch.batch_id for batch in newest]
    start = ids.index(request.query["after_id"]) + 1 if request.query.get("after_id") in ids else 0
    limit = int(request.query.get("limit", "20"))
    page = newest[start : start + limit]
    return {
        "data": [_show(request, batch) for batch in page],
        "has_more": start + limit < len(newest),
        "first_id": page[0].batch_id if page else None,
        "last_id": page[-1].batch_id if page else None,
    }


def results(request: web.Request) -> web.Response:
    """Give what came of the items, a line each, in an order of our own."""
    batch = _batch(request)
    _finish(request, batch)
    if batch.ended_at is None:
        raise Refusal("No results available: the batch has not ended", status=404, kind="not_found_error")
    lines = "".join(json.dumps(line) + "\n" for line in reversed(batch.results))
    return web.Response(body=lines.encode(), content_type="application/x-jsonl")


def _batch(request: web.Request) -> Batch:
    batch = request.app[STATE].anthropic.batches.get(request.match_info["batch"])
    if batch is None:
        raise Refusal("Message batch not found", status=404, kind="not_found_error")
    return batch


def _show(request: web.Request, batch: Batch, *, finish: bool = True) -> dict[str, Any]:
    if finish:
        _finish(request, batch)
    done = [line["result"]["type"] for line in batch.results]
    counts = {outcome: done.count(outcome) for outcome in OUTCOMES}
    status = "canceling" if batch.cancelled_at is not None else "in_progress"
    ended = batch.ended_at is not None
    address = f"{request.scheme}://{request.host}/anthropic/v1/messages/batches/{batch.batch_id}/results"
    return {
        "id": batch.batch_id,
        "type": "message_batch",
        "processing_status": "ended" if ended else status,
        "request_counts": {"processing": 0 if ended else len(batch.requests), **counts},
        "created_at": stamp(batch.created_at),
        "expires_at": stamp(batch.created_at + LIFE_S),
        "ended_at": stamp(batch.ended_at),
        "cancel_initiated_at": stamp(batch.cancelled_at),
        "archived_at": None,
        "results_url": address if ended else None,
    }


def _finish(request: web.Request, batch: Batch) -> None:
    """Do the work once its time has come."""
    state = request.app[STATE]
    now = state.anthropic.now()
    cancelled = batch.cancelled_at is not None
    if batch.ended_at is not None or (now < batch.ends_at and not cancelled):
        return
    late = cancelled and now < batch.ends_at
    for item in batch.requests:
        result = {"type": "canceled"} if late else _work(item, state.anthropic, state.answers)
        batch.results.append({"custom_id": item["custom_id"], "result": result})
    batch.ended_at = now


def _work(item: Mapping[str, Any], account: AnthropicAccount, book: AnswerBook) -> dict[str, Any]:
    outcome = account.batch_outcomes.get(item["custom_id"])
    if isinstance(outcome, str):
        return {"type": outcome}
    if outcome is not None:
        return _errored(outcome)
    body = item["params"]
    if body.get("stream"):
        return _errored({"type": "invalid_request_error", "message": "stream: not supported in batches"})
    try:
        facts = check_messages(body, version="2026-10-21", today=account.date(), retired=account.retired)
    except Refusal as refusal:
        return _errored({"type": refusal.kind, "message": refusal.message})
    answer = book.take(body["model"], json.dumps([body.get("system"), body["messages"]])) or plain(body)
    now = account.now()
    count = account.cache.count(body, facts.least_cached, now)
    account.cache.keep(count, now)
    said = say(answer, body, facts, account)
    return {"type": "succeeded", "message": message_of(said, answer, body, count, account, "batch")}


def _errored(error: Any) -> dict[str, Any]:
    return {"type": "errored", "error": {"type": "error", "error": error, "request_id": None}}
