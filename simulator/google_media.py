"""Google's native wire: images by `generateContent`, film by `interactions`, and the files it keeps."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.google_studio import Film, GoogleStudio
from simulator.media_files import make_mp4, make_png
from simulator.openai_account import GOOGLE_WIRE
from simulator.openai_refusals import Refusal, gone, no_key, unknown_field
from simulator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

IMAGE_MODELS = frozenset({"gemini-3-pro-image", "gemini-3.1-flash-image", "gemini-3.1-flash-lite-image"})
FILM_MODELS = frozenset({"gemini-omni-1.1-flash", "gemini-omni-1.2-flash"})
RATIOS = ("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9")
SIZES = ("1K", "2K", "4K")
FILM_RATIOS = ("16:9", "9:16")
RESOLUTIONS = {"360p": 360, "720p": 720, "1080p": 1080, "4k": 2160}
CONTENT_FIELDS = {
    "": {"contents", "generationConfig", "safetySettings", "systemInstruction", "tools", "toolConfig", "cachedContent"},
    "generation_config": {
        *("responseModalities", "imageConfig", "temperature", "topP", "topK", "seed", "candidateCount"),
        *("maxOutputTokens", "stopSequences", "thinkingConfig"),
    },
    "generation_config.image_config": {"aspectRatio", "imageSize"},
}
INTERACTION_FIELDS = {
    "": {
        *("model", "input", "response_modalities", "response_format", "background", "stream", "store"),
        *("previous_interaction_id", "system_instruction", "generation_config", "tools"),
    },
    "response_format[0]": {"type", "duration", "aspect_ratio", "resolution", "delivery"},
}
DOWNLOAD = "/v1beta/files/film-{}:download?alt=media"
DURATION = re.compile(r"(\d{1,2})s")
MOST_SECONDS = 15
TOKENS_A_SECOND = 5792
IMAGE_TOKENS = 1120
PIXELS_A_SIDE = 4
"""Images are tiny: what is asked as 16:9 has 64 by 36 points."""


def routes(prefix: str) -> list[web.RouteDef]:
    """List the routes."""
    return [
        web.post(f"{prefix}/v1/models/{{model:[^/]+}}:generateContent", _guarded(_generate)),
        web.post(f"{prefix}/v1/interactions", _guarded(_submit)),
        web.get(f"{prefix}/v1/interactions/{{film}}", _guarded(_read)),
        web.get(f"{prefix}/v1beta/files/{{film}}:download", _guarded(_download)),
    ]


def _guarded(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def run(request: web.Request) -> web.StreamResponse:
        try:
            key = request.headers.get("x-goog-api-key", "")
            if not key or "invalid" in key:
                raise no_key(GOOGLE_WIRE)
            return await handle(request)
        except Refusal as refusal:
            body = refusal.body(GOOGLE_WIRE)[0]  # the native wire puts no list around it
            return _json(body, refusal.status)

    return run


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")


async def _generate(request: web.Request) -> web.Response:
    state = request.app[STATE]
    studio, body, model = state.google, _object(request["body"]), request.match_info["model"]
    _refuse_model(model, IMAGE_MODELS, FILM_MODELS, studio, "This model only supports Interactions API.")
    config = _object(body.get("generationConfig", {}))
    image = _object(config.get("imageConfig", {}))
    for place, given in (("", body), ("generation_config", config), ("generation_config.image_config", image)):
        _refuse_unknown(given, CONTENT_FIELDS[place], place)
    _refuse_value(image, "aspectRatio", RATIOS)
    _refuse_value(image, "imageSize", SIZES)
    if "IMAGE" not in config.get("responseModalities", ["IMAGE"]):
        raise Refusal(400, "The requested combination of response modalities is not supported by the model.")
    prompt = _prompt(body)
    if state.answers.latency_s:
        await asyncio.sleep(state.answers.latency_s)
    said = state.answers.take(model, prompt)
    reason = "STOP" if said is None or said.finish_reason == "stop" else said.finish_reason
    words = [{"text": said.content}] if said is not None and said.content else []
    number = next(studio.numbers)
    parts: list[dict[str, Any]] = words
    if reason == "STOP" and not words:
        width, height = (int(side) * PIXELS_A_SIDE for side in str(image.get("aspectRatio") or "1:1").split(":"))
        content = base64.b64encode(make_png(width, height, f"{prompt}{number}")).decode()
        parts = [{"inlineData": {"mimeType": "image/png", "data": studio.image_content or content}}]
    counted = {"promptTokenCount": max(1, len(prompt) // 4), "candidatesTokenCount": IMAGE_TOKENS if parts else 0}
    usage = {**counted, "totalTokenCount": sum(counted.values())}
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0}
    named = {"modelVersion": model, "responseId": f"resp-{number}"}
    return _json({"candidates": [candidate], "usageMetadata": usage, **named})


def _prompt(body: Mapping[str, Any]) -> str:
    texts = []
    for content in body.get("contents") or []:
        for part in content.get("parts") or []:
            shown = part.get("inlineData")
            if shown is not None:
                _refuse_broken(shown.get("data"), shown.get("mimeType"))
            texts.append(part.get("text", ""))
    if not any(texts):
        raise Refusal(400, "GenerateContentRequest.contents: contents is not specified")
    return "\n".join(texts)


async def _submit(request: web.Request) -> web.Response:
    studio, body = request.app[STATE].google, _object(request["body"])
    model = str(body.get("model", ""))
    _refuse_model(model, FILM_MODELS, IMAGE_MODELS, studio, "Model does not support background interactions.")
    formats = body.get("response_format") or [{}]
    if not isinstance(formats, list) or len(formats) != 1:
        raise Refusal(400, "response_format must hold one entry.")
    wanted = _object(formats[0])
    _refuse_unknown(body, INTERACTION_FIELDS[""], "")
    _refuse_unknown(wanted, INTERACTION_FIELDS["response_format[0]"], "response_format[0]")
    _refuse_value(wanted, "aspect_ratio", FILM_RATIOS)
    _refuse_value(wanted, "resolution", tuple(RESOLUTIONS))
    _refuse_value(wanted, "delivery", ("inline", "uri"))
    seconds = _seconds(wanted)
    prompt = _film_prompt(body.get("input"))
    if not body.get("background"):
        raise Refusal(400, "The simulated studio makes films in the background only.")
    number = next(studio.numbers)
    height = RESOLUTIONS[wanted.get("resolution", "720p")] // 10
    sides = (height * 16 // 9, height) if wanted.get("aspect_ratio", "16:9") == "16:9" else (height, height * 16 // 9)
    content = base64.b64decode(studio.film_content) or make_mp4(*sides, seconds, f"{prompt}{number}")
    film = Film(
        film_id=f"v1_film-{number}",
        ends_at=time.monotonic() + studio.film_delay_s,
        ends=studio.film_ends,
        error=studio.film_error,
        delivery="inline" if studio.film_inline else wanted.get("delivery", "inline"),
        uri=studio.film_uri
        or f"{request.url.origin()}{_prefix(request)}/v1beta/files/film-{number}:download?alt=media",
        content=content,
        seconds=seconds,
    )
    studio.films[film.film_id] = film
    return _json({"id": film.film_id, "object": "interaction", "model": model, "status": "queued"})


async def _read(request: web.Request) -> web.Response:
    film = request.app[STATE].google.films.get(request.match_info["film"])
    if film is None:
        raise Refusal(404, "Interaction not found.")
    shown: dict[str, Any] = {"id": film.film_id, "object": "interaction", "status": "in_progress"}
    if time.monotonic() < film.ends_at:
        return _json(shown)
    shown["status"] = film.ends
    if film.error is not None:
        shown["error"] = film.error
    if film.ends == "completed" and film.error is None:
        tokens = film.seconds * TOKENS_A_SECOND
        shown["usage"] = {
            "total_input_tokens": 20,
            "total_output_tokens": tokens,
            "output_tokens_by_modality": [{"modality": "video", "tokens": tokens}],
        }
        kept = {"uri": film.uri} if film.delivery == "uri" else {"data": base64.b64encode(film.content).decode()}
        shown["steps"] = [
            {"type": "user_input", "content": [{"type": "text", "text": "…"}]},
            {"type": "thought", "signature": "simulated"},
            {"type": "model_output", "content": [{"type": "video", "mime_type": "video/mp4", **kept}]},
        ]
    return _json(shown)


async def _download(request: web.Request) -> web.Response:
    film = request.app[STATE].google.films.get(f"v1_{request.match_info['film']}")
    if film is None:
        raise Refusal(404, "File not found.")
    return web.Response(body=film.content, content_type="video/mp4")


def _prefix(request: web.Request) -> str:
    return request.path.removesuffix("/v1/interactions")


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refusal(400, "Invalid JSON payload received.")
    return value


def _refuse_model(
    model: str, known: Collection[str], others: Collection[str], studio: GoogleStudio, otherwise: str
) -> None:
    if model in others and model not in studio.retired:
        raise Refusal(400, otherwise)
    if model not in known or model in studio.retired:
        raise gone(GOOGLE_WIRE, model)


def _refuse_unknown(given: Mapping[str, Any], known: Collection[str], place: str) -> None:
    for name in given:
        if name not in known:
            raise unknown_field(GOOGLE_WIRE, name, place)


def _refuse_value(given: Mapping[str, Any], name: str, known: Collection[str]) -> None:
    if name in given and given[name] not in known:
        raise Refusal(400, f"Invalid value at '{name}': {given[name]!r}")


def _seconds(wanted: Mapping[str, Any]) -> int:
    found = DURATION.fullmatch(str(wanted.get("duration", "8s")))
    if found is None or not 1 <= int(found[1]) <= MOST_SECONDS:
        raise Refusal(400, f"Invalid value at 'duration': {wanted.get('duration')!r}")
    return int(found[1])


def _film_prompt(given: Any) -> str:
    parts = [{"type": "text", "text": given}] if isinstance(given, str) else given
    if not isinstance(parts, list) or not parts:
        raise Refusal(400, "input is required.")
    for part in parts:
        if part.get("type") == "image":
            _refuse_broken(part.get("data"), part.get("mime_type"))
    return "\n".join(str(part.get("text", "")) for part in parts)


def _refuse_broken(data: Any, media_type: Any) -> None:
    if not str(media_type).startswith("image/"):
        raise Refusal(400, f"Unsupported MIME type: {media_type}")
    try:
        base64.b64decode(str(data), validate=True)
    except ValueError:
        raise Refusal(400, "Invalid value at 'data' (TYPE_BYTES), Base64 decoding failed.") from None
