"""The users' existing services over their own wire: Optimizer, Strategist, Generator.

Every failure becomes a step's error in plain words. Neither an address nor a service's own error text is passed on:
both name internal hosts.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, TypeGuard

import orjson
import requests

from app.errors import LogicalError, PersistentError, ResourceError, StepError, TransientError
from app.studio.model import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    MAX_PROMPT_CHARS,
    MAX_RENDERER_CHARS,
    MAX_SKELETON_CHARS,
    IdeaDraft,
    Named,
    PromptDraft,
    clean,
)
from app.studio.ports import IdeaAnswer, IdeaRequest, Known, PromptRequest, ScoreAnswer, TrainAnswer

CONNECT_TIMEOUT_S = 10
WARM_UP_TRIES = 2
WARM_UP_PAUSE_S = 5.0  # only after an exception: a service that answered anything is awake
MOST_ANSWER_BYTES = 10 * 1024 * 1024
_RETRY_STATUSES = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_IDEA_STATUSES = {"approved": "approved", "declined": "declined"}


@dataclass(frozen=True)
class ServiceWire:
    """One service's address and patience.

    Args:
        title: what a person calls it.
        timeout_s: how long a call may be silent.
        warmup_timeout_s: the same for a warm-up.
        pause: waits so many seconds; tests do not.
    """

    title: str
    base_url: str
    timeout_s: float
    warmup_timeout_s: float = 60.0
    pause: Callable[[float], None] = time.sleep

    def warm_up(self, path: str) -> bool:
        """Ask for its health until it answers 200, at most twice.

        Returns:
            Whether it did; a service that sleeps on is no error here, the call itself will tell.
        """
        for attempt in range(WARM_UP_TRIES):
            try:
                with self._send("GET", path, None, self.warmup_timeout_s) as response:
                    if response.status_code == HTTPStatus.OK:
                        return True
            except requests.RequestException:
                if attempt + 1 < WARM_UP_TRIES:
                    self.pause(WARM_UP_PAUSE_S)
        return False

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send a JSON object and read one.

        Raises:
            StepError: by what went wrong; transient when trying again may help.
        """
        return self._call("POST", path, body)

    def get(self, path: str) -> dict[str, Any]:
        """Read a JSON object.

        Raises:
            StepError: as for `post`.
        """
        return self._call("GET", path, None)

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        try:
            with self._send(method, path, body, self.timeout_s) as response:
                content = _read(response)
        except requests.RequestException as error:
            raise self._explain(error) from None
        self._check(response, content)
        return self._parse(content)

    def _explain(self, error: requests.RequestException) -> StepError:
        """Say what went wrong on the way; `details["executed"]` is False where nothing can have been done."""
        unsent = isinstance(error, requests.ConnectTimeout) or "NewConnectionError" in repr(error)
        if isinstance(error, requests.Timeout) and not unsent:
            silence = f"The {self.title} did not answer within {self.timeout_s:g} s."
            return ResourceError(silence, code="service_timeout", executed=None)
        away = f"The {self.title} could not be reached."
        return TransientError(away, code="service_away", executed=False if unsent else None)

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float) -> requests.Response:
        return requests.request(
            method,
            f"{self.base_url}{path}",
            data=None if body is None else orjson.dumps(body),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            timeout=(min(CONNECT_TIMEOUT_S, timeout_s), timeout_s),
            allow_redirects=False,  # a POST that is redirected would arrive as a GET
            stream=True,
        )

    def _check(self, response: requests.Response, content: bytes) -> None:
        status = response.status_code
        if status in _RETRY_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TransientError(
                f"The {self.title} answered with an error ({status}).",
                code="service_failed",
                executed=False,
                retry_after_s=read_retry_after(response.headers.get("Retry-After")),
            )
        if status >= HTTPStatus.BAD_REQUEST:
            raise self._refusal(status, content)
        if status >= HTTPStatus.MULTIPLE_CHOICES:
            raise PersistentError(
                f"The {self.title} is somewhere else now (redirect {status}); set its new address.",
                code="service_moved",
                executed=False,
            )

    def _refusal(self, status: int, content: bytes) -> StepError:
        words = content[:2000].decode(errors="replace").casefold()
        if "disabled" in words:
            return PersistentError(
                f"The {self.title} is switched off in its own settings.", code="service_disabled", executed=False
            )
        if "no settings record" in words:
            return PersistentError(f"The {self.title} found no settings record.", code="service_unset", executed=False)
        return PersistentError(
            f"The {self.title} refused the request ({status}).", code="service_refused", executed=False
        )

    def _parse(self, content: bytes) -> dict[str, Any]:
        try:
            parsed = orjson.loads(content)
        except orjson.JSONDecodeError:
            parsed = None
        if not isinstance(parsed, dict):
            raise LogicalError(
                f"The {self.title} answered something that is no JSON object.", code="service_unreadable", executed=True
            )
        return parsed

    def unreadable(self, what: str) -> LogicalError:
        """Make the error for an answer without what it must hold."""
        return LogicalError(f"The {self.title} answered without {what}.", code="service_unreadable", executed=True)


def _read(response: requests.Response) -> bytes:
    content = bytearray()
    for chunk in response.iter_content(65_536):
        content += chunk
        if len(content) > MOST_ANSWER_BYTES:
            raise LogicalError("The service's answer is too large to be one.", code="service_unreadable", executed=True)
    return bytes(content)


def read_retry_after(raw: str | None) -> float | None:
    """Read a Retry-After header, seconds or a date; None when there is none to be read."""
    if not raw:
        return None
    try:
        return max(0.0, float(raw))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(raw)
    except ValueError:
        return None
    return max(0.0, (moment - datetime.now(UTC)).total_seconds()) if moment.tzinfo else None


class RemoteOptimizer:
    """The users' Optimizer.

    Args:
        wire: with the patience of a scoring.
        training: the same service, with the patience of a training; None takes `wire`.
    """

    def __init__(self, wire: ServiceWire, training: ServiceWire | None = None) -> None:
        self._wire = wire
        self._training = training or wire

    def train(self) -> TrainAnswer:
        """Let it train. A 200 whose own status says `skipped` or `error` is no training."""
        answer = self._training.post("/train", {})
        status = str(answer.get("status") or "").casefold()
        numbers = {
            name: answer[name]
            for name in ("training_samples", "positive_samples", "negative_samples", "auc_score")
            if _is_number(answer.get(name))
        }
        if status == "success":
            return TrainAnswer("trained", None, numbers)
        if status == "skipped":
            said = clean(str(answer.get("reason") or "it has too few samples"), keep_lines=False)[:MAX_NAME_CHARS]
            return TrainAnswer("skipped", f"The Optimizer skipped the training: {said}", numbers)
        if status == "started":
            raise PersistentError(
                "The Optimizer trains in the background and did not say what came of it.", code="service_unsettled"
            )
        raise PersistentError("The Optimizer's training failed.", code="service_failed")

    def read_insights(self) -> dict[str, Any] | None:
        """Fetch its insights into prompts."""
        insights = self._wire.get("/structure_prompt_insights").get("insights")
        return insights if isinstance(insights, dict) else None

    def score_structures(self) -> ScoreAnswer:
        """Fetch its scores, ids as texts, values kept within 0..1."""
        answer = self._wire.post("/score_structures", {})
        rows = answer.get("structures")
        if not isinstance(rows, list):
            raise self._wire.unreadable("structures")
        scores = {}
        for row in rows:
            number, score = (
                (row.get("structure_id"), row.get("predicted_success_score")) if isinstance(row, dict) else (None, None)
            )
            if number is not None and _is_number(score):
                scores[str(number)[:MAX_ID_CHARS]] = min(max(float(score), 0.0), 1.0)
        metadata = answer.get("model_metadata")
        trained_at = metadata.get("trained_at") if isinstance(metadata, dict) else None
        version = f"optimizer {trained_at}" if trained_at else "optimizer"
        note = "scores: the Optimizer has no trained model yet" if answer.get("warning") else None
        vector = answer.get("global_preference_vector")
        found = (
            {str(name): float(value) for name, value in vector.items() if _is_number(value)}
            if isinstance(vector, dict)
            else {}
        )
        return ScoreAnswer(scores, version[:MAX_NAME_CHARS], note, found)


class RemoteStrategist:
    """The users' Strategist."""

    name = "strategist_service"
    remote = True

    def __init__(self, wire: ServiceWire) -> None:
        self._wire = wire

    def propose_ideas(self, request: IdeaRequest) -> IdeaAnswer:
        """Let it run its batch; its versions read different parts of what is sent, or none."""
        self._wire.warm_up("/api/health")
        answer = self._wire.post(
            "/api/batch/run",
            {
                "optimizer_scores": dict(request.known.scores),
                "exploration_rate": request.exploration_rate,
                "num_ideas": request.count,
            },
        )
        rows = answer.get("ideas") if isinstance(answer.get("ideas"), list) else []
        ids = {item.record_id: item.structure_id for item in request.known.structures if item.record_id}
        ideas = [idea for idea in (self._read(row, ids) for row in rows or ()) if idea is not None]
        total = answer.get("totalGenerated")
        if not isinstance(total, int) or isinstance(total, bool) or total < 0:
            total = len(rows or ())
        return IdeaAnswer(tuple(ideas), total)

    def _read(self, row: Any, ids: Mapping[str, str]) -> IdeaDraft | None:
        if not isinstance(row, dict) or not isinstance(row.get("skeleton"), str) or not row["skeleton"].strip():
            return None
        parent = _first_text(row, "parent", "structureId", "parentRecordId", "structureRecordId")
        status = _IDEA_STATUSES.get(str(row.get("status", "")).casefold(), "proposed")
        return IdeaDraft(
            clean(row["skeleton"])[:MAX_SKELETON_CHARS],
            str(row.get("renderer") or "")[:MAX_RENDERER_CHARS],
            parent=None if parent is None else ids.get(parent, parent),
            source=self.name,
            external_id=_first_text(row, "id", "ideaId"),
            status=status,
        )


class RemoteGenerator:
    """The users' Generator."""

    name = "generator_service"
    remote = True

    def __init__(self, wire: ServiceWire, preferences: ServiceWire | None = None) -> None:
        self._wire = wire
        self._preferences = preferences  # the same service, with the patience of an update

    def warm_up(self) -> bool:
        """Wake it."""
        return self._wire.warm_up("/health")

    def update_preferences(self, preferences: Mapping[str, Any]) -> int:
        """Hand over the scores; gives how many structures it says have one."""
        wire = self._preferences or self._wire
        answer = wire.post("/update_preferences", preferences)
        told = answer.get("structures_with_scores")
        return told if isinstance(told, int) and not isinstance(told, bool) else len(preferences["structure_scores"])

    def make_prompts(self, request: PromptRequest) -> list[PromptDraft]:
        """Fetch one slice: records or bare texts, fewer than asked or as many, never more."""
        answer = self._wire.post("/generate-prompts", {"num_prompts": request.count, "renderer": request.renderer})
        rows = answer.get("prompts")
        if not isinstance(rows, list):
            raise self._wire.unreadable("prompts")
        names = _Names(request.known)
        drafts = (self._read(row, request, names) for row in rows)
        kept = [draft for draft in drafts if draft is not None][: request.count]
        return [_at(draft, request.offset + at) for at, draft in enumerate(kept)]

    def _read(self, row: Any, request: PromptRequest, names: _Names) -> PromptDraft | None:
        fields = {"promptText": row} if isinstance(row, str) else row if isinstance(row, dict) else {}
        text = fields.get("promptText")
        if not isinstance(text, str) or not clean(text):
            return None
        structure = _first_text(fields, "promptStructureId")
        return PromptDraft(
            clean(text)[:MAX_PROMPT_CHARS],
            (_first_text(fields, "renderer") or request.renderer)[:MAX_RENDERER_CHARS],
            structure_id=names.structure_ids.get(structure, None if _is_record(structure) else structure)
            if structure
            else None,
            structure_record_id=names.record_ids.get(structure, structure if _is_record(structure) else None)
            if structure
            else None,
            designer=names.find(_first_text(fields, "designerId")),
            garment=names.find(_first_text(fields, "garmentId")),
            source=self.name,
        )


class _Names:
    """Translate what the Generator calls things into what we know of them."""

    def __init__(self, known: Known) -> None:
        self.structure_ids = {item.record_id: item.structure_id for item in known.structures if item.record_id}
        self.record_ids = {item.structure_id: item.record_id for item in known.structures if item.record_id}
        self._named = {item.record_id: item for item in (*known.designers, *known.garments)}

    def find(self, record_id: str | None) -> Named | None:
        """Give a designer or garment; one we do not know goes without a name."""
        if record_id is None or not _is_record(record_id):
            return None
        return self._named.get(record_id, Named(record_id, record_id))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _at(draft: PromptDraft, place: int) -> PromptDraft:
    return PromptDraft(**{**draft.__dict__, "place": place})


def _is_record(value: str | None) -> bool:
    return value is not None and value.startswith("rec")


def _first_text(row: Mapping[str, Any], *names: str) -> str | None:
    """Give the first of these fields that is a text or a number; a linked record counts by its first id."""
    for name in names:
        value = row.get(name)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()[:MAX_ID_CHARS]
    return None
