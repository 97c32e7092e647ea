"""Batches from the request to the answer, on real tables."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import InvalidError, PersistentError, ResourceError, TransientError
from app.runs.model import RunStatus
from app.studio.batch import answer_daily_batch, answer_manual_generation
from app.studio.making import Makers
from app.studio.model import Asked, IdeaDraft, PromptDraft
from app.studio.plain_generator import PlainGenerator
from app.studio.plain_strategist import PlainStrategist
from app.studio.ports import IdeaAnswer, IdeaRequest, PromptRequest, ScoreAnswer
from app.studio.starting import StartOptions
from tests.integration.studio.harness import LOCAL, MakeStudio, Studio


class ScriptedStrategist:
    """A remote Strategist that answers what it is told, or raises."""

    name = "strategist_service"
    remote = True

    def __init__(self, *answers: IdeaAnswer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[IdeaRequest] = []

    def propose_ideas(self, request: IdeaRequest) -> IdeaAnswer:
        self.asked.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


class ScriptedGenerator:
    """A remote Generator; `fails` maps a slice's offset to the error it ends in."""

    name = "generator_service"
    remote = True

    def __init__(
        self, fails: dict[int, Exception] | None = None, *, text: str = "Prompt {place}", short_by: int = 0
    ) -> None:
        self.fails = fails or {}
        self.text = text
        self.short_by = short_by
        self.asked: list[PromptRequest] = []
        self.warmed = 0

    def warm_up(self) -> bool:
        self.warmed += 1
        return False

    def make_prompts(self, request: PromptRequest) -> list[PromptDraft]:
        self.asked.append(request)
        if request.offset in self.fails:
            raise self.fails[request.offset]
        places = range(request.offset, request.offset + request.count - self.short_by)
        return [PromptDraft(self.text.format(place=place), "ImageFX", place, source=self.name) for place in places]


class ScriptedOptimizer:
    """An Optimizer that gives scores or raises."""

    def __init__(self, answer: ScoreAnswer | Exception) -> None:
        self.answer = answer
        self.asked = 0

    def score_structures(self) -> ScoreAnswer:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def makers(**changes: Any) -> Makers:
    plain = {
        "strategist": PlainStrategist(),
        "generator": PlainGenerator(),
        "optimizer": None,
        "plain_strategist": PlainStrategist(),
        "plain_generator": PlainGenerator(),
    }
    return Makers(**{**plain, **changes})


def test_a_fresh_installation_makes_five_ideas_and_twelve_prompts(studio: Studio) -> None:
    answer = studio.run_daily()
    assert answer == {
        "success": True,
        "retrain_triggered": False,
        "ideas_generated": 5,
        "prompts_generated": 12,
        "prompts_written": 12,
        "summary": "5 new structure ideas generated. 12 prompts created.",
        "error": None,
        "degraded": [
            "scores: like rates, smoothed; no learned scorer is used",
            "ideas: recombined by plain rules, without a model or service",
            "prompts: written by plain rules, without a model or service",
        ],
    }
    assert studio.rows("select count(*), count(distinct text) from prompts") == [(12, 12)]
    assert studio.rows("select count(*) from ideas where parent is not null") == [(5,)]
    assert studio.last_view().status is RunStatus.COMPLETED


def test_the_batch_is_counted_once_however_often_its_report_is_written(studio: Studio) -> None:
    batch = studio.service.start_daily_batch(Asked(num_ideas=1, num_prompts=2), LOCAL)
    first = answer_daily_batch(studio.runs.finish_run(batch.run_id))
    assert answer_daily_batch(studio.runs.finish_run(batch.run_id)) == first  # every step delivered twice
    status = studio.service.status()
    assert (status["total_batches"], status["total_generations"]) == (1, 0)
    assert status["last_batch_result"] == {"ideas": 1, "prompts": 2, "retrain_triggered": False}
    assert status["last_batch_at"].endswith("+00:00")
    assert studio.rows("select count(*) from prompts") == [(2,)]
    assert studio.rows("select count(*) from ideas") == [(1,)]


def test_a_zero_skips_its_stage_and_two_zeros_are_no_failure(studio: Studio) -> None:
    assert studio.run_daily(num_ideas=0, num_prompts=1)["summary"] == "1 prompts created."
    answer = studio.run_daily(num_ideas=0, num_prompts=0)
    assert (answer["success"], answer["summary"], answer["error"]) == (True, "Nothing was asked for.", None)


def test_numbers_out_of_range_start_nothing(studio: Studio) -> None:
    with pytest.raises(InvalidError):
        studio.service.start_daily_batch(Asked(num_prompts=501), LOCAL)
    with pytest.raises(InvalidError):
        studio.service.start_manual_generation(Asked(num_prompts=0), LOCAL)
    assert studio.rows("select count(*) from batches") == [(0,)]


def test_a_manual_generation_makes_prompts_only_and_counts_as_one(studio: Studio) -> None:
    answer = studio.run_manual(num_prompts=3, renderer="Recraft")
    assert {
        name: answer[name] for name in ("success", "retrain_triggered", "prompts_generated", "renderer", "error")
    } == {
        "success": True,
        "retrain_triggered": False,
        "prompts_generated": 3,
        "renderer": "Recraft",
        "error": None,
    }
    status = studio.service.status()
    assert (status["total_batches"], status["total_generations"]) == (0, 1)
    assert status["last_generation_result"] == {"prompts": 3, "renderer": "Recraft", "manual": True}
    assert studio.rows("select count(*) from ideas") == [(0,)]


def test_a_manual_generation_makes_twelve_prompts_when_nothing_is_said(studio: Studio) -> None:
    assert studio.run_manual()["prompts_generated"] == 12


def test_five_hundred_prompts_of_one_batch_all_differ(studio: Studio) -> None:
    assert studio.run_manual(num_prompts=500)["prompts_generated"] == 500
    assert studio.rows("select count(distinct fingerprint), count(distinct place) from prompts") == [(500, 500)]


def test_two_daily_batches_at_once_are_one_and_both_may_read_it(studio: Studio) -> None:
    first = studio.service.start_daily_batch(Asked(), LOCAL)
    second = studio.service.start_daily_batch(Asked(num_prompts=99), StartOptions("somebody"))
    again = studio.service.start_daily_batch(Asked(), StartOptions("somebody"))
    assert (first.joined, second.joined, again.joined) == (False, True, True)
    assert first.run_id == second.run_id == again.run_id
    assert studio.runs.published == [first.run_id]
    readers = {name: studio.service.may_read_run(first.run_id, name) for name in ("local", "somebody", "stranger")}
    assert readers == {"local": True, "somebody": True, "stranger": False}
    assert studio.rows("select joiners from batches") == [(["somebody"],)]


def test_twenty_clients_at_once_start_one_batch(make_studio: MakeStudio) -> None:
    studio = make_studio()
    found: list[tuple[str, bool]] = []
    gate = threading.Barrier(20)

    def start(number: int) -> None:
        gate.wait()
        batch = studio.service.start_daily_batch(Asked(), StartOptions(f"client-{number}"))
        found.append((batch.run_id, batch.joined))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({run_id for run_id, _ in found}) == 1
    assert sum(not joined for _, joined in found) == 1


def test_a_start_that_is_rolled_back_leaves_the_place_free(studio: Studio) -> None:
    with studio.store.engine.connect() as connection, connection.begin() as transaction:
        studio.service.start_daily_batch(Asked(), LOCAL, connection)
        transaction.rollback()
    assert not studio.service.start_daily_batch(Asked(), LOCAL).joined


@pytest.mark.parametrize(
    ("status", "left"),
    [(RunStatus.PAUSED, "paused"), (RunStatus.PAUSED_BUDGET, "paused"), (RunStatus.CANCELLED, "ended")],
)
def test_a_paused_or_cancelled_batch_is_in_nobodys_way(studio: Studio, status: RunStatus, left: str) -> None:
    first = studio.service.start_daily_batch(Asked(), LOCAL)
    studio.runs.set_status(first.run_id, status)
    second = studio.service.start_daily_batch(Asked(), LOCAL)
    assert not second.joined
    assert studio.rows(f"select status from batches where run_id = '{first.run_id}'") == [(left,)]


def test_a_paused_batch_that_goes_on_later_ends_as_any_other(studio: Studio) -> None:
    first = studio.service.start_daily_batch(Asked(num_ideas=0, num_prompts=1), LOCAL)
    studio.runs.set_status(first.run_id, RunStatus.PAUSED)
    studio.run_daily(num_ideas=0, num_prompts=1)
    assert answer_daily_batch(studio.runs.finish_run(first.run_id))["success"]
    assert studio.service.status()["total_batches"] == 2


def test_while_a_cycle_runs_batches_are_refused_in_the_callers_words(studio: Studio) -> None:
    studio.service.trigger_retrain(LOCAL)
    answer = studio.run_daily()
    assert (answer["success"], answer["error"], answer["summary"]) == (
        False,
        "retrain_in_progress",
        "Retrain in progress. Try again later.",
    )
    manual = studio.run_manual(renderer="Recraft")
    assert (manual["success"], manual["error"], manual["renderer"]) == (False, "retrain_in_progress", "Recraft")
    assert studio.service.status()["total_batches"] == 0


def test_a_cancelled_run_answers_without_a_report(studio: Studio) -> None:
    batch = studio.service.start_daily_batch(Asked(), LOCAL)
    studio.runs.set_status(batch.run_id, RunStatus.CANCELLED)
    view = studio.runs.get_run(batch.run_id, owner=None)
    assert answer_daily_batch(view)["error"] == "The batch was cancelled."
    assert answer_manual_generation(view)["success"] is False


def test_a_slice_that_fails_costs_only_its_own_prompts(make_studio: MakeStudio) -> None:
    generator = ScriptedGenerator({10: TransientError("The Generator answered with an error (503).")})
    studio = make_studio(makers=makers(generator=generator), warms_up=True)
    answer = studio.run_daily(num_prompts=25)
    assert (answer["success"], answer["prompts_generated"], answer["prompts_written"]) == (True, 15, 15)
    assert answer["error"] == "10 of 25 prompts are missing: The Generator answered with an error (503)."
    assert answer["summary"] == "5 new structure ideas generated. 15 prompts created."
    assert generator.warmed == 1
    assert Counter(request.offset for request in generator.asked) == {0: 1, 10: 5, 20: 1}


def test_a_batch_that_could_make_nothing_at_all_has_failed(make_studio: MakeStudio) -> None:
    refused = PersistentError("The Generator refused the request (400).")
    studio = make_studio(makers=makers(generator=ScriptedGenerator({0: refused, 10: refused})))
    answer = studio.run_daily(num_ideas=0, num_prompts=12)
    assert (answer["success"], answer["prompts_generated"]) == (False, 0)
    assert answer["error"] == "12 of 12 prompts are missing: The Generator refused the request (400)."
    assert studio.service.status()["total_batches"] == 0
    assert studio.service.list_batches().items[0]["success"] is False


def test_a_strategist_that_is_switched_off_leaves_out_the_ideas_only(make_studio: MakeStudio) -> None:
    off = PersistentError(
        "The Strategist is switched off in its own settings.", code="service_disabled", executed=False
    )
    studio = make_studio(makers=makers(strategist=ScriptedStrategist(off)))
    answer = studio.run_daily()
    assert (answer["success"], answer["ideas_generated"], answer["prompts_generated"]) == (True, 0, 12)
    assert answer["error"] == "Ideas: The Strategist is switched off in its own settings."
    assert answer["summary"] == "0 new structure ideas generated. 12 prompts created."


def test_a_strategist_gets_the_scores_and_its_own_count_is_believed(make_studio: MakeStudio) -> None:
    strategist = ScriptedStrategist(IdeaAnswer((IdeaDraft("An idea", source="strategist_service"),), 4))
    studio = make_studio(makers=makers(strategist=strategist))
    assert studio.run_daily(num_ideas=9)["ideas_generated"] == 4
    (asked,) = strategist.asked
    assert asked.count == 9
    assert set(asked.known.scores) == {str(number) for number in range(1, 17)}
    assert studio.service.list_ideas().items[0]["skeleton"] == "An idea"


def test_a_strategist_that_was_asked_and_never_answered_is_not_asked_again(make_studio: MakeStudio) -> None:
    silent = ResourceError("The Strategist did not answer within 120 s.", executed=None)
    strategist = ScriptedStrategist(silent)
    studio = make_studio(makers=makers(strategist=strategist))
    answer = studio.run_daily()
    assert len(strategist.asked) == 1
    assert "not asked again" in answer["error"]
    assert answer["prompts_generated"] == 12


def test_a_strategist_that_was_just_away_is_asked_again(make_studio: MakeStudio) -> None:
    away = TransientError("The Strategist could not be reached.", executed=False)
    strategist = ScriptedStrategist(away, away, IdeaAnswer((), 3))
    studio = make_studio(makers=makers(strategist=strategist))
    assert studio.run_daily()["ideas_generated"] == 3
    assert len(strategist.asked) == 3


def test_where_it_is_wished_the_plain_way_fills_in_and_says_so(make_studio: MakeStudio) -> None:
    away = TransientError("The service could not be reached.", executed=False)
    studio = make_studio(
        makers=makers(
            strategist=ScriptedStrategist(away),
            generator=ScriptedGenerator({0: away, 10: away}),
            optimizer=ScriptedOptimizer(away),
            fallback=True,
        )
    )
    answer = studio.run_daily()
    assert (answer["success"], answer["ideas_generated"], answer["prompts_generated"]) == (True, 5, 12)
    assert answer["degraded"] == [
        "scores: the Optimizer failed; like rates, smoothed, filled in",
        "ideas: the Strategist failed; plain rules filled in",
        "prompts: the Generator failed; plain rules filled in",
    ]
    assert answer["error"] == "The service could not be reached."


def test_fewer_prompts_than_asked_are_kept_and_said(make_studio: MakeStudio) -> None:
    studio = make_studio(makers=makers(generator=ScriptedGenerator(short_by=1)))
    answer = studio.run_daily(num_ideas=0, num_prompts=12)
    assert (answer["success"], answer["prompts_generated"], answer["error"]) == (True, 10, None)
    assert "prompts: 10 of 12 asked for" in answer["degraded"]


def test_a_services_words_are_kept_though_they_were_used_before_but_not_twice_in_a_batch(
    make_studio: MakeStudio,
) -> None:
    studio = make_studio(makers=makers(generator=ScriptedGenerator(text="Always the same")))
    assert studio.run_daily(num_ideas=0, num_prompts=12)["prompts_generated"] == 1
    assert studio.run_daily(num_ideas=0, num_prompts=12)["prompts_generated"] == 1


def test_learned_scores_serve_for_a_day_before_the_optimizer_is_asked_again(make_studio: MakeStudio) -> None:
    optimizer = ScriptedOptimizer(ScoreAnswer({"1": 0.9, "2": 0.1}, "optimizer 1"))
    studio = make_studio(makers=makers(optimizer=optimizer))
    studio.run_daily(num_ideas=0, num_prompts=1)
    studio.run_daily(num_ideas=0, num_prompts=1)
    assert optimizer.asked == 1
    assert studio.service.scores()["scores"] == {"1": 0.9, "2": 0.1}
    with studio.store.engine.begin() as connection:
        connection.execute(sa.text("update studio_state set scores_cached_at = now() - interval '25 hours'"))
    assert studio.service.scores()["is_fresh"] is False
    studio.run_daily(num_ideas=0, num_prompts=1)
    assert optimizer.asked == 2


def test_stale_scores_serve_when_the_optimizer_fails_and_the_answer_says_it_failed(make_studio: MakeStudio) -> None:
    optimizer = ScriptedOptimizer(ScoreAnswer({"1": 0.9}, "optimizer 1"))
    strategist = ScriptedStrategist(IdeaAnswer((), 1))
    studio = make_studio(makers=makers(optimizer=optimizer, strategist=strategist))
    studio.run_daily(num_prompts=0)
    with studio.store.engine.begin() as connection:
        connection.execute(sa.text("update studio_state set scores_cached_at = now() - interval '25 hours'"))
    optimizer.answer = PersistentError("The Optimizer refused the request (403).")
    answer = studio.run_daily(num_prompts=0)
    assert answer["success"]
    assert answer["error"] == "Scores: The Optimizer refused the request (403)."
    assert strategist.asked[-1].known.scores == {"1": 0.9}


def test_likes_raise_a_structures_share_of_the_next_batch(studio: Studio) -> None:
    studio.run_manual(num_prompts=200)
    counts = "select structure_id, count(*) from prompts where not explored {} group by 1"
    before = dict(studio.rows(counts.format("")))
    for number in range(12):
        studio.service.record_like({"structure_id": 3, "record_id": f"rec{number}"})
    answer_view = studio.service.start_manual_generation(Asked(num_prompts=200), LOCAL)
    studio.runs.finish_run(answer_view.run_id)
    after = dict(studio.rows(counts.format(f"and run_id = '{answer_view.run_id}'")))
    assert after["3"] > 2 * before["3"]
    explored = studio.rows(f"select avg(explored::int)::float from prompts where run_id = '{answer_view.run_id}'")
    assert explored[0][0] == pytest.approx(0.2, abs=0.005)


def test_a_fault_of_ours_is_not_quoted_to_the_caller(make_studio: MakeStudio) -> None:
    class Broken(ScriptedGenerator):
        def make_prompts(self, request: PromptRequest) -> list[PromptDraft]:
            from app.errors import FatalError

            raise FatalError("KeyError at http://10.0.0.7/secret")

    studio = make_studio(makers=makers(generator=Broken()))
    answer = studio.run_daily(num_prompts=2)
    assert answer["error"] == "2 of 2 prompts are missing: an internal fault; the run's steps show it."


def test_the_days_batch_starts_once_however_many_beats_ask(make_studio: MakeStudio) -> None:
    now = datetime.now(UTC).replace(hour=7, minute=0)
    studio = make_studio(now=lambda: now)
    found = []
    gate = threading.Barrier(8)

    def beat() -> None:
        gate.wait()
        found.append(studio.service.start_due_batch())

    threads = [threading.Thread(target=beat) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    started = [batch for batch in found if batch is not None and not batch.joined]
    assert len(started) == 1
    assert studio.service.start_due_batch() is None
    assert studio.rows("select count(*) from batches") == [(1,)]


def test_the_days_batch_is_done_when_any_daily_batch_has_succeeded_since(make_studio: MakeStudio) -> None:
    moment = [datetime.now(UTC)]
    studio = make_studio(now=lambda: moment[0])
    firing = moment[0].replace(hour=6, minute=0, second=0, microsecond=0)
    moment[0] = firing + timedelta(hours=1)
    studio.run_daily(num_ideas=0, num_prompts=1)
    with studio.store.engine.begin() as connection:
        connection.execute(sa.text("update batches set finished_at = :at"), {"at": firing + timedelta(minutes=5)})
    assert studio.service.start_due_batch() is None


def test_a_failed_day_is_tried_three_times_and_then_left(make_studio: MakeStudio) -> None:
    moment = [datetime.now(UTC).replace(hour=6, minute=0, second=30)]
    refused = PersistentError("The Generator refused the request (400).")
    studio = make_studio(
        now=lambda: moment[0],
        makers=makers(generator=ScriptedGenerator({0: refused, 10: refused})),
        default_batch_ideas=0,
    )
    tries = 0
    for _ in range(8):
        batch = studio.service.start_due_batch()
        if batch is not None:
            tries += 1
            studio.runs.finish_run(batch.run_id)
            with studio.store.engine.begin() as connection:
                ended = sa.text("update batches set finished_at = :at where run_id = :run_id")
                connection.execute(ended, {"at": moment[0], "run_id": batch.run_id})
        moment[0] += timedelta(minutes=6)
    assert tries == 3


def test_a_day_too_long_ago_is_not_caught_up(make_studio: MakeStudio) -> None:
    studio = make_studio(now=lambda: datetime.now(UTC).replace(hour=13, minute=0))
    assert studio.service.start_due_batch() is None
