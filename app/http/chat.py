"""Chat: a message and its answer, sessions, verdicts."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Response

from app.assets.model import REFERENCE, run_holder
from app.chat.answers import answer_first
from app.chat.model import FIRST_STEP, Asked
from app.chat.service import Options, check_session_id
from app.chat.warming import GREETING
from app.errors import InvalidError, NotConfiguredError, NotFoundError
from app.http.answers import answer_json
from app.http.application import application, identity
from app.http.chat_failures import failure_of
from app.http.chat_schemas import (
    ChatAnswerSchema,
    ChatRequestSchema,
    SessionDeletedSchema,
    SessionSchema,
    VerdictAnswerSchema,
    VerdictSchema,
    WarmUpAnswerSchema,
    WarmUpRequestSchema,
    read_asked,
)
from app.http.chat_streaming import stream_chat, wants_stream
from app.http.keys import REPLAYED
from app.http.options import read_options
from app.http.problems import AWAY
from app.http.resource import Resource, Route, Rule
from app.http.runs import known
from app.http.starting import Begun, Taken, take_run
from app.http.waiting import accept_run, read_preference, wait_in_room
from app.http.workflows import RETRY_AFTER_S, answer_estimate
from app.runs.model import RunStatus

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from app.chat.model import Session
    from app.runs.model import RunView
    from app.workflows.model import Workflow

logger = logging.getLogger(__name__)

resource = Resource("chat", "Talk to the system: it picks the model, and plans what takes several.")
WAIT_S = 90.0
USERS = Rule(tolerant=True)


@resource.serves(
    Route(
        path="/chat",
        method="POST",
        body=ChatRequestSchema,
        answer=ChatAnswerSchema,
        starts_run=True,
        streams=True,
        problems=(404, 409, 413, 502),
        rule=USERS,
    )
)
def chat(body: dict[str, Any]) -> Response:
    """Answer a message. Category H answers with an acknowledgement; the result comes in the session and the run."""
    app, asked = application(), read_asked(body)
    refuse_foreign_assets(asked)
    run_options = read_options(body, app.settings.engine.callback_allowed_hosts)
    foreseen = app.chat.foresee(asked)
    if run_options.dry_run:
        return answer_estimate(foreseen)
    refuse_without_provider(foreseen)
    streams = wants_stream(body) and read_preference(WAIT_S).wait_s > 0
    options = Options(run_options.priority, run_options.max_cost_usd, run_options.callback_url, streams)
    start = partial(_start, asked, body["session_id"], options)
    return stream_chat(start) if streams else answer_taken(take_run(start))


@resource.serves(
    Route(
        path="/chat/warmup",
        method="POST",
        body=WarmUpRequestSchema,
        answer=WarmUpAnswerSchema,
        problems=(404, 503),
    )
)
def warm_up(body: dict[str, Any]) -> dict[str, Any]:
    """Open the way to the models for somebody who is about to write; every five minutes at most, for under a cent."""
    app = application()
    session = _session_or_none(body["session_id"])
    refuse_without_provider(app.chat.foresee(Asked(GREETING)))
    started = app.chat.warm_up(identity().owner)
    return {
        "status": "warm" if started is None else "warming",
        "task_id": None if started is None else started.run_id,
        "session": "new" if session is None else "known",
        "messages": 0 if session is None else len(session.messages),
        "status_url": None if started is None else f"/runs/{started.run_id}",
    }


@resource.serves(Route(path="/chat/<task_id>/verdict", method="POST", body=VerdictSchema, answer=VerdictAnswerSchema))
def judge_chat(task_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Say whether an answer was good; said again, the last word counts."""
    run_id = known(task_id)
    judged_at = application().chat.judge(run_id, good=body["good"], note=body["note"], owner=identity().sees)
    return {"task_id": run_id, "good": body["good"], "note": body["note"], "judged_at": judged_at}


@resource.serves(Route(path="/session/<session_id>", answer=SessionSchema, rule=USERS))
def get_session(session_id: str) -> dict[str, Any]:
    """Show a conversation, oldest message first."""
    session = application().chat.read_session(session_id, owner=identity().sees)
    lines = [
        {"role": message.role, "content": message.content, "timestamp": message.created_at}
        for message in session.messages
    ]
    return {"created_at": session.created_at, "messages": lines}


@resource.serves(Route(path="/session/<session_id>", method="DELETE", answer=SessionDeletedSchema, rule=USERS))
def delete_session(session_id: str) -> dict[str, Any]:
    """Delete a conversation with every text of it."""
    application().chat.delete_session(session_id, owner=identity().sees)
    return {"status": "deleted", "session_id": session_id}


def refuse_foreign_assets(asked: Asked) -> None:
    """Refuse images that are nobody's asset, or somebody else's.

    Raises:
        InvalidError: names them.
    """
    problems: dict[str, list[str]] = {}
    for place, image in enumerate(asked.images):
        if not image.startswith(REFERENCE):
            continue
        try:
            asset = application().assets.find(image.removeprefix(REFERENCE), identity().owner)
        except NotFoundError:
            problems[f"images.{place}"] = ["There is no asset of this hash."]
        else:
            if not asset.is_image:
                problems[f"images.{place}"] = ["That asset is no image."]
    if problems:
        raise InvalidError(errors=problems)


def refuse_without_provider(foreseen: Workflow) -> None:
    """Refuse what no configured provider could answer.

    Raises:
        NotConfiguredError: names the variable to set.
    """
    missing = application().missing_settings(foreseen)
    if missing:
        raise NotConfiguredError(
            f"Chat needs a model provider: set {' or '.join(missing)}.", retry_after_s=RETRY_AFTER_S, setting=missing[0]
        )


def answer_taken(taken: Taken) -> Response:
    """Answer with the first step's outcome, or with 202 where it goes on.

    Raises:
        BatutaError: the model failed for good, or the chat was cancelled.
    """
    preference = read_preference(WAIT_S)
    headers = {"Preference-Applied": preference.applied} if preference.applied else {}
    headers |= REPLAYED if taken.replayed else {}
    runs, view, status = application().runs, None, taken.status
    try:
        view = wait_in_room(partial(runs.wait_for_step, taken.run_id, FIRST_STEP), preference.wait_s)
        if view is None and (status is None or preference.wait_s > 0):
            status = runs.get_run(taken.run_id, owner=None).status
    except AWAY:
        # The message is safe in the journal: its sender must learn the id, not send it a second time.
        logger.warning("chat %s is stored, but a server went away while its sender waited", taken.run_id)
    if view is None:
        return accept_run(taken.run_id, status or RunStatus.QUEUED, {}, headers)
    return answer_json(answer_of(view), headers=headers)


def answer_of(view: RunView) -> dict[str, Any]:
    """Shape the answer of a chat whose first step has ended.

    Raises:
        BatutaError: it failed.
    """
    answer = answer_first(view)
    if answer is None:
        raise failure_of(view)
    return answer


def _start(
    asked: Asked,
    session_id: str | None,
    options: Options,
    connection: Connection | None,
) -> Begun:
    app, owner = application(), identity().owner
    started = app.chat.start_chat(asked, session_id, owner, options, connection)
    shown = [image.removeprefix(REFERENCE) for image in asked.images if image.startswith(REFERENCE)]
    if shown:
        app.assets.hold(shown, owner, run_holder(started.run_id), connection)
    return Begun(started)


def _session_or_none(session_id: str | None) -> Session | None:
    if not session_id:
        return None
    try:
        return application().chat.read_session(check_session_id(session_id), owner=identity().owner)
    except NotFoundError:
        return None
