"""Chat over OpenAI's wire, for OpenAI and every server that speaks it.

The SDK makes requests, reads errors and holds connections. aiohttp is its transport, because its own one spends 5 ms of
processor time a call at 800 calls in flight, and aiohttp a tenth of that. The body is sent and read as plain JSON:
it is stored as such anyway, and the SDK's models cost as much again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx2
import openai
import orjson

from app.gateway.model import ChatAnswer, ChatRequest, Usage
from app.gateway.ports import OnText
from app.gateway.prices import guess_tokens
from app.gateway.structured import is_strict
from app.providers.openai_errors import from_body, to_step_error, unreadable

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 15.0
"""Shorter than the vendors' own, so that a request seldom meets a connection that was just closed."""
MOST_CONNECTIONS = 10_000
"""Above what one process holds in flight; with no number given, the transport stops at 100."""
SCHEMA_NAME = "answer"


class OpenAICompatible:
    """One server that speaks OpenAI's chat completions.

    Args:
        name: the provider's name in the registry.
        api_key: may be empty for a server of one's own.
        base_url: with `/v1`; empty for OpenAI itself.
        headers: sent with every request.
    """

    def __init__(
        self, *, name: str, api_key: str, base_url: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._api_key = api_key
        self._base_url = base_url
        self._headers = headers
        self._client: openai.AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
        """Send one request, once.

        Raises:
            StepError: with `details["sent"]` and `details["blame"]`, as the port says.
        """
        try:
            response = await self._shared_client().post(
                "/chat/completions",
                cast_to=httpx2.Response,
                body=wire_body(request),
                options={
                    "timeout": httpx2.Timeout(request.timeout_s, connect=min(CONNECT_TIMEOUT_S, request.timeout_s))
                },
            )
        except Exception as error:  # the SDK's edge: whatever it raises becomes one of our classes
            raise to_step_error(error, self.name) from error
        answer = read_answer(response.content, request)
        if on_text is not None:
            on_text(answer.text)
        return answer

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _shared_client(self) -> openai.AsyncOpenAI:
        """Give the process's client, made on first use: its connections belong to the loop that runs then."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            limits = httpx2.Limits(
                max_connections=MOST_CONNECTIONS,
                max_keepalive_connections=MOST_CONNECTIONS,
                keepalive_expiry=KEEP_ALIVE_S,
            )
            self._client = openai.AsyncOpenAI(
                api_key=self._api_key or "none",
                base_url=self._base_url or None,
                max_retries=0,
                default_headers=self._headers,
                http_client=openai.DefaultAioHttpClient(limits=limits, timeout=CONNECT_TIMEOUT_S),
            )
            self._loop = loop
        return self._client


def wire_body(request: ChatRequest) -> dict[str, Any]:
    """Write a request in the wire's words."""
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{**message, "content": _wire_content(message["content"])} for message in request.messages],
        request.max_tokens_field: request.max_tokens,
        **request.extra,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.response_schema is not None:
        schema = request.response_schema
        described = {"name": SCHEMA_NAME, "schema": schema, "strict": is_strict(schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    return body


def _wire_content(content: Any) -> Any:
    if isinstance(content, str):
        return content
    return [
        {"type": "image_url", "image_url": {"url": part["url"]}} if part["type"] == "image" else part
        for part in content
    ]


def _read_json(content: bytes) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        # The fast reader refuses half a surrogate pair, which models write now and then; the answer is paid for.
        return json.loads(content)


def read_answer(content: bytes, request: ChatRequest) -> ChatAnswer:
    """Read a 2xx body.

    Raises:
        StepError: an error inside it, or not the wire's JSON.
    """
    try:
        body = _read_json(content)
    except (ValueError, RecursionError) as error:
        raise unreadable(request.provider, "no JSON") from error
    if not isinstance(body, dict):
        raise unreadable(request.provider, "no JSON object")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    error_inside = _error_inside(body, choice)
    if error_inside is not None:
        raise from_body(request.provider, error_inside, begun=bool(choice))
    message = choice.get("message")
    if not isinstance(message, dict):
        raise unreadable(request.provider, "no choices")
    text = _text(message.get("content"))
    return ChatAnswer(
        text=text,
        finish_reason=str(choice.get("finish_reason") or "stop"),
        model=str(body.get("model") or request.model),
        vendor_id=str(body.get("id") or ""),
        usage=_usage(body.get("usage"), request, text),
        refusal=str(message.get("refusal") or ""),
    )


def _error_inside(body: Mapping[str, Any], choice: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Find the error of a 200: beside empty choices, within the choice, or only as its finish reason."""
    found = body.get("error") or choice.get("error")
    if not found and choice.get("finish_reason") != "error":
        return None
    return found if isinstance(found, Mapping) else {"message": str(found or "the model failed while it answered")}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _usage(raw: Any, request: ChatRequest, text: str) -> Usage:
    """Read usage. The wire's prompt tokens include cached ones; ours do not overlap."""
    if not isinstance(raw, dict) or not _count(raw, "prompt_tokens") + _count(raw, "completion_tokens"):
        prompt = sum(guess_tokens(_text_of(message)) for message in request.messages)
        return Usage(input_tokens=prompt, output_tokens=guess_tokens(text), estimated=True)
    prompt_details, output_details = raw.get("prompt_tokens_details") or {}, raw.get("completion_tokens_details") or {}
    read, written = _count(prompt_details, "cached_tokens"), _count(prompt_details, "cache_write_tokens")
    return Usage(
        input_tokens=max(0, _count(raw, "prompt_tokens") - read - written),
        output_tokens=_count(raw, "completion_tokens"),
        cache_read_tokens=read,
        cache_write_5m_tokens=written,
        reasoning_tokens=_count(output_details, "reasoning_tokens"),
        vendor_cost_usd=_dollars(raw.get("cost")),
    )


def _text_of(message: Mapping[str, Any]) -> str:
    return _text(message.get("content"))


def _count(raw: Mapping[str, Any], key: str) -> int:
    value = raw.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _dollars(raw: Any) -> Decimal | None:
    if raw is None or isinstance(raw, bool):
        return None
    try:
        amount = Decimal(str(raw))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and amount >= 0 else None
