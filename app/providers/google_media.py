"""Google's native wire: images by `generateContent`, film by `interactions`.

Four requests in all, so they are written here over aiohttp, which is under our other vendors too: the vendor's own SDK
would bring a second set of credentials, retries and models to keep at bay, and adds nothing to those four.
Source: https://ai.google.dev/gemini-api/docs/image-generation and /interactions, November 2026.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import aiohttp
import orjson

from app.errors import PersistentError, StepError
from app.gateway.media_model import (
    FilmRequest,
    FilmState,
    FilmStatus,
    ImageAnswer,
    ImageRequest,
    Picture,
)
from app.gateway.model import Blame, Usage
from app.providers import figures
from app.providers.failures import from_connection, marked, unreadable
from app.providers.fetching import Source, fetch
from app.providers.google_errors import REFUSALS, from_answer, read_json, refuses_for_good

CONNECT_TIMEOUT_S = 10.0
POLL_TIMEOUT_S = 120.0
FETCH_TIMEOUT_S = 300.0
MOST_BYTES = 256 * 1024 * 1024
"""Of a film; what is longer is not read."""
MOST_ANSWER_BYTES = MOST_BYTES * 4 // 3 + 1024 * 1024
"""A film may come within the answer, in base64."""
HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
THRESHOLDS = {
    "low_and_above": "BLOCK_LOW_AND_ABOVE",
    "medium_and_above": "BLOCK_MEDIUM_AND_ABOVE",
    "only_high": "BLOCK_ONLY_HIGH",
    "none": "BLOCK_NONE",
}
_ENDS = frozenset({"requires_action", "cancelled", "incomplete", "budget_exceeded"})
"""States of a job that it does not leave by itself, without a film."""


class GoogleMedia:
    """Google as a maker of images and film.

    Args:
        api_key: sent in `x-goog-api-key`, to this host alone.
        base_url: the host; the paths of the wire are put behind it.
        name: the provider's name in the registry.
    """

    def __init__(self, *, api_key: str, base_url: str, name: str = "google_ai") -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._headers = {"x-goog-api-key": api_key}
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def make_image(self, request: ImageRequest) -> ImageAnswer:
        """Make one image; a refusal to make it is an answer."""
        path = f"/v1/models/{quote(request.model, safe='')}:generateContent"
        answer = await self._ask("POST", path, request.timeout_s, _image_body(request))
        try:
            return _read_image(answer, request.model)
        except (AttributeError, TypeError, ValueError) as error:
            raise unreadable(self.name, "no image's answer") from error

    async def submit_film(self, request: FilmRequest) -> FilmState:
        """Hand a film in, to be made in the background."""
        answer = await self._ask("POST", "/v1/interactions", request.timeout_s, _film_body(request))
        return self._state(answer)

    async def read_film(self, job_id: str) -> FilmState:
        """Ask how a film stands."""
        path = f"/v1/interactions/{quote(job_id, safe='')}?stream=false"
        return self._state(await self._ask("GET", path, POLL_TIMEOUT_S))

    async def fetch_film(self, uri: str, hosts: tuple[str, ...]) -> bytes:
        """Fetch a film that Google keeps."""
        source = Source(self.name, self._base_url, self._headers, hosts)
        return await fetch(source, uri, most_bytes=MOST_BYTES, timeout_s=FETCH_TIMEOUT_S)

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(
        self, method: str, path: str, timeout_s: float, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        data = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._client().request(
                    method, self._base_url + path, data=data, headers=headers, allow_redirects=False
                ) as response,
            ):
                content = await _read_limited(response)
        except StepError:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise from_connection(self.name, error) from error
        if response.status not in {200, 201}:
            raise from_answer(self.name, response.status, content, response.headers)
        answer = read_json(content)
        if not isinstance(answer, Mapping):
            raise unreadable(self.name, "no JSON object")
        return answer

    def _client(self) -> aiohttp.ClientSession:
        """Give the process's session, made on first use: its connections belong to the loop that runs then."""
        loop = asyncio.get_running_loop()
        if self._session is None or self._session.closed or self._loop is not loop:
            timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)
            self._loop = loop
        return self._session

    def _state(self, answer: Mapping[str, Any]) -> FilmState:
        job_id = answer.get("id")
        if not isinstance(job_id, str) or not job_id:
            raise unreadable(self.name, "a film's answer without its id")
        try:
            return _read_state(job_id, answer)
        except (AttributeError, TypeError, ValueError) as error:
            raise unreadable(self.name, "no film's answer") from error


async def _read_limited(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_chunked(256 * 1024):
        size += len(chunk)
        if size > MOST_ANSWER_BYTES:
            error = PersistentError("The vendor's answer is too large to be read.", code="answer_too_large")
            raise marked(error, sent=True, blame=Blame.NONE)
        chunks.append(chunk)
    return b"".join(chunks)


def _image_body(request: ImageRequest) -> dict[str, Any]:
    image = {"aspectRatio": request.aspect_ratio, "imageSize": request.size}
    chosen = {name: value for name, value in image.items() if value is not None}
    config: dict[str, Any] = {"responseModalities": ["IMAGE"], **({"imageConfig": chosen} if chosen else {})}
    shown = [{"inlineData": {"mimeType": one.media_type, "data": _text(one)}} for one in request.pictures]
    body: dict[str, Any] = {
        "contents": [{"role": "user", "parts": [*shown, {"text": request.prompt}]}],
        "generationConfig": config,
        **request.extra,
    }
    if request.safety is not None:
        threshold = THRESHOLDS[request.safety]
        body["safetySettings"] = [{"category": f"HARM_CATEGORY_{harm}", "threshold": threshold} for harm in HARMS]
    return body


def _film_body(request: FilmRequest) -> dict[str, Any]:
    wanted = {
        "type": "video",
        "duration": f"{request.seconds}s",
        "aspect_ratio": request.aspect_ratio,
        "resolution": request.resolution,
        "delivery": "uri",  # a film within the answer would be read anew with every look at the job
    }
    shown = [{"type": "image", "data": _text(one), "mime_type": one.media_type} for one in request.pictures]
    return {
        "model": request.model,
        "input": [*shown, {"type": "text", "text": request.prompt}] if shown else request.prompt,
        "response_modalities": ["video"],
        "response_format": [{name: value for name, value in wanted.items() if value is not None}],
        "background": True,
        **request.extra,
    }


def _text(picture: Picture) -> str:
    return base64.b64encode(picture.content).decode()


def _read_image(answer: Mapping[str, Any], model: str) -> ImageAnswer:
    usage = answer.get("usageMetadata") or {}
    used = Usage(
        input_tokens=_count(usage, "promptTokenCount"),
        output_tokens=_count(usage, "candidatesTokenCount") + _count(usage, "thoughtsTokenCount"),
        reasoning_tokens=_count(usage, "thoughtsTokenCount"),
    )
    candidates = answer.get("candidates") or [{}]
    reason = str(candidates[0].get("finishReason") or "STOP")
    parts = (candidates[0].get("content") or {}).get("parts") or []
    # A sketch on the way to the image is a part too, marked as a thought.
    images = [part["inlineData"]["data"] for part in parts if part.get("inlineData") and not part.get("thought")]
    content = _decoded(images[0]) if images and reason not in REFUSALS else b""
    refusal = "" if content else _why_no_image(answer, reason, parts)
    named, vendor_id = str(answer.get("modelVersion") or model), str(answer.get("responseId") or "")
    return ImageAnswer(content, named, vendor_id, used, refusal)


def _why_no_image(answer: Mapping[str, Any], reason: str, parts: list[Any]) -> str:
    blocked = (answer.get("promptFeedback") or {}).get("blockReason")
    if blocked:
        return f"the prompt was blocked ({blocked})"
    if reason in REFUSALS:
        return f"the image was withheld ({reason})"
    said = " ".join(str(part["text"]) for part in parts if part.get("text") and not part.get("thought"))
    return f"no image came (ended with {reason})" + (f": {said[:200]}" if said else "")


def _read_state(job_id: str, answer: Mapping[str, Any]) -> FilmState:
    word = str(answer.get("status") or "")
    error = answer.get("error") or {}
    said = str(error.get("message") or "")[:300]
    if word == "failed":
        status = FilmStatus.REFUSED if refuses_for_good(error) else FilmStatus.FAILED
        return FilmState(job_id, status, said=said or "no reason given")
    if word in _ENDS:
        return FilmState(job_id, FilmStatus.REFUSED, said=said or f"the job is {word}")
    if word != "completed":
        return FilmState(job_id, FilmStatus.WORKING)
    usage = answer.get("usage") or {}
    used = Usage(input_tokens=_count(usage, "input_tokens", "total_input_tokens"), output_tokens=_film_tokens(usage))
    for part in _parts(answer):
        if part.get("type") == "video" and (part.get("data") or part.get("uri")):
            content = _decoded(part["data"]) if part.get("data") else b""
            return FilmState(job_id, FilmStatus.DONE, content, str(part.get("uri") or ""), used)
    return FilmState(job_id, FilmStatus.REFUSED, usage=used, said=said or "the job ended without a film")


def _parts(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    steps = [step for step in answer.get("steps") or [] if step.get("type") != "user_input"]
    return [part for step in reversed(steps) for part in step.get("content") or []]


def _film_tokens(usage: Mapping[str, Any]) -> int:
    """Count tokens of film; the words around it are not worth their price."""
    kinds = usage.get("output_tokens_by_modality") or []
    return sum(_count(kind, "tokens") for kind in kinds if str(kind.get("modality", "")).lower() == "video")


def _count(usage: Mapping[str, Any], *names: str) -> int:
    return next((figures.count_of(usage[name]) for name in names if usage.get(name) is not None), 0)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
