"""Anthropic's message batches: many requests handed in at once, answered within a day, at half the price.

Source: https://platform.claude.com/docs/en/build-with-claude/batch-processing, November 2026.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from app.errors import PersistentError, StepError, TransientError
from app.gateway.model import BatchItem, BatchResult, BatchState, Blame, ChatRequest
from app.providers.anthropic_answers import read_message
from app.providers.anthropic_connection import AnthropicConnection
from app.providers.anthropic_errors import from_body
from app.providers.anthropic_request import wire_body
from app.providers.failures import marked, unreadable, unsendable
from app.providers.reading import read_json

BATCHES_PATH = "/v1/messages/batches"
MOST_ITEMS = 100_000
TRANSFER_TIMEOUT_S = 300.0
"""For batches and their results, of up to 256 MB; all other requests are small."""
REQUEST_TIMEOUT_S = 60.0
PAGE_SIZE = 100
MOST_LISTED = 2000
"""How far back a lost batch is looked for, newest first."""
LOOK_AGAIN_S = 300.0
"""When it makes sense to look again for a batch that may be one of those still at work."""
LONGEST_ID = 64
TAIL_DIGITS = 16
TAIL = re.compile(rf"_[0-9a-f]{{{TAIL_DIGITS}}}")
COUNTED = ("processing", "succeeded", "errored", "canceled", "expired")


class AnthropicBatches:
    """Batches of chats at Anthropic.

    Args:
        connection: shared with the vendor's chats, and closed by them.
    """

    def __init__(self, connection: AnthropicConnection) -> None:
        self.name = connection.name
        self._connection = connection

    async def submit_batch(self, items: Sequence[BatchItem], mark: str) -> str:
        """Hand a batch in. The vendor judges the requests only while it works on them.

        Raises:
            PersistentError: more than a batch takes, or names that repeat; nothing was sent.
            StepError: with `details["sent"]` true the batch may stand: `find_batch` tells.
        """
        problem = self._problem(items)
        if problem:
            raise unsendable(self.name, PersistentError, problem, code="batch_invalid")
        ids = custom_ids([item.name for item in items], mark)
        requests = [
            {"custom_id": custom_id, "params": wire_body(item.request)}
            for custom_id, item in zip(ids, items, strict=True)
        ]
        content = await self._connection.post(BATCHES_PATH, {"requests": requests}, TRANSFER_TIMEOUT_S)
        return str(self._read_object(content, sent=True)["id"])

    async def read_batch(self, batch_id: str) -> BatchState:
        """Ask how a batch stands."""
        batch = await self._retrieve(batch_id)
        counts = batch.get("request_counts") or {}
        known = {key: int(counts[key]) for key in COUNTED if isinstance(counts.get(key), int)}
        return BatchState(str(batch["id"]), batch.get("processing_status") == "ended", known)

    async def read_results(self, batch_id: str) -> list[BatchResult]:
        """Fetch what came of every item; the vendor gives the address, and no order.

        Raises:
            TransientError: the batch has not ended.
            PersistentError: its results are kept no longer.
        """
        batch = await self._retrieve(batch_id)
        if batch.get("archived_at"):
            gone = PersistentError(f"{self.name} keeps the results of {batch_id} no longer.", code="results_gone")
            raise marked(gone, blame=Blame.NONE)
        if not batch.get("results_url"):
            waiting = TransientError(f"{self.name} still works on {batch_id}.", code="batch_unfinished")
            raise marked(waiting, blame=Blame.NONE)
        lines = await self._lines(str(batch["results_url"]))
        names = _names([str(line.get("custom_id")) for line in lines])
        return [self._result(name, line) for name, line in zip(names, lines, strict=True)]

    async def cancel_batch(self, batch_id: str) -> None:
        """Ask the vendor to stop. One that has ended already is left as it is."""
        try:
            await self._connection.post(f"{BATCHES_PATH}/{batch_id}/cancel", {}, REQUEST_TIMEOUT_S)
        except StepError as error:
            ended = error.details.get("status") in {HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST}
            if not ended or not (await self.read_batch(batch_id)).ended:
                raise

    async def find_batch(self, mark: str, names: Sequence[str]) -> str | None:
        """Look for a batch by the names of its items: this vendor keeps no mark, and shows names only at the end.

        Returns:
            The id of an ended batch of just these items; None when there is none, and none at work that could be it.

        Raises:
            TransientError: `batch_unknown`: a batch of as many items is still at work, or the list is longer than is
                looked through; whoever hands in again now may pay twice. `retry_after_s` says when to look again.
        """
        wanted, doubtful, listed = set(custom_ids(names, mark)), "", 0
        async for batch in self._list():
            listed += 1
            if listed > MOST_LISTED:
                doubtful = doubtful or f"more than {MOST_LISTED} batches are listed"
                break
            if _size(batch) != len(wanted) or batch.get("archived_at"):
                continue
            if not batch.get("results_url"):
                doubtful = f"{batch.get('id')} has as many items and is at work"
            elif await self._has_items(str(batch["results_url"]), wanted):
                return str(batch["id"])
        if doubtful:
            unknown = TransientError(
                f"{self.name} does not say whether the batch stands: {doubtful}.",
                code="batch_unknown",
                retry_after_s=LOOK_AGAIN_S,
            )
            raise marked(unknown, blame=Blame.NONE)
        return None

    async def _list(self) -> AsyncIterator[Mapping[str, Any]]:
        after: dict[str, str] = {}
        while True:
            query = urlencode({"limit": PAGE_SIZE, **after})
            page = self._read_object(await self._get(f"{BATCHES_PATH}?{query}"))
            for batch in page.get("data") or ():
                yield batch
            if not page.get("has_more") or not page.get("last_id"):
                return
            after = {"after_id": str(page["last_id"])}

    async def _has_items(self, results_url: str, wanted: set[str]) -> bool:
        lines = await self._lines(results_url)
        return {str(line.get("custom_id")) for line in lines} == wanted

    async def _retrieve(self, batch_id: str) -> dict[str, Any]:
        return self._read_object(await self._get(f"{BATCHES_PATH}/{batch_id}"))

    async def _lines(self, results_url: str) -> list[dict[str, Any]]:
        content = await self._get(results_url, TRANSFER_TIMEOUT_S)
        try:
            lines = [read_json(line) for line in content.split(b"\n") if line.strip()]
        except (ValueError, RecursionError) as error:
            raise _unpaid(unreadable(self.name, "a batch's results are no JSON")) from error
        return [line for line in lines if isinstance(line, dict)]

    async def _get(self, path: str, timeout_s: float = REQUEST_TIMEOUT_S) -> bytes:
        try:
            return await self._connection.get(path, timeout_s)
        except StepError as error:
            _unpaid(error)
            raise

    def _read_object(self, content: bytes, *, sent: bool = False) -> dict[str, Any]:
        """Read a batch, or a page of them; `sent` says that an order may stand behind an answer nobody can read."""
        try:
            body = read_json(content)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict) or not ("id" in body or "data" in body):
            problem = unreadable(self.name, "no batch")
            raise problem if sent else _unpaid(problem)
        return body

    def _problem(self, items: Sequence[BatchItem]) -> str:
        if not 1 <= len(items) <= MOST_ITEMS:
            return f"a batch takes 1 to {MOST_ITEMS} requests, not {len(items)}"
        if len({item.name for item in items}) < len(items):
            return "names repeat in the batch"
        return ""

    def _result(self, name: str, line: Mapping[str, Any]) -> BatchResult:
        result = line.get("result")
        result = result if isinstance(result, dict) else {}
        kind = result.get("type")
        if kind == "succeeded":
            message = result.get("message")
            model = str(message.get("model") or "") if isinstance(message, dict) else ""
            try:
                return BatchResult(name, answer=read_message(message, _asked(self.name, model)))
            except StepError as error:
                return BatchResult(name, error=error)
        if kind == "errored":
            return BatchResult(name, error=from_body(self.name, result.get("error")))
        undone = TransientError(f"{self.name} did not get to this request: {kind}.", code=f"batch_{kind}")
        return BatchResult(name, error=marked(undone, blame=Blame.NONE))


def custom_ids(names: Sequence[str], mark: str) -> list[str]:
    """Name a batch's items at the vendor: ours, and behind them, where there is room, what tells the batch from others.

    Args:
        names: at most 64 characters each, which is the vendor's limit too.
        mark: of the batch.

    Returns:
        In the order of the names.
    """
    tail = "_" + hashlib.sha256(mark.encode()).hexdigest()[:TAIL_DIGITS]
    fits = all(len(name) + len(tail) <= LONGEST_ID for name in names)
    return [name + tail for name in names] if fits else list(names)


def _names(ids: Sequence[str]) -> list[str]:
    """Read our names in the vendor's, in order."""
    tails = {custom_id[-TAIL_DIGITS - 1 :] for custom_id in ids}
    marked = len(tails) == 1 and TAIL.fullmatch(min(tails)) is not None
    return [custom_id[: -TAIL_DIGITS - 1] for custom_id in ids] if marked else list(ids)


def _size(batch: Mapping[str, Any]) -> int:
    counts = batch.get("request_counts")
    return sum(int(counts.get(key) or 0) for key in COUNTED) if isinstance(counts, dict) else 0


def _unpaid(error: StepError) -> StepError:
    """Say that nothing more is charged: reading costs nothing."""
    error.details["sent"] = False
    return error


def _asked(provider: str, model: str) -> ChatRequest:
    """Stand in for the request, which results do not repeat: only names in errors come from it."""
    return ChatRequest(provider, model, "", (), 0)
