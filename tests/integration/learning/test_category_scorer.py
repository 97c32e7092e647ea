"""The learned categories, from letters that a model said to letters that no model is asked for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.chat.model import Category
from app.errors import PersistentError
from app.learning.chat_serving import Current, LearnedCategoriser
from app.learning.service import ScorerRegistry
from app.settings import Settings
from tests.integration.learning.chatting import BEGAN, School, make_school, message, sorted_turns, turn
from tests.integration.studio.inline_runs import Context

ENOUGH = 240


@pytest.fixture
def make(settings: Settings, engine: sa.Engine) -> Callable[..., School]:
    def made(**options: int) -> School:
        return make_school(settings, engine, **options)

    return made


@pytest.fixture
def school(make: Callable[..., School]) -> School:
    return make()


def categoriser(school: School, *, refresh_s: float = 0.0) -> LearnedCategoriser:
    return LearnedCategoriser(Current(lambda: school.registry, "category", refresh_s=refresh_s))


def test_below_the_fewest_letters_nothing_starts(school: School) -> None:
    school.hear(sorted_turns(199))
    assert not school.categories.start_due()
    school.hear(sorted_turns(1, seed=2))
    assert school.categories.start_due()
    assert school.runs.requests[school.runs.published[-1]].queues == {"train": "learning"}


def test_a_letter_that_was_never_seen_is_too_little_to_learn_from_and_plain_rules_go_on(school: School) -> None:
    school.hear(sorted_turns(ENOUGH, letters="LM"))
    outcome = school.train(school.categories).variables["training"]
    assert outcome["status"] == "skipped"
    assert "none of them H" in outcome["reason"]
    assert school.registry.list_versions() == []
    assert "plain rules" in categoriser(school).judge("What is known of bread?", 0).reason


def test_what_was_learned_serves_with_a_confidence_and_says_from_how_many(school: School) -> None:
    school.hear(sorted_turns(ENOUGH))
    assert school.train(school.categories).variables["training"]["status"] == "trained"
    judge, rng = categoriser(school), random.Random(99)
    found = {letter: [judge.judge(message(letter, rng), 0) for _ in range(20)] for letter in "LMH"}
    for letter, judgements in found.items():
        assert {one.category for one in judgements} == {Category(letter)}
        assert all(one.confidence is not None and one.confidence >= 0.9 for one in judgements)
        assert "learned from 240 messages (category-" in judgements[0].reason


def test_a_message_of_words_never_seen_claims_no_confidence(school: School) -> None:
    school.hear(sorted_turns(ENOUGH))
    school.train(school.categories)
    assert categoriser(school).judge("Xyzzy plugh frobnicate quux zorkmid", 0).confidence is None


def test_bad_answers_and_letters_of_ones_own_are_not_learned_from_unless_judged_good(school: School) -> None:
    judged = BEGAN + timedelta(days=1)
    rows = [
        turn("A", "M", BEGAN, sorted_by="model"),
        turn("B", "M", BEGAN, sorted_by="model", good=False, judged_at=judged),
        turn("C", "L", BEGAN, sorted_by="local"),
        turn("D", "L", BEGAN, sorted_by="local", good=True, judged_at=judged),
        turn("E", "L", BEGAN, good=True, judged_at=judged),
        turn("F", "M", BEGAN, sorted_by="model", asked=None),
    ]
    school.hear(rows)
    with school.engine.connect() as connection:
        assert {one.message for one in school.lessons.read_letters(connection)} == {"A", "D"}
        assert school.lessons.count_letters(connection, None)[0] == 2


def test_the_next_training_waits_for_as_many_new_letters(school: School) -> None:
    school.hear(sorted_turns(ENOUGH, letters="LM"))
    school.train(school.categories)
    assert not school.categories.start_due()
    later = BEGAN + timedelta(days=9)
    school.hear(sorted_turns(199, at=later))
    assert not school.categories.start_due()
    school.hear(sorted_turns(1, at=later + timedelta(days=1)))
    assert school.categories.start_due()
    assert len(school.runs.published) == 2


def test_while_one_trains_no_other_begins(school: School) -> None:
    school.hear(sorted_turns(ENOUGH, letters="LM"))
    assert school.categories.start_due()
    school.hear(sorted_turns(ENOUGH, letters="LM", at=BEGAN + timedelta(days=9)))
    assert not school.categories.start_due()
    school.runs.finish_run(school.runs.published[-1])
    assert school.categories.start_due()


def test_a_step_that_is_done_twice_makes_one_version(school: School) -> None:
    school.hear(sorted_turns(ENOUGH))
    view = school.train(school.categories)
    again = school.categories.train(Context(view.run_id, "train", []), {})
    assert again == view.variables["training"]
    assert len(school.registry.list_versions()) == 1


def test_a_run_that_is_no_longer_the_newest_keeps_nothing(school: School) -> None:
    school.hear(sorted_turns(ENOUGH))
    school.train(school.categories)
    with pytest.raises(PersistentError, match="not the newest"):
        school.categories.train(Context("01900000-0000-7000-8000-000000000000", "train", []), {})


def test_letters_by_chance_teach_nothing_that_may_serve(school: School) -> None:
    rng, rows = random.Random(5), sorted_turns(ENOUGH)
    for row in rows:
        row["category"] = rng.choice("LMMH")
    school.hear(rows)
    outcome = school.train(school.categories).variables["training"]
    serving = school.registry.serving("category")
    claims = [categoriser(school).judge(row["asked"]["message"], 0).confidence for row in rows[:50]]
    assert outcome["status"] == "kept_previous" or serving.version is not None
    assert not any(claim is not None and claim >= 0.9 for claim in claims)


def test_a_broken_artifact_leaves_plain_rules_and_is_told(school: School, make: Callable[..., School]) -> None:
    school.hear(sorted_turns(ENOUGH))
    school.train(school.categories)
    [version] = school.registry.list_versions()
    school.artifact(version).write_text("no scorer")
    for process in (school, make()):
        assert "plain rules" in categoriser(process).judge("What is known of bread?", 0).reason
        [problem] = process.registry.problems()
        assert version.name in problem


def test_a_rollback_brings_plain_rules_back_once_the_process_looks_again(school: School) -> None:
    school.hear(sorted_turns(ENOUGH))
    school.train(school.categories)
    now = [0.0]
    judge = LearnedCategoriser(Current(lambda: school.registry, "category", refresh_s=5.0, clock=lambda: now[0]))
    assert "learned" in judge.judge("What is known of bread?", 0).reason
    school.registry.roll_back("category")
    assert "learned" in judge.judge("What is known of bread?", 0).reason
    now[0] = 5.1
    assert "plain rules" in judge.judge("What is known of bread?", 0).reason


def test_a_database_that_is_away_leaves_plain_rules_where_nothing_was_read_yet() -> None:
    def away() -> ScorerRegistry:
        raise sa.exc.OperationalError("select", {}, Exception("away"))

    judge = LearnedCategoriser(Current(away, "category", refresh_s=0.0))
    assert "plain rules" in judge.judge("What is known of bread?", 0).reason


def test_judging_a_message_takes_no_longer_than_a_blink(school: School) -> None:
    school.hear(sorted_turns(ENOUGH))
    school.train(school.categories)
    judge, rng = categoriser(school, refresh_s=60.0), random.Random(3)
    judge.judge("What is known of bread?", 0)
    messages = [message("M", rng) for _ in range(100)]
    took_s = []
    for text in messages:
        began = time.perf_counter()
        judge.judge(text, 0)
        took_s.append(time.perf_counter() - began)
    assert sorted(took_s)[50] < 0.02  # ten times what it takes, for a busy machine
