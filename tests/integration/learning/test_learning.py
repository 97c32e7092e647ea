"""With the real scorer: likes change what is generated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import main
from app.settings import Settings
from app.studio.model import Structure
from tests.integration.studio.harness import MakeStudio, Studio

COLOURS = ("red", "blue", "green", "grey")
STRUCTURES = (
    240  # each is shown twice or so: what is learned of one helps another, and plain rates know next to nothing
)


@pytest.fixture
def studio(make_studio: MakeStudio) -> Studio:
    """Structures in four colours and five cuts, none of them the starter's."""
    made = make_studio(like_threshold=120)
    made.rows("select 1")
    with made.store.engine.begin() as connection:
        connection.exec_driver_sql("delete from structures")
    made.store.catalogue.put_structures(
        [
            Structure(
                str(at),
                f"A {COLOURS[at % 4]} coat, look {at}, by {{designer}}",
                attributes={"colour": COLOURS[at % 4], "cut": f"cut {at % 5}"},
            )
            for at in range(STRUCTURES)
        ]
    )
    return made


def make_prompts(studio: Studio, count: int) -> list[dict[str, Any]]:
    answer = studio.run_manual(num_prompts=count)
    assert answer["prompts_generated"] == count
    return studio.store.prompts.made_in(list(studio.runs.views)[-1])


def share(prompts: list[dict[str, Any]], colour: str) -> float:
    return sum(COLOURS[int(row["structure_id"]) % 4] == colour for row in prompts) / len(prompts)


def like_all(studio: Studio, prompts: list[dict[str, Any]], colour: str) -> None:
    """Give every prompt a record in the base; like one colour and one cut, most of all together."""
    rng = Random(3)
    studio.store.prompts.set_records({row["prompt_id"]: f"p{row['prompt_id']}" for row in prompts})
    for row in prompts:
        number = int(row["structure_id"])
        fancied = (COLOURS[number % 4] == colour) + (number % 5 < 2)
        if rng.random() < (0.03, 0.5, 0.97)[fancied]:
            studio.service.record_like({"record_id": f"p{row['prompt_id']}"})


def test_likes_that_favour_some_structures_raise_their_share_and_exploration_stays_marked(studio: Studio) -> None:
    before = make_prompts(studio, 480)
    like_all(studio, before, "red")
    ended = studio.run_cycle()
    assert ended["status"] == "trained", ended
    after = make_prompts(studio, 200)
    assert share(before, "red") == pytest.approx(0.25, abs=0.05)
    assert share(after, "red") > 0.33
    explored = Counter(row["explored"] for row in after)
    assert 35 <= explored[True] <= 45
    assert all(0 < row["propensity"] < 1 for row in after)
    scores = studio.service.scores()
    assert scores["model_version"] == "preference-1"
    mean = {
        colour: fmean(scores["scores"][str(at)] for at in range(STRUCTURES) if COLOURS[at % 4] == colour)
        for colour in COLOURS
    }
    assert max(mean, key=mean.__getitem__) == "red"


def test_an_explanation_adds_up_to_the_score(studio: Studio) -> None:
    like_all(studio, make_prompts(studio, 480), "red")
    studio.run_cycle()
    shown = studio.service.get_structure("4")
    assert shown["model_version"] == "preference-1"
    total = sum(part["contribution"] for part in shown["explanation"])
    assert total == pytest.approx(shown["score"], abs=1e-2)
    assert {"colour", "skeleton", "(item)"} & {part["feature"] for part in shown["explanation"][1:3]}


def test_a_new_structure_is_scored_by_its_attributes_and_doubted(studio: Studio) -> None:
    like_all(studio, make_prompts(studio, 480), "red")
    studio.run_cycle()
    studio.service.add_structures(
        [
            {"structure_id": f"new-{colour}", "skeleton": f"A {colour} hat", "attributes": {"colour": colour}}
            for colour in COLOURS
        ]
    )
    studio.run_manual(num_prompts=1)
    scores = studio.service.scores()["scores"]
    assert scores["new-red"] > max(scores["new-blue"], scores["new-green"], scores["new-grey"])
    doubts = studio.store.scores.cached().doubts
    assert all(0 < doubts[key] < 0.5 for key in scores)


def test_a_broken_artifact_leaves_smoothed_rates_serving_and_nothing_crashes(
    studio: Studio, settings: Settings
) -> None:
    like_all(studio, make_prompts(studio, 480), "red")
    studio.run_cycle()
    [artifact] = (settings.storage.data_dir / "artifacts").rglob("*.txt")
    artifact.write_text(artifact.read_text()[:500])
    answer = studio.run_daily(num_ideas=1, num_prompts=2)
    assert answer["success"] is True
    assert any("does not serve" in note for note in answer["degraded"])
    assert studio.service.scores()["model_version"] == "rates"
    assert studio.service.get_structure("4")["explanation"][1]["feature"] == "likes among its prompts"
    assert len(studio.registry.problems()) == 1


def test_the_command_lists_shows_draws_and_rolls_back(
    studio: Studio, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    like_all(studio, make_prompts(studio, 480), "red")
    studio.run_cycle()
    monkeypatch.setenv("DATABASE_URL", settings.storage.database_url)
    monkeypatch.setenv("REDIS_URL", settings.storage.redis_url)
    monkeypatch.setenv("DATA_DIR", str(settings.storage.data_dir))
    runner = CliRunner()

    def batuta(*words: str) -> str:
        result = runner.invoke(main, ["scorers", *words], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    listed = batuta()
    assert "serving" in listed
    assert "as it is drawn now" in listed
    estimates = [float(line.split()[-2]) for line in listed.splitlines() if line.strip().startswith("as it ")]
    assert estimates[1] > estimates[0]
    assert "data_hash" in batuta("card", "1")
    picture = tmp_path / "learning.png"
    batuta("plot", "--output", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "smoothed rates serve" in batuta("rollback")
    assert studio.service.scores()["model_version"] == "rates"
