"""Google's native wire: what is sent, what is read, and what each refusal means."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from app.assets.media import read_facts
from app.errors import PersistentError, ResourceError, StepError, TransientError
from app.gateway.media_model import FilmRequest, FilmState, FilmStatus, ImageAnswer, ImageRequest, Picture
from app.gateway.model import Blame
from app.providers.google_media import GoogleMedia
from simulator import Simulator
from simulator.media_files import make_png

IMAGE = "/google/v1/models/"
FILM = "/google/v1/interactions"
FILES = "/google/v1beta/files"
PNG = make_png(8, 4, "given")
A_PICTURE = ImageRequest("google_ai", "gemini-3-pro-image", "a lighthouse", "16:9", "2K", timeout_s=5)
A_FILM = FilmRequest("google_ai", "gemini-omni-1.1-flash", "waves", 8, "9:16", "1080p", timeout_s=5)
ELSEWHERE = {"status": 302, "headers": {"Location": "/elsewhere"}}
NO_BASE64 = {"body": {"candidates": [{"content": {"parts": [{"inlineData": {"data": "%%"}}]}}]}}
Answered = TypeVar("Answered")


def ask(simulator: Simulator, work: Callable[[GoogleMedia], Awaitable[Answered]], key: str = "k") -> Answered:
    async def run() -> Answered:
        provider = GoogleMedia(api_key=key, base_url=simulator.google_url)
        try:
            return await work(provider)
        finally:
            await provider.close()

    return asyncio.run(run())


def draw(simulator: Simulator, request: ImageRequest = A_PICTURE, **options: Any) -> ImageAnswer:
    return ask(simulator, lambda provider: provider.make_image(request), **options)


def film(simulator: Simulator, request: FilmRequest = A_FILM) -> tuple[FilmState, FilmState]:
    async def both(provider: GoogleMedia) -> tuple[FilmState, FilmState]:
        first = await provider.submit_film(request)
        return first, await provider.read_film(first.job_id)

    return ask(simulator, both)


def fetch(simulator: Simulator, uri: str, *hosts: str) -> bytes:
    return ask(simulator, lambda provider: provider.fetch_film(uri, hosts))


def failure(call: Callable[[], Any]) -> StepError:
    with pytest.raises(StepError) as caught:
        call()
    return caught.value


def native(code: int, status: str, message: str = "no", **detail: Any) -> dict[str, Any]:
    error = {"code": code, "message": message, "status": status, "details": [detail] if detail else []}
    return {"status": code, "body": {"error": error}}


# --- images ----------------------------------------------------------------------------------------------------------


def test_an_image_is_asked_for_in_the_wires_words_and_comes_as_a_file(simulator: Simulator) -> None:
    answer = draw(simulator, replace(A_PICTURE, safety="only_high", pictures=(Picture("image/png", PNG),)))

    [entry] = simulator.log(IMAGE)
    assert entry["path"] == f"{IMAGE}gemini-3-pro-image:generateContent"
    assert entry["headers"]["x-goog-api-key"] == "k"
    assert entry["body"]["generationConfig"] == {
        "responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "16:9", "imageSize": "2K"}
    }  # fmt: skip
    shown, told = entry["body"]["contents"][0]["parts"]
    assert base64.b64decode(shown["inlineData"]["data"]) == PNG
    assert told == {"text": "a lighthouse"}
    assert {one["threshold"] for one in entry["body"]["safetySettings"]} == {"BLOCK_ONLY_HIGH"}
    facts = read_facts(answer.content)
    assert facts is not None
    assert (facts.media_type, facts.width, facts.height) == ("image/png", 64, 36)
    assert (answer.model, answer.refusal) == ("gemini-3-pro-image", "")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (3, 1120)


@pytest.mark.parametrize("reason", ["IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "RECITATION", "NO_IMAGE"])
def test_an_image_that_is_withheld_is_an_answer_that_says_why(simulator: Simulator, reason: str) -> None:
    simulator.answer(finish_reason=reason)
    answer = draw(simulator)
    assert answer.content == b""
    assert reason in answer.refusal


def test_a_blocked_prompt_and_mere_words_are_refusals_too(simulator: Simulator) -> None:
    simulator.fault(IMAGE, body={"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {}})
    assert draw(simulator).refusal == "the prompt was blocked (SAFETY)"
    simulator.answer(content="I would rather write.")
    assert "I would rather write." in draw(simulator).refusal


def test_a_sketch_on_the_way_is_not_taken_for_the_image(simulator: Simulator) -> None:
    sketch, image = make_png(1, 1, "sketch"), make_png(2, 2, "image")
    parts = [
        {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(sketch).decode()}, "thought": True},
        {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(image).decode()}},
    ]
    simulator.fault(IMAGE, body={"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]})
    assert draw(simulator).content == image


@pytest.mark.parametrize(
    ("fault", "kind", "code", "blame", "sent"),
    [
        (native(400, "INVALID_ARGUMENT"), PersistentError, "http_400", Blame.NONE, False),
        (native(400, "FAILED_PRECONDITION"), PersistentError, "http_400", Blame.NONE, False),
        (native(400, "INVALID_ARGUMENT", reason="API_KEY_INVALID"), PersistentError, "auth", Blame.PROVIDER, False),
        (native(401, "UNAUTHENTICATED"), PersistentError, "auth", Blame.PROVIDER, False),
        (native(403, "PERMISSION_DENIED"), PersistentError, "auth", Blame.PROVIDER, False),
        (native(404, "NOT_FOUND", "models/x is gone"), PersistentError, "model_gone", Blame.RETIRED, False),
        (native(429, "RESOURCE_EXHAUSTED"), TransientError, "rate_limited", Blame.MODEL, False),
        (native(500, "INTERNAL"), TransientError, "provider_unavailable", Blame.MODEL, False),
        (native(503, "UNAVAILABLE"), TransientError, "provider_unavailable", Blame.MODEL, False),
        (native(504, "DEADLINE_EXCEEDED"), TransientError, "provider_unavailable", Blame.MODEL, False),
        (ELSEWHERE, TransientError, "provider_unavailable", Blame.MODEL, False),
        ({"body": "<html>a proxy's page</html>"}, TransientError, "unreadable_answer", Blame.MODEL, True),
        (NO_BASE64, TransientError, "unreadable_answer", Blame.MODEL, True),
        ({"body": {"candidates": 7}}, TransientError, "unreadable_answer", Blame.MODEL, True),
        ({"drop": "before"}, TransientError, "network", Blame.MODEL, True),
        ({"drop": "during"}, TransientError, "network", Blame.MODEL, True),
        ({"delay_s": 3}, ResourceError, "timeout", Blame.MODEL, True),
    ],
)  # fmt: skip
def test_each_failure_has_its_class_and_is_met_once(
    simulator: Simulator, fault: dict[str, Any], kind: type[StepError], code: str, blame: Blame, *, sent: bool
) -> None:
    simulator.fault("/google/v1", times=None, **fault)

    error = failure(lambda: draw(simulator, replace(A_PICTURE, timeout_s=0.5)))

    assert (type(error), error.code, error.details["blame"], error.details["sent"]) == (kind, code, blame, sent)
    assert simulator.count(IMAGE) == 1


def test_the_wait_it_asks_for_stands_among_the_details(simulator: Simulator) -> None:
    simulator.fault(IMAGE, **native(429, "RESOURCE_EXHAUSTED", retryDelay="32s"))
    assert failure(lambda: draw(simulator)).retry_after_s == 32.0


def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    async def run() -> None:
        provider = GoogleMedia(api_key="k", base_url="http://127.0.0.1:1")
        try:
            await provider.make_image(A_PICTURE)
        finally:
            await provider.close()

    error = failure(lambda: asyncio.run(run()))
    assert (error.code, error.details["sent"]) == ("network", False)


# --- what the vendor refuses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model", ["imagen-4.0-ultra-generate-001", "imagen-4.0-generate-001", "veo-3.1-generate-preview", "gemini-9-image"]
)
def test_what_has_retired_is_gone(simulator: Simulator, model: str) -> None:
    for call in (
        lambda: draw(simulator, replace(A_PICTURE, model=model)),
        lambda: film(simulator, replace(A_FILM, model=model)),
    ):
        error = failure(call)
        assert (error.code, error.details["blame"]) == ("model_gone", Blame.RETIRED)


def test_film_models_make_no_images_and_image_models_no_film(simulator: Simulator) -> None:
    assert "Interactions API" in str(failure(lambda: draw(simulator, replace(A_PICTURE, model=A_FILM.model))))
    assert failure(lambda: film(simulator, replace(A_FILM, model=A_PICTURE.model))).code == "http_400"


@pytest.mark.parametrize("extra", [{"aspect": "16:9"}, {"generationConfig": {"imageConfig": {"aspectRatio": "7:1"}}}])
def test_a_field_it_does_not_know_is_refused(simulator: Simulator, extra: dict[str, Any]) -> None:
    assert failure(lambda: draw(simulator, replace(A_PICTURE, extra=extra))).code == "http_400"
    assert failure(lambda: film(simulator, replace(A_FILM, extra={"fps": 24}))).code == "http_400"
    assert failure(lambda: film(simulator, replace(A_FILM, seconds=99))).code == "http_400"


def test_a_wrong_key_is_the_accounts_fault(simulator: Simulator) -> None:
    assert failure(lambda: draw(simulator, key="invalid")).details["blame"] == Blame.PROVIDER


# --- film ------------------------------------------------------------------------------------------------------------


def test_a_film_is_handed_in_in_the_background_and_watched(simulator: Simulator) -> None:
    simulator.configure(google_media={"film_delay_s": 60})
    first, later = film(simulator, replace(A_FILM, pictures=(Picture("image/png", PNG),)))

    entry = simulator.log(FILM)[0]
    assert entry["body"]["response_format"] == [
        {"type": "video", "duration": "8s", "aspect_ratio": "9:16", "resolution": "1080p", "delivery": "uri"}
    ]
    assert (entry["body"]["background"], entry["body"]["response_modalities"]) == (True, ["video"])
    assert [part["type"] for part in entry["body"]["input"]] == ["image", "text"]
    assert simulator.log(FILM)[1]["query"] == {"stream": "false"}
    assert first.job_id == later.job_id
    assert (first.status, later.status) == (FilmStatus.WORKING, FilmStatus.WORKING)


@pytest.mark.parametrize("inline", [False, True])
def test_a_film_that_is_done_comes_by_its_address_or_within_the_answer(simulator: Simulator, *, inline: bool) -> None:
    simulator.configure(google_media={"film_inline": inline})
    _, done = film(simulator)
    content = done.content if inline else fetch(simulator, done.uri)
    facts = read_facts(content)
    assert facts is not None
    assert (facts.media_type, facts.width, facts.height, facts.seconds) == ("video/mp4", 108, 192, 8.0)
    assert (done.status, done.usage.output_tokens) == (FilmStatus.DONE, 8 * 5792)
    assert bool(done.uri) is not inline


@pytest.mark.parametrize(
    ("ends", "error", "status"),
    [
        ("failed", {"code": 13, "message": "Internal error."}, FilmStatus.FAILED),
        ("failed", None, FilmStatus.FAILED),
        ("failed", {"code": 3, "message": "The prompt was blocked."}, FilmStatus.REFUSED),
        ("failed", {"code": 13, "message": "Blocked for safety."}, FilmStatus.REFUSED),
        ("cancelled", None, FilmStatus.REFUSED),
        ("incomplete", None, FilmStatus.REFUSED),
        ("requires_action", None, FilmStatus.REFUSED),
        ("budget_exceeded", None, FilmStatus.REFUSED),
        ("completed", {"message": "nothing came"}, FilmStatus.REFUSED),
        ("a_word_of_tomorrow", None, FilmStatus.WORKING),
    ],
)
def test_each_way_a_film_can_end_is_told_apart(
    simulator: Simulator, ends: str, error: dict[str, Any] | None, status: FilmStatus
) -> None:
    simulator.configure(google_media={"film_ends": ends, "film_error": error})
    assert film(simulator)[1].status is status


def test_a_job_without_an_id_may_be_at_work_all_the_same(simulator: Simulator) -> None:
    simulator.fault(FILM, body={"object": "interaction", "status": "queued"})
    error = failure(lambda: film(simulator))
    assert (error.code, error.details["sent"]) == ("unreadable_answer", True)


def test_a_jobs_id_leads_to_no_other_path(simulator: Simulator) -> None:
    error = failure(lambda: ask(simulator, lambda provider: provider.read_film("../../../slow?seconds=9#")))
    assert error.details["status"] == 404
    assert simulator.count("/slow") == 0
    assert [entry["path"][: len(FILM)] for entry in simulator.log()] == [FILM]


# --- what a vendor hands back ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:{port}/google/v1beta/files/film-1:download",
        "https://127.0.0.1:{port}/google/v1beta/files/film-1:download",
        "http://127.0.0.1:1/x",
        "http://user:word@127.0.0.1:{port}/google/v1beta/files/film-1:download",
        "http://127.0.0.1:{port}\\@evil.example/x",
        "https://evil.example/film.mp4",
        "https://listed.example.evil.example/film.mp4",
        "http://listed.example/film.mp4",
        "https://listed.example:8443/film.mp4",
        "file:///etc/passwd",
        "//evil.example/x",
        "ftp://127.0.0.1:{port}/x",
        "http://[::1/x",
        "http://127.0.0.1:99999999/x",
        "gs://bucket/film.mp4",
        "",
    ],
)
def test_no_other_host_is_asked_for_what_a_vendor_hands_back(simulator: Simulator, uri: str) -> None:
    port = simulator.base_url.rpartition(":")[2]
    error = failure(lambda: fetch(simulator, uri.replace("{port}", port), "listed.example"))
    assert (type(error), error.code) == (PersistentError, "file_refused")
    assert "example" not in str(error)
    assert simulator.log() == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "ip6-localhost"])
def test_a_listed_host_must_have_a_public_address(simulator: Simulator, host: str) -> None:
    error = failure(lambda: fetch(simulator, f"https://{host}/film.mp4", host))
    assert error.code in {"file_refused", "network"}
    if host == "localhost":
        assert "private address" in str(error)


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/", "https://evil.example/", "//evil.example/x", "http://localhost:{port}/slow"]
)
def test_a_redirect_leads_nowhere_else(simulator: Simulator, target: str) -> None:
    _, done = film(simulator)
    port = simulator.base_url.rpartition(":")[2]
    simulator.fault(FILES, status=302, headers={"Location": target.replace("{port}", port)})
    assert failure(lambda: fetch(simulator, done.uri)).code == "file_refused"
    assert simulator.count("/slow") == 0


def test_redirects_on_its_own_host_are_followed_but_not_for_ever(simulator: Simulator) -> None:
    _, done = film(simulator)
    simulator.fault(FILES, status=307, headers={"Location": done.uri}, times=2)
    assert read_facts(fetch(simulator, done.uri)) is not None
    simulator.fault(FILES, status=307, headers={"Location": done.uri}, times=None)
    before = simulator.count(FILES)
    assert "redirected too often" in str(failure(lambda: fetch(simulator, done.uri)))
    assert simulator.count(FILES) - before == 5


@pytest.mark.parametrize(
    ("status", "kind"), [(404, TransientError), (503, TransientError), (403, PersistentError), (206, PersistentError)]
)
def test_a_file_that_is_not_there_yet_is_asked_for_again(
    simulator: Simulator, status: int, kind: type[StepError]
) -> None:
    _, done = film(simulator)
    simulator.fault(FILES, status=status)
    assert type(failure(lambda: fetch(simulator, done.uri))) is kind


def test_what_is_too_large_is_not_read(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    _, done = film(simulator)
    monkeypatch.setattr("app.providers.google_media.MOST_BYTES", 100)
    error = failure(lambda: fetch(simulator, done.uri))
    assert "larger than 100 bytes" in str(error)
