"""A learning cycle from the like that starts it to every way in which it can end."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from app.errors import ConflictError, PersistentError, TransientError
from app.runs.model import RunStatus
from app.runs.ports import Handler
from app.studio.model import CycleEnd
from app.studio.starting import StartOptions
from tests.integration.learning.learners import ShareLearner
from tests.integration.studio.harness import LOCAL, MakeStudio, Studio
from tests.integration.studio.inline_runs import Context, Crashed

THRESHOLD = 3


@pytest.fixture
def learning(make_studio: MakeStudio) -> Studio:
    """A studio that learns from the first like on, every three likes."""
    return make_studio(like_threshold=THRESHOLD, learner=ShareLearner())


def like(studio: Studio, count: int, *, first: int = 0) -> list[dict[str, Any]]:
    """Send likes of records of their own, all of structure 1."""
    numbers = range(first, first + count)
    return [studio.service.record_like({"record_id": f"rec{at}", "structure_id": 1}) for at in numbers]


def cycles(studio: Studio) -> list[tuple[Any, ...]]:
    return studio.rows("select trigger, status, likes_taken from learning_cycles order by started_at")


def counters(studio: Studio) -> tuple[Any, ...]:
    """The counter, what was used, trainings, whether one runs."""
    status = studio.service.status()
    names = ("likes_since_last_retrain", "total_likes_processed", "total_retrains", "is_retraining")
    return tuple(status[name] for name in names)


def test_the_threshold_starts_one_cycle_and_says_the_count_that_was_reached(learning: Studio) -> None:
    answers = like(learning, 3)
    assert [answer["status"] for answer in answers] == ["recorded", "recorded", "threshold_reached"]
    last = answers[-1]
    assert (last["likes_since_last_retrain"], last["threshold_reached"], last["retrain_triggered"]) == (3, True, True)
    assert last["message"] == "Threshold reached. Learning cycle triggered."
    assert cycles(learning) == [("likes", "running", 3)]
    assert learning.runs.published == [learning.store.cycles.peek()]
    assert counters(learning) == (0, 0, 0, True)


def test_a_training_uses_its_likes_and_counts_as_a_retrain(learning: Studio) -> None:
    like(learning, 3)
    assert learning.run_cycle()["status"] == "trained"
    assert counters(learning) == (0, 3, 1, False)
    status = learning.service.status()
    assert status["last_retrain_at"] is not None
    assert (status["last_cycle"]["status"], status["last_cycle"]["metrics"]) == ("trained", {"auc": 0.7})
    assert status["last_cycle"]["task_id"] == learning.runs.published[0]
    assert status["last_error"] is None


def test_a_like_during_a_cycle_is_queued_and_counts_for_the_next_one(learning: Studio) -> None:
    like(learning, 3)
    queued = like(learning, 2, first=3)
    assert [(one["status"], one["likes_since_last_retrain"]) for one in queued] == [("queued", 1), ("queued", 2)]
    learning.run_cycle()
    assert counters(learning) == (2, 3, 1, False)
    assert like(learning, 1, first=5)[0]["status"] == "threshold_reached"
    learning.run_cycle()
    assert counters(learning) == (0, 6, 2, False)


def test_a_like_during_a_cycle_is_no_part_of_its_training(learning: Studio, make_studio: MakeStudio) -> None:
    learner = ShareLearner()
    studio = make_studio(like_threshold=THRESHOLD, learner=learner)
    like(studio, 3)
    like(studio, 2, first=3)
    studio.run_cycle()
    assert [data.positives for data in learner.trained_on] == [3]


def test_likes_that_queue_up_to_the_threshold_start_the_next_cycle_by_themselves(learning: Studio) -> None:
    like(learning, 3)
    like(learning, 4, first=3)
    learning.run_cycle()
    assert cycles(learning) == [("likes", "trained", 3), ("queued_likes", "running", 4)]
    assert learning.runs.published[-1] == learning.store.cycles.peek()
    learning.run_cycle()
    assert counters(learning) == (0, 7, 2, False)


def test_the_next_cycle_waits_until_the_run_of_the_last_has_ended(learning: Studio) -> None:
    like(learning, 3)
    run_id = learning.runs.published[0]
    learning.runs.set_status(run_id, RunStatus.RUNNING)
    learning.cycles.settle(run_id, CycleEnd("trained"))
    assert [one["status"] for one in like(learning, 4, first=3)] == ["queued"] * 4
    assert learning.cycles.close_ended() is False
    learning.runs.set_status(run_id, RunStatus.COMPLETED)
    assert learning.cycles.close_ended() is True
    assert cycles(learning) == [("likes", "trained", 3), ("queued_likes", "running", 4)]


def test_who_waits_for_the_end_of_one_cycle_leaves_the_next_one_alone(learning: Studio) -> None:
    like(learning, 3)
    run_id = learning.store.cycles.peek()
    del learning.runs.views[learning.runs.published[0]]
    assert learning.cycles.close_ended(only="of another run") is True
    assert cycles(learning) == [("likes", "running", 3)]
    assert learning.cycles.close_ended(only=run_id) is True
    assert cycles(learning) == [("likes", "failed", 3)]


def test_a_record_that_was_liked_before_is_a_duplicate_also_during_a_cycle(learning: Studio) -> None:
    like(learning, 3)
    assert like(learning, 1)[0]["status"] == "duplicate"
    assert counters(learning)[0] == 0


def test_too_few_samples_skip_the_cycle_and_use_no_like(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=THRESHOLD, learner=ShareLearner(fewest=100))
    like(studio, 3)
    ended = studio.run_cycle()
    assert (ended["status"], ended["reason"]) == ("skipped", "3 likes are too few.")
    assert counters(studio) == (3, 0, 0, False)
    assert studio.service.status()["last_cycle"]["status"] == "skipped"
    assert studio.service.scores()["model_version"] == "rates"  # smoothed rates serve, with the new likes in them
    assert studio.service.scores()["scores"]["1"] == pytest.approx(4 / 5)


def test_a_skipped_cycle_is_tried_again_at_the_next_threshold_and_not_at_every_like(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=THRESHOLD, learner=ShareLearner(fewest=6))
    like(studio, 3)
    studio.run_cycle()
    answers = like(studio, 3, first=3)
    assert [one["status"] for one in answers] == ["recorded", "recorded", "threshold_reached"]
    assert [one["likes_since_last_retrain"] for one in answers] == [4, 5, 6]
    assert answers[0]["message"] == "Like recorded. 2 until next learning cycle."
    assert studio.run_cycle()["status"] == "trained"
    assert counters(studio) == (0, 6, 1, False)
    assert cycles(studio) == [("likes", "skipped", 3), ("likes", "trained", 6)]


def test_a_failed_cycle_gives_its_likes_back_and_says_why(make_studio: MakeStudio) -> None:
    learner = ShareLearner(fails=PersistentError("The disk is full."))
    studio = make_studio(like_threshold=THRESHOLD, learner=learner)
    like(studio, 3)
    assert studio.run_cycle()["status"] == "failed"
    status = studio.service.status()
    assert (status["last_error"], status["last_cycle"]["status"]) == ("Training: The disk is full.", "failed")
    assert counters(studio) == (3, 0, 0, False)
    assert [one["status"] for one in like(studio, 2, first=3)] == ["recorded", "recorded"]
    learner.fails = None
    assert like(studio, 1, first=5)[0]["status"] == "threshold_reached"
    assert studio.run_cycle()["status"] == "trained"
    assert counters(studio) == (0, 6, 1, False)
    assert studio.service.status()["last_error"] is None


def test_likes_that_queued_during_a_failed_cycle_start_the_next_at_once(make_studio: MakeStudio) -> None:
    learner = ShareLearner(fails=PersistentError("no"))
    studio = make_studio(like_threshold=THRESHOLD, learner=learner)
    like(studio, 3)
    like(studio, 3, first=3)
    studio.run_cycle()
    assert cycles(studio) == [("likes", "failed", 3), ("queued_likes", "running", 6)]


def test_a_model_that_is_not_better_is_kept_aside_and_its_likes_are_used(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=THRESHOLD, learner=ShareLearner(promotes=False))
    like(studio, 3)
    assert studio.run_cycle()["status"] == "kept_previous"
    assert counters(studio) == (0, 3, 1, False)
    assert studio.service.scores()["model_version"] == "rates"


def test_a_cancelled_cycle_gives_its_likes_back(learning: Studio) -> None:
    like(learning, 3)
    learning.runs.set_status(learning.runs.published[0], RunStatus.CANCELLED)
    assert counters(learning) == (3, 0, 0, False)
    assert learning.service.status()["last_cycle"]["status"] == "failed"
    assert cycles(learning) == [("likes", "cancelled", 3)]


def test_a_cycle_whose_run_was_deleted_gives_its_likes_back(learning: Studio) -> None:
    like(learning, 3)
    del learning.runs.views[learning.runs.published[0]]
    assert like(learning, 1, first=3)[0]["likes_since_last_retrain"] == 4
    assert counters(learning) == (4, 0, 0, False)


def test_a_paused_cycle_blocks_nobody_and_does_nothing_when_it_is_resumed(learning: Studio) -> None:
    like(learning, 3)
    run_id = learning.runs.published[0]
    learning.runs.set_status(run_id, RunStatus.PAUSED)
    assert counters(learning) == (3, 0, 0, False)
    view = learning.runs.finish_run(run_id)
    assert {step.error["code"] for step in view.steps if step.error} == {"cycle_over"}
    assert counters(learning) == (3, 0, 0, False)
    assert learning.rows("select count(*) from model_versions") == [(0,)]


def test_a_run_that_ended_before_it_settled_gives_its_likes_back(learning: Studio) -> None:
    like(learning, 3)
    learning.runs.set_status(learning.runs.published[0], RunStatus.PARTIAL)
    assert counters(learning) == (3, 0, 0, False)
    assert "before it could say" in learning.service.status()["last_cycle"]["reason"]


def test_settling_twice_counts_once(learning: Studio) -> None:
    like(learning, 3)
    run_id = learning.runs.published[0]
    learning.run_cycle()
    again = learning.cycles.settle(run_id, CycleEnd("failed"))
    assert again is not None
    assert again.status == "trained"
    assert counters(learning) == (0, 3, 1, False)


def test_a_document_of_somebodys_own_cannot_pass_for_the_cycle(learning: Studio) -> None:
    like(learning, 3)
    context = Context("0190a000-0000-7000-8000-000000000000", "0.0", [])
    for name, handler in learning.runs.handlers.agents.items():
        if name.startswith("learning_") and name != "learning_gate":
            with pytest.raises(PersistentError) as raised:
                handler.call(context, {})
            assert raised.value.code == "cycle_over"
    assert counters(learning) == (0, 0, 0, True)


def test_a_reset_clears_the_counter_and_the_likes_train_later(make_studio: MakeStudio) -> None:
    learner = ShareLearner()
    studio = make_studio(like_threshold=THRESHOLD, learner=learner)
    like(studio, 2)
    assert studio.service.reset_counter() == {"status": "reset", "likes_since_last_retrain": 0}
    answers = like(studio, 3, first=2)
    assert [one["status"] for one in answers] == ["recorded", "recorded", "threshold_reached"]
    studio.run_cycle()
    assert learner.trained_on[0].positives == 5
    assert counters(studio) == (0, 5, 1, False)


def test_a_reset_during_a_cycle_that_fails_stays_a_reset(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=THRESHOLD, learner=ShareLearner(fails=PersistentError("no")))
    like(studio, 3)
    studio.service.reset_counter()
    studio.run_cycle()
    assert counters(studio) == (0, 0, 0, False)
    assert studio.rows("select count(*) from likes where cycle_run_id is null") == [(3,)]


def test_likes_of_an_imported_state_file_count_and_are_used(learning: Studio) -> None:
    learning.service.import_state({"likes_since_last_retrain": 2, "total_likes_processed": 10})
    assert like(learning, 1)[0]["status"] == "threshold_reached"
    learning.run_cycle()
    assert counters(learning) == (0, 13, 1, False)


def test_a_cycle_can_be_asked_for_and_a_second_is_refused(learning: Studio) -> None:
    like(learning, 1)
    started = learning.service.trigger_retrain(StartOptions("somebody"))
    assert started.run_id == learning.runs.published[0]
    assert learning.runs.requests[started.run_id].owner == "somebody"
    with pytest.raises(ConflictError) as raised:
        learning.service.trigger_retrain(LOCAL)
    assert (raised.value.code, raised.value.details["task_id"]) == ("retrain_in_progress", started.run_id)
    learning.run_cycle()
    assert counters(learning) == (0, 1, 1, False)
    assert learning.service.trigger_retrain(LOCAL).run_id == learning.store.cycles.peek()


def test_training_goes_to_the_worker_that_does_nothing_else(learning: Studio) -> None:
    learning.service.trigger_retrain(LOCAL)
    request = next(iter(learning.runs.requests.values()))
    assert (request.kind, request.queues) == ("learning_cycle", {"train": "learning"})
    alone = [len(block.tasks) for block in request.workflow.blocks if block.tasks[0].key == "train"]
    assert alone == [1]


# --- batches ---


def test_a_forced_cycle_runs_inside_the_batch_and_before_its_scores(learning: Studio) -> None:
    like(learning, 2)
    answer = learning.run_daily(force_retrain=True, num_ideas=0, num_prompts=2)
    assert (answer["success"], answer["retrain_triggered"], answer["error"]) == (True, True, None)
    assert answer["summary"] == "Learning cycle completed. 2 prompts created."
    assert cycles(learning) == [("batch", "trained", 2)]
    assert learning.service.scores()["model_version"] == "preference-1"
    assert counters(learning) == (0, 2, 1, False)


def test_a_manual_generation_can_force_one_too(learning: Studio) -> None:
    like(learning, 2)
    answer = learning.run_manual(force_retrain=True, num_prompts=1)
    assert (answer["success"], answer["retrain_triggered"]) == (True, True)
    assert counters(learning) == (0, 2, 1, False)


def test_a_due_cycle_runs_inside_the_batch(learning: Studio) -> None:
    learning.service.import_state({"likes_since_last_retrain": 30})
    like(learning, 0)
    answer = learning.run_daily(num_ideas=0, num_prompts=1)
    assert answer["retrain_triggered"] is True
    assert answer["summary"].startswith("Learning cycle skipped. ")
    assert counters(learning)[0] == 30
    again = learning.run_daily(num_ideas=0, num_prompts=1)
    assert again["retrain_triggered"] is False  # the next try comes a threshold later


def test_a_batch_without_a_due_cycle_starts_none(learning: Studio) -> None:
    like(learning, 2)
    answer = learning.run_daily(num_ideas=0, num_prompts=1)
    assert answer["retrain_triggered"] is False
    assert cycles(learning) == []


def test_a_failed_cycle_does_not_stop_the_batch_and_its_error_is_said(make_studio: MakeStudio) -> None:
    studio = make_studio(learner=ShareLearner(fails=PersistentError("The disk is full.")))
    answer = studio.run_daily(force_retrain=True, num_ideas=0, num_prompts=2)
    assert (answer["success"], answer["retrain_triggered"], answer["prompts_generated"]) == (True, True, 2)
    assert answer["summary"].startswith("Learning cycle failed. ")
    assert "The disk is full." in answer["error"]


def test_a_skipped_cycle_is_said_and_smoothed_rates_serve(make_studio: MakeStudio) -> None:
    studio = make_studio(learner=ShareLearner(fewest=100))
    answer = studio.run_daily(force_retrain=True, num_ideas=0, num_prompts=1)
    assert answer["summary"] == "Learning cycle skipped. 1 prompts created."
    assert "learning: 0 likes are too few." in answer["degraded"]
    assert any(note.startswith("scores: like rates") for note in answer["degraded"])


def test_a_batch_that_dies_after_it_started_its_cycle_finds_it_again(learning: Studio) -> None:
    first = learning.cycles.join_for_batch("0190a000-0000-7000-8000-000000000001", "local", forced=True)
    again = learning.cycles.join_for_batch("0190a000-0000-7000-8000-000000000001", "local", forced=True)
    other = learning.cycles.join_for_batch("0190a000-0000-7000-8000-000000000002", "local", forced=True)
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.run_id == again.run_id == other.run_id
    assert len(cycles(learning)) == 1


# --- crashes ---


def dying(handler: Handler, when: str) -> Callable[..., Any]:
    """Make a handler that kills its process once, before or after it has done its work."""
    left = [1]

    def call(context: Any, given: dict[str, Any]) -> Any:
        dies = bool(left) and bool(left.pop())
        if dies and when == "before":
            raise Crashed
        output = handler.call(context, given)
        if dies:
            raise Crashed
        return output

    return call


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("agent", ["learning_train", "learning_score", "learning_insights", "learning_settle"])
def test_a_cycle_killed_at_any_step_is_finished_and_counts_its_likes_once(
    learning: Studio, agent: str, when: str
) -> None:
    agents = learning.runs.handlers.agents
    agents[agent] = replace(agents[agent], call=dying(agents[agent], when))
    like(learning, 3)
    with pytest.raises(Crashed):
        learning.run_cycle()
    like(learning, 1, first=3)
    assert learning.runs.finish_run(learning.runs.published[0]).variables["cycle"]["status"] == "trained"
    assert counters(learning) == (1, 3, 1, False)
    assert learning.rows("select count(*), count(distinct run_id) from model_versions") == [(1, 1)]


def test_a_database_that_was_away_is_worth_another_try(learning: Studio) -> None:
    like(learning, 3)
    away = sa.create_engine("postgresql+psycopg2://nobody@127.0.0.1:1/none")
    learning.agents.learning._store.cycles._engine = away
    with pytest.raises(TransientError):
        learning.agents.learning.train(Context(learning.runs.published[0], "train", []), {})


# --- many at once ---


def test_a_thousand_likes_of_25_clients_start_the_cycles_the_threshold_says_and_none_is_lost(
    make_studio: MakeStudio,
) -> None:
    studio = make_studio(like_threshold=25, learner=ShareLearner())
    numbers = [number % 900 for number in range(1000)]
    statuses: list[str] = []
    stop = threading.Event()

    def send(part: list[int]) -> None:
        likes = ({"record_id": f"rec{number}", "structure_id": 1} for number in part)
        statuses.extend(studio.service.record_like(one)["status"] for one in likes)

    def work() -> None:
        done: set[str] = set()
        while not (stop.is_set() and set(studio.runs.published) <= done):
            for run_id in [one for one in list(studio.runs.published) if one not in done]:
                studio.runs.finish_run(run_id)
                done.add(run_id)
                studio.cycles.close_ended()
            stop.wait(0.005)

    engine = threading.Thread(target=work)
    threads = [threading.Thread(target=send, args=(numbers[at::25],)) for at in range(25)]
    for thread in (engine, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    engine.join()
    found = Counter(statuses)
    assert found["duplicate"] == 100
    assert studio.rows("select count(*), count(distinct record_id) from likes") == [(900, 900)]
    assert found["recorded"] + found["queued"] + found["threshold_reached"] == 900
    rows = studio.rows("select likes_taken, status, started_at, ended_at, trigger from learning_cycles order by 3")
    assert all(taken >= 25 and status == "trained" for taken, status, *_ in rows)
    assert found["threshold_reached"] == sum(trigger == "likes" for *_, trigger in rows)
    assert all(earlier[3] <= later[2] for earlier, later in itertools.pairwise(rows))
    left, used, retrains, _ = counters(studio)
    assert used == sum(row[0] for row in rows)
    assert (left + used, retrains) == (900, len(rows))
    assert left < 25
    assert studio.rows("select count(*) from likes where cycle_run_id is null") == [(left,)]


def test_a_thousand_likes_while_nobody_works_start_exactly_one_cycle(make_studio: MakeStudio) -> None:
    studio = make_studio(like_threshold=25, learner=ShareLearner())
    statuses: list[str] = []

    def send(part: range) -> None:
        statuses.extend(studio.service.record_like({"record_id": f"rec{number}"})["status"] for number in part)

    threads = [threading.Thread(target=send, args=(range(at, 300, 10),)) for at in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(statuses) == {"recorded": 24, "threshold_reached": 1, "queued": 275}
    assert cycles(studio) == [("likes", "running", 25)]
