"""Structures, ideas and prompts as they are kept."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import sqlalchemy as sa

from app.errors import ConflictError, InvalidError, NotConfiguredError, NotFoundError
from app.studio.model import IdeaDraft, PromptDraft, Structure, like_rate
from app.studio.ports import IdeaAnswer
from app.studio.store import StudioStore
from tests.integration.studio.harness import MakeStudio, Studio

RUN = "0190a000-0000-7000-8000-000000000001"
OTHER_RUN = "0190a000-0000-7000-8000-000000000002"


def test_an_empty_installation_begins_with_sixteen_structures_put_in_once(make_studio: MakeStudio) -> None:
    studio = make_studio()
    assert make_studio().service.prepare_catalogue() == 0
    assert studio.service.list_structures().total == 16


def test_structures_are_written_all_or_none(studio: Studio) -> None:
    good = {"structure_id": 100, "skeleton": "A {garment}", "attributes": {"light": "dusk"}, "record_id": "rec100"}
    with pytest.raises(InvalidError):
        studio.service.add_structures([good, {"structure_id": 101}])
    assert studio.service.list_structures().total == 16
    (added,) = studio.service.add_structures([good])
    assert (added["structure_id"], added["record_id"], added["score"]) == ("100", "rec100", None)


def test_a_known_id_is_written_over_and_keeps_its_record(studio: Studio) -> None:
    studio.service.add_structures([{"structure_id": "7x", "skeleton": "old", "record_id": "rec7"}])
    studio.service.add_structures([{"structure_id": "7x", "skeleton": "new"}])
    shown = studio.service.get_structure("rec7")
    assert (shown["structure_id"], shown["skeleton"], shown["record_id"]) == ("7x", "new", "rec7")


def test_a_record_of_another_structure_is_refused_and_nothing_is_written(studio: Studio) -> None:
    studio.service.add_structures([{"structure_id": "a", "skeleton": "x", "record_id": "rec7"}])
    with pytest.raises(InvalidError):
        studio.service.add_structures(
            [{"structure_id": "b", "skeleton": "x"}, {"structure_id": "c", "skeleton": "x", "record_id": "rec7"}]
        )
    assert studio.rows("select count(*) from structures where structure_id in ('b', 'c')") == [(0,)]


def test_lists_are_paged_newest_first(studio: Studio) -> None:
    studio.service.add_structures([{"structure_id": "newest", "skeleton": "x"}])
    first = studio.service.list_structures(1, 5)
    assert (first.total, len(first.items), first.items[0]["structure_id"]) == (17, 5, "newest")
    assert len(studio.service.list_structures(4, 5).items) == 2


def test_an_unknown_structure_is_not_found(studio: Studio) -> None:
    with pytest.raises(NotFoundError):
        studio.service.get_structure("nobody")


def test_a_structure_shows_why_it_scores_so_and_how_that_changed(studio: Studio) -> None:
    studio.run_manual(num_prompts=40)
    for number in range(4):
        studio.service.record_like({"structure_id": 5, "record_id": f"rec{number}"})
    expected = like_rate(4, studio.service.get_structure("5")["shown"])
    studio.run_manual(num_prompts=1)
    shown = studio.service.get_structure("5")
    assert (shown["liked"], shown["model_version"]) == (4, "rates")
    assert shown["score"] == pytest.approx(expected, abs=1e-6)
    assert sum(part["contribution"] for part in shown["explanation"]) == pytest.approx(shown["score"])
    assert [entry["score"] for entry in shown["history"]] == [shown["score"], 0.5]


def test_likes_count_for_a_structure_by_number_by_record_and_by_prompt(studio: Studio) -> None:
    store = studio.store
    item = Structure("s", "x", record_id="recS", statistics={"liked": 1, "shown": 9})
    store.catalogue.put_structures([item])
    store.prompts.keep(RUN, "k", [PromptDraft(f"p{n}", "r", n, structure_id="s") for n in range(3)], only_new=False)
    store.prompts.set_records({row["prompt_id"]: f"recP{row['place']}" for row in store.prompts.made_in(RUN)})
    assert store.scores.count_outcomes([item]) == {"s": (1, 9)}
    for like in ({"structure_id": "s"}, {"structure_id": "recS"}, {"record_id": "recP1"}):
        studio.service.record_like(like)
    assert store.scores.count_outcomes([item]) == {"s": (3, 9)}


def test_an_idea_is_approved_once_and_becomes_a_structure_with_its_parent(studio: Studio) -> None:
    studio.run_daily(num_ideas=2, num_prompts=0)
    idea = studio.service.list_ideas("proposed").items[0]
    approved = studio.service.decide_idea(idea["idea_id"], "approved")
    assert (approved["status"], approved["structure_id"]) == ("approved", f"idea-{idea['idea_id']}")
    structure = studio.service.get_structure(approved["structure_id"])
    assert (structure["skeleton"], structure["parent"], structure["source"]) == (
        idea["skeleton"],
        idea["parent"],
        "idea",
    )
    with pytest.raises(ConflictError):
        studio.service.decide_idea(idea["idea_id"], "declined")
    assert len(studio.service.list_ideas("proposed").items) == 1


def test_of_two_people_deciding_at_once_one_is_told_it_was_decided(studio: Studio) -> None:
    studio.run_daily(num_ideas=1, num_prompts=0)
    idea_id = studio.service.list_ideas().items[0]["idea_id"]
    outcomes: list[str] = []
    gate = threading.Barrier(8)

    def decide() -> None:
        gate.wait()
        try:
            studio.service.decide_idea(idea_id, "approved")
            outcomes.append("approved")
        except ConflictError:
            outcomes.append("conflict")

    threads = [threading.Thread(target=decide) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["approved"] + ["conflict"] * 7


@pytest.mark.parametrize("idea_id", ["999", "x", "-1", "99999999999999999999", "²"])
def test_an_unknown_idea_is_not_found(studio: Studio, idea_id: str) -> None:
    with pytest.raises(NotFoundError):
        studio.service.decide_idea(idea_id, "approved")


def test_an_unknown_status_of_ideas_is_refused(studio: Studio) -> None:
    with pytest.raises(InvalidError):
        studio.service.list_ideas("nonsense")


def test_a_hundred_days_of_ideas_never_repeat_one(studio: Studio) -> None:
    for _ in range(20):
        studio.run_daily(num_ideas=5, num_prompts=0)
    assert studio.rows("select count(*), count(distinct fingerprint) from ideas") == [(100, 100)]


def test_ideas_shown_by_a_service_keep_their_decision(studio: Studio) -> None:
    drafts = IdeaAnswer((IdeaDraft("a", status="declined"), IdeaDraft("b")), 2).ideas
    studio.store.ideas.keep(RUN, "k", drafts, only_new=False)
    assert [idea["status"] for idea in studio.store.ideas.made_by(RUN, "k")] == ["declined", "proposed"]


def test_the_same_words_stored_by_two_runs_at_once_are_kept_by_one(engine: sa.Engine) -> None:
    store = StudioStore.over(engine)
    drafts = [PromptDraft(f"words {number}", "r", number) for number in range(50)]
    kept: list[set[int]] = []
    gate = threading.Barrier(2)

    def keep(run_id: str, given: list[PromptDraft]) -> None:
        gate.wait()
        kept.append(store.prompts.keep(run_id, "k", given, only_new=True))

    threads = [
        threading.Thread(target=keep, args=(RUN, drafts)),
        threading.Thread(target=keep, args=(OTHER_RUN, drafts[::-1])),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(places) for places in kept) == [0, 50]


def test_words_may_come_again_after_thirty_days_and_not_before(engine: sa.Engine) -> None:
    store = StudioStore.over(engine)
    draft = [PromptDraft("the same words", "r")]

    def age(days: int) -> None:
        with engine.begin() as connection:
            connection.execute(sa.text(f"update studio_fingerprints set used_at = now() - interval '{days} days'"))

    assert store.prompts.keep(RUN, "k", draft, only_new=True) == {0}
    age(29)
    assert store.prompts.keep(OTHER_RUN, "k", draft, only_new=True) == set()
    age(31)
    assert store.prompts.keep(OTHER_RUN, "k", draft, only_new=True) == {0}


def test_prompts_whose_words_were_used_lately_are_written_anew(studio: Studio) -> None:
    studio.run_manual(num_prompts=10)
    with studio.store.engine.begin() as connection:
        connection.execute(sa.text("delete from prompts"))  # the claims on their words stay
        connection.execute(sa.text("delete from studio_marks"))
    run_id = next(iter(studio.runs.views))
    answer = studio.runs.finish_run(run_id).variables["report"]
    assert answer["prompts_generated"] == 10
    assert studio.rows("select count(*) from studio_fingerprints where kind = 'prompt'") == [(20,)]


def test_housekeeping_forgets_marks_and_claims_past_any_use(studio: Studio) -> None:
    studio.run_daily(num_ideas=1, num_prompts=1)
    assert studio.service.tidy() == 0
    assert studio.service.tidy(timedelta(0)) == 3
    assert studio.service.list_prompts().total == 1


def test_without_airtable_a_sync_names_the_variable_to_set(studio: Studio) -> None:
    with pytest.raises(NotConfiguredError) as caught:
        studio.service.sync_structures()
    assert caught.value.details["setting"] == "AIRTABLE_STRUCTURES_TABLE_ID"


def test_agents_serve_in_workflows_of_others_too(studio: Studio) -> None:
    from tests.integration.studio.inline_runs import Context

    context = Context(RUN, "0.0", [])
    ideas = studio.agents.batches.propose_ideas(context, {"count": 2, "scores": {"1": 0.5}})
    assert (ideas["count"], len(ideas["ideas"])) == (2, 2)
    slices = [
        studio.agents.batches.make_prompts(Context(RUN, f"1.0.{at}", []), {"slice": count})
        for at, count in enumerate([10, 2])
    ]
    texts = [prompt["text"] for part in slices for prompt in part["prompts"]]
    assert len(set(texts)) == 12
    assert studio.agents.batches.report_batch(context, {})["prompts_generated"] == 12
    assert studio.service.status()["total_batches"] == 0


@pytest.mark.parametrize("given", [{"count": "five"}, {"count": -1}, {"count": 51}, {"count": True}])
def test_an_agent_given_nonsense_says_what_it_needs(studio: Studio, given: dict[str, object]) -> None:
    from app.errors import PersistentError
    from tests.integration.studio.inline_runs import Context

    with pytest.raises(PersistentError, match="whole number"):
        studio.agents.batches.propose_ideas(Context(RUN, "0.0", []), dict(given))


def test_a_batch_on_an_installation_without_structures_begins_with_the_starter_catalogue(studio: Studio) -> None:
    with studio.store.engine.begin() as connection:
        connection.execute(sa.text("delete from structures"))
    assert studio.run_daily(num_ideas=1, num_prompts=2)["success"]
    assert studio.service.list_structures().total == 16
    assert len(studio.service.scores()["scores"]) == 16
