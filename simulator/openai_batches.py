"""OpenAI's files and batches: a file goes up, and its requests are answered after a while."""

from __future__ import annotations

import email
import json
from typing import TYPE_CHECKING, Any

from simulator.openai_account import Batch, File, OpenAIAccount, Wire
from simulator.openai_chat import complete
from simulator.openai_refusals import Refusal

if TYPE_CHECKING:
    from aiohttp import web

    from simulator.answers import AnswerBook

DAY_S = 86_400.0
ENDPOINTS = ("/v1/chat/completions",)
ENDED = ("completed", "failed", "expired", "cancelled")
MOST_METADATA = 16
MOST_KEY = 64
MOST_VALUE = 512


async def take_file(request: web.Request, account: OpenAIAccount) -> dict[str, Any]:
    """Keep a file that was sent."""
    form = _form(request.headers.get("Content-Type", ""), await request.read())
    if "file" not in form or form.get("purpose", ("", b""))[1] != b"batch":
        raise Refusal(400, "Invalid value for 'purpose' or 'file'.", code="invalid_value", param="purpose")
    return show_file(account.keep(form["file"][0], "batch", form["file"][1]))


def _form(content_type: str, content: bytes) -> dict[str, tuple[str, bytes]]:
    """Read a form with files, whose bytes the log has taken from the request already: name to file name and value."""
    message = email.message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + content)
    parts = [part for part in message.walk() if not part.is_multipart()]
    return {
        str(part.get_param("name", "", "Content-Disposition")): (
            str(part.get_filename("")),
            bytes(part.get_payload(decode=True) or b""),
        )
        for part in parts
    }


def show_file(file: File) -> dict[str, Any]:
    """Describe a file."""
    return {
        "id": file.file_id,
        "object": "file",
        "bytes": len(file.content),
        "created_at": int(file.created_at),
        "filename": file.name,
        "purpose": file.purpose,
        "status": "processed",
    }


def find_file(account: OpenAIAccount, file_id: str) -> File:
    """Find a file, or refuse."""
    file = account.files.get(file_id)
    if file is None:
        raise Refusal(404, f"No such File object: {file_id}", param="id")
    return file


def create_batch(body: Any, account: OpenAIAccount) -> Batch:
    """Take an order."""
    if not isinstance(body, dict) or body.get("completion_window") != "24h" or body.get("endpoint") not in ENDPOINTS:
        raise Refusal(400, "Invalid value for 'completion_window' or 'endpoint'.", code="invalid_value")
    file = find_file(account, str(body.get("input_file_id")))
    metadata = body.get("metadata") or {}
    if len(metadata) > MOST_METADATA or any(
        len(key) > MOST_KEY or not isinstance(value, str) or len(value) > MOST_VALUE for key, value in metadata.items()
    ):
        raise Refusal(400, "Invalid 'metadata'.", code="invalid_value", param="metadata")
    now = account.now()
    batch = Batch(
        account.name("batch_"), file.file_id, body["endpoint"], now, now + account.batch_delay_s, dict(metadata)
    )
    account.batches[batch.batch_id] = batch
    return batch


def find_batch(account: OpenAIAccount, batch_id: str) -> Batch:
    """Find a batch, or refuse."""
    batch = account.batches.get(batch_id)
    if batch is None:
        raise Refusal(404, f"No batch found with id '{batch_id}'.")
    return batch


def cancel(batch: Batch) -> None:
    """Begin to cancel a batch; one that has ended cannot be."""
    if batch.status in ENDED:
        raise Refusal(409, f"Cannot cancel a batch with status '{batch.status}'.")
    batch.status = "cancelling"


def move_on(batch: Batch, wire: Wire, account: OpenAIAccount, book: AnswerBook) -> None:
    """Bring a batch to where it stands by now."""
    if batch.status in ENDED:
        return
    lines, problems = _read_file(account.files[batch.input_file_id])
    now, over = account.now(), batch.created_at + DAY_S
    batch.counts["total"] = len(lines)
    if problems:
        batch.errors = problems
        _end(batch, "failed", now)
    elif batch.status == "cancelling":
        _answer(batch, lines[: account.batch_finishes], wire, account, book)
        _end(batch, "cancelled", now)
    elif now >= batch.ends_at and batch.ends_at <= over:
        _answer(batch, lines, wire, account, book)
        _end(batch, "completed", now)
    elif now >= over:
        _answer(batch, lines[: account.batch_finishes], wire, account, book)
        _expire(batch, lines[account.batch_finishes :], account)
        _end(batch, "expired", now)
    else:
        batch.status = "in_progress"


def _end(batch: Batch, status: str, now: float) -> None:
    batch.status, batch.ended_at = status, now


def _read_file(file: File) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read the requests, and what is wrong with them."""
    lines: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    for number, raw in enumerate(file.content.splitlines(), 1):
        try:
            line = json.loads(raw)
            lines.append(line)
            problem = _line_problem(line, lines)
        except ValueError:
            problem = ("invalid_json_line", "This line is not parseable as valid JSON.")
        if problem:
            problems.append({"code": problem[0], "message": problem[1], "line": number, "param": None})
    if not lines and not problems:
        problems.append({"code": "empty_file", "message": "The input file is empty.", "line": None, "param": None})
    return lines, problems


def _line_problem(line: Any, lines: list[dict[str, Any]]) -> tuple[str, str] | None:
    if not isinstance(line, dict) or not {"custom_id", "method", "url", "body"} <= line.keys():
        return "missing_required_parameter", "Missing required parameter."
    if line["method"] != "POST" or line["url"] not in ENDPOINTS:
        return "invalid_url", "The URL provided for this request does not match the batch endpoint."
    if sum(one.get("custom_id") == line["custom_id"] for one in lines) > 1:
        return "duplicate_custom_id", "The custom_id for this request is a duplicate of another request."
    if line["body"].get("model") != lines[0]["body"].get("model"):
        return "mismatched_model", "All requests of a batch must be for one model."
    if line["body"].get("stream"):
        return "invalid_request", "Streaming is not supported in the Batch API."
    return None


def _answer(batch: Batch, lines: list[dict[str, Any]], wire: Wire, account: OpenAIAccount, book: AnswerBook) -> None:
    """Answer requests into the batch's two files."""
    answers: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for line in lines:
        shown = {"id": account.name("batch_req_"), "custom_id": line["custom_id"], "error": None}
        response = {"status_code": 200, "request_id": account.name("req_")}
        try:
            body = complete(line["body"], wire, account, book)
            answers.append({**shown, "response": {**response, "body": body}})
        except Refusal as refusal:
            refused = {**response, "status_code": refusal.status, "body": refusal.body(wire)}
            errors.append({**shown, "response": refused})
    batch.counts["completed"], batch.counts["failed"] = len(answers), len(errors)
    batch.output_file_id = _keep(account, "output", answers)
    batch.error_file_id = _keep(account, "error", errors)


def _expire(batch: Batch, lines: list[dict[str, Any]], account: OpenAIAccount) -> None:
    """Write down which requests nobody came to."""
    reason = {"code": "batch_expired", "message": "This request could not be executed before the window expired."}
    errors = [
        {"id": account.name("batch_req_"), "custom_id": line["custom_id"], "response": None, "error": reason}
        for line in lines
    ]
    kept = account.files[batch.error_file_id].content if batch.error_file_id else b""
    batch.counts["failed"] += len(errors)
    batch.error_file_id = account.keep("error.jsonl", "batch_output", kept + _lines(errors)).file_id


def _keep(account: OpenAIAccount, name: str, lines: list[dict[str, Any]]) -> str | None:
    return account.keep(f"{name}.jsonl", "batch_output", _lines(lines)).file_id if lines else None


def _lines(lines: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def show_batch(batch: Batch) -> dict[str, Any]:
    """Describe a batch."""
    ended_at = None if batch.ended_at is None else int(batch.ended_at)
    return {
        "id": batch.batch_id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "errors": {"object": "list", "data": batch.errors} if batch.errors else None,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": batch.status,
        "output_file_id": batch.output_file_id,
        "error_file_id": batch.error_file_id,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.created_at + DAY_S),
        **({f"{batch.status}_at": ended_at} if batch.status in ENDED else {}),
        "request_counts": batch.counts,
        "metadata": batch.metadata,
    }


def show_page(account: OpenAIAccount, after: str, limit: int) -> dict[str, Any]:
    """List batches, newest first, a page at a time."""
    newest = [batch.batch_id for batch in reversed(account.batches.values())]
    start = newest.index(after) + 1 if after in newest else 0
    page = [show_batch(account.batches[batch_id]) for batch_id in newest[start : start + limit]]
    return {
        "object": "list",
        "data": page,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
        "has_more": start + limit < len(newest),
    }
