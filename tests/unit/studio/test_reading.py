"""What callers and files send."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.errors import InvalidError
from app.studio.importing import read_state_file
from app.studio.reading import read_like, read_structures


def test_every_problem_of_every_structure_is_said_by_its_place() -> None:
    with pytest.raises(InvalidError) as caught:
        read_structures(
            [{"structure_id": 1.5, "skeleton": " "}, 7, {"structure_id": 2, "skeleton": "x", "attributes": []}]
        )
    assert set(caught.value.errors) == {
        "structures[0].structure_id",
        "structures[0].skeleton",
        "structures[1]",
        "structures[2].attributes",
    }


def test_the_same_id_twice_is_refused_also_as_a_number_and_a_text() -> None:
    with pytest.raises(InvalidError) as caught:
        read_structures([{"structure_id": 1, "skeleton": "a"}, {"structure_id": "1", "skeleton": "b"}])
    assert set(caught.value.errors) == {"structures.structure_id"}


@pytest.mark.parametrize("count", [0, 1001])
def test_a_request_holds_one_to_a_thousand_structures(count: int) -> None:
    with pytest.raises(InvalidError):
        read_structures([{"structure_id": number, "skeleton": "x"} for number in range(count)])


def test_a_like_needs_one_of_its_fields_and_a_blank_is_none() -> None:
    assert read_like({"structure_id": 42})["structure_id"] == "42"
    assert read_like({"record_id": " rec1 ", "structure_id": ""}) == {
        "record_id": "rec1",
        "structure_id": None,
        "image_url": None,
    }
    for bad in ({}, {"record_id": "  "}, {"structure_id": True}, {"record_id": 5}, {"image_url": "x" * 2001}):
        with pytest.raises(InvalidError):
            read_like(bad)


def test_a_like_that_says_nothing_is_refused_as_a_whole() -> None:
    with pytest.raises(InvalidError) as refusal:
        read_like({"record_id": "  "})
    assert set(refusal.value.errors) == {"body"}


def test_a_file_of_the_first_version_lacks_keys_and_is_read_all_the_same() -> None:
    values = read_state_file(
        {"likes_since_last_retrain": 7, "last_like_at": "2025-01-15T06:00:00Z", "total_retrains": 2}
    )
    assert values["likes_since_last_retrain"] == 7
    assert values["last_like_at"] == datetime(2025, 1, 15, 6, tzinfo=UTC)
    assert (values["total_batches"], values["last_batch_result"], values["cached_scores"]) == (0, None, {})
    assert values["scores_model_version"] is None


def test_a_file_with_wrong_values_is_refused_whole_and_each_is_named() -> None:
    with pytest.raises(InvalidError) as caught:
        read_state_file(
            {
                "likes_since_last_retrain": -1,
                "last_retrain_at": "yesterday",
                "last_batch_result": [],
                "cached_structure_scores": {"42": 1.7},
            }
        )
    assert set(caught.value.errors) == {
        "likes_since_last_retrain",
        "last_retrain_at",
        "last_batch_result",
        "cached_structure_scores",
    }
