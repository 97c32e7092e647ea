"""OpenAI's batches: a file of requests goes up, files of answers come down within a day, at half the price.

Source: https://developers.openai.com/api/docs/guides/batch, November 2026.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

import openai
import orjson
from openai.types import Batch

from app.errors import FatalError, PersistentError, StepError, TransientError
from app.gateway.model import BatchItem, BatchResult, BatchState, Blame, ChatRequest
from app.providers.failures import error_object, marked, unreadable, unsendable
from app.providers.openai_answers import read_body
from app.providers.openai_connection import OpenAIConnection
from app.providers.openai_errors import from_status, to_step_error
from app.providers.openai_messages import wire_body
from app.providers.reading import read_json
from app.providers.transport import wire_timeout

ENDPOINT: Final = "/v1/chat/completions"
WINDOW: Final = "24h"
MARK_KEY = "batuta_mark"
MOST_ITEMS = 50_000
MOST_BYTES = 200 * 1000 * 1000
ENDED = {"completed", "failed", "expired", "cancelled"}
TRANSFER_TIMEOUT_S = 300.0
"""For files of up to 200 MB; all other requests are small."""
REQUEST_TIMEOUT_S = 60.0
PAGE_SIZE = 100
MOST_LISTED = 2000
"""How far back a lost batch is looked for, newest first."""


class OpenAIBatches:
    """Batches of chats at OpenAI.

    Args:
        connection: shared with the vendor's chats, and closed by them.
    """

    def __init__(self, connection: OpenAIConnection) -> None:
        self.name = connection.name
        self._connection = connection

    async def submit_batch(self, items: Sequence[BatchItem], mark: str) -> str:
        """Send the file, then order the batch.

        Raises:
            PersistentError: more than a batch takes, names that repeat, or several models; nothing was sent.
            StepError: with `details["sent"]` true the batch may stand: `find_batch` tells.
        """
        content = self._written(items)
        async with self._translated():
            file = await self._client(TRANSFER_TIMEOUT_S).files.create(
                file=("requests.jsonl", content, "application/jsonl"), purpose="batch"
            )
            batch = await self._client().batches.create(
                input_file_id=file.id, endpoint=ENDPOINT, completion_window=WINDOW, metadata={MARK_KEY: mark}
            )
        return batch.id

    async def read_batch(self, batch_id: str) -> BatchState:
        """Ask how a batch stands."""
        batch = await self._retrieve(batch_id)
        counts = {} if batch.request_counts is None else batch.request_counts.model_dump()
        return BatchState(batch.id, batch.status in ENDED, {key: int(value) for key, value in counts.items()})

    async def read_results(self, batch_id: str) -> list[BatchResult]:
        """Fetch answers and errors; an item that is in neither file shares the fate of its batch."""
        batch = await self._retrieve(batch_id)
        results: dict[str, BatchResult] = {}
        for file_id in (batch.output_file_id, batch.error_file_id):
            for line in await self._lines(file_id):
                result = _result(self.name, line)
                if result is not None and (result.answer is not None or result.name not in results):
                    results[result.name] = result
        total = batch.request_counts.total if batch.request_counts is not None else 0
        if len(results) < total or not results:
            for line in await self._lines(batch.input_file_id):
                name = str(line.get("custom_id"))
                results.setdefault(name, BatchResult(name, error=_fate(self.name, batch)))
        return list(results.values())

    async def cancel_batch(self, batch_id: str) -> None:
        """Ask the vendor to stop. One that has ended already is left as it is."""
        try:
            async with self._translated():
                await self._client().batches.cancel(batch_id)
        except StepError as error:
            ended = error.details.get("status") in {HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST}
            if not ended or not (await self.read_batch(batch_id)).ended:
                raise

    async def find_batch(self, mark: str, names: Sequence[str]) -> str | None:  # noqa: ARG002 - as in the port
        """Look through the newest batches for a mark."""
        listed = 0
        async with self._translated():
            async for batch in self._client().batches.list(limit=PAGE_SIZE):
                if (batch.metadata or {}).get(MARK_KEY) == mark:
                    return batch.id
                listed += 1
                if listed >= MOST_LISTED:
                    break
        return None

    def _written(self, items: Sequence[BatchItem]) -> bytes:
        """Write the file, one request a line."""
        problem = ""
        if not 1 <= len(items) <= MOST_ITEMS:
            problem = f"a batch takes 1 to {MOST_ITEMS} requests, not {len(items)}"
        elif len({item.name for item in items}) < len(items):
            problem = "names repeat in the batch"
        elif len({item.request.model for item in items}) > 1:
            problem = "a batch is for one model"
        else:
            try:
                content = b"\n".join(map(_line, items))
            except (orjson.JSONEncodeError, RecursionError) as error:
                raise unsendable(self.name, FatalError, "a request cannot be written as JSON") from error
            if len(content) <= MOST_BYTES:
                return content
            problem = f"a batch takes {MOST_BYTES} bytes, not {len(content)}"
        raise unsendable(self.name, PersistentError, problem, code="batch_invalid")

    async def _retrieve(self, batch_id: str) -> Batch:
        async with self._translated():
            return await self._client().batches.retrieve(batch_id)

    async def _lines(self, file_id: str | None) -> list[dict[str, Any]]:
        """Fetch a file of one JSON object a line; none when there is no such file."""
        if not file_id:
            return []
        async with self._translated():
            content = (await self._client(TRANSFER_TIMEOUT_S).files.content(file_id)).content
        try:
            lines = [read_json(line) for line in content.splitlines() if line.strip()]
        except (ValueError, RecursionError) as error:
            raise unreadable(self.name, "a batch's file is no JSON") from error
        return [line for line in lines if isinstance(line, dict)]

    def _client(self, timeout_s: float = REQUEST_TIMEOUT_S) -> openai.AsyncOpenAI:
        return self._connection.client().with_options(timeout=wire_timeout(timeout_s))

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        try:
            yield
        except Exception as error:  # the SDK's edge: whatever it raises becomes one of our classes
            raise to_step_error(error, self.name) from error


def _line(item: BatchItem) -> bytes:
    line = {"custom_id": item.name, "method": "POST", "url": ENDPOINT, "body": wire_body(item.request)}
    return orjson.dumps(line)


def _result(provider: str, line: Mapping[str, Any]) -> BatchResult | None:
    """Read one line of the answers or errors."""
    name, response = line.get("custom_id"), line.get("response")
    if not isinstance(name, str):
        return None
    if not isinstance(response, Mapping):
        return BatchResult(name, error=_unasked(provider, line.get("error")))
    status, body = response.get("status_code"), response.get("body")
    if status != HTTPStatus.OK:
        code = status if isinstance(status, int) else HTTPStatus.BAD_GATEWAY
        return BatchResult(name, error=from_status(provider, code, error_object(body), {}))
    try:
        return BatchResult(name, answer=read_body(body, ChatRequest(provider, "", "", (), 0)))
    except StepError as error:
        return BatchResult(name, error=error)


def _unasked(provider: str, raw: Any) -> StepError:
    """Make the error of an item that the vendor did not come to: asked live, it may well be answered."""
    error = raw if isinstance(raw, Mapping) else {}
    code = str(error.get("code") or "batch_item_failed")
    message = f"{provider} did not answer this item of a batch: {error.get('message') or code}"
    return marked(TransientError(message, code=code), sent=False, blame=Blame.NONE)


def _fate(provider: str, batch: Batch) -> StepError:
    """Say why an item of a batch that has ended has neither answer nor error."""
    if batch.status != "failed":
        return _unasked(provider, {"code": f"batch_{batch.status}", "message": f"the batch is {batch.status}"})
    problems: Iterable[Any] = (batch.errors.data if batch.errors is not None else None) or ()
    said = "; ".join(f"line {problem.line}: {problem.message}" for problem in problems)[:500]
    refused = PersistentError(f"{provider} refused the whole batch: {said or 'no reason given'}", code="batch_failed")
    return marked(refused, sent=False, blame=Blame.NONE)
