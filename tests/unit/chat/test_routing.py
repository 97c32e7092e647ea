"""Where messages go, by rules alone."""

from __future__ import annotations

import pytest

from app.chat.model import Asked, Category, CategorySource, Judgement, guess_tokens
from app.chat.routing import (
    LADDER,
    hold_out,
    move_down,
    read_category,
    route_by_category,
    route_by_shape,
    trusts_local,
)
from app.errors import TooLargeError


@pytest.mark.parametrize(
    ("asked", "model"),
    [
        (Asked("hello"), None),
        (Asked("an imagery: no"), None),
        (Asked("hello", context_tokens=100_000), None),
        (Asked("hello", context_tokens=100_001), "thinking_ai"),
        (Asked("hello", context_tokens=200_000), "thinking_ai"),
        (Asked("hello", context_tokens=200_001), "long_context_ai"),
        (Asked("hello", context_tokens=900_000), "long_context_ai"),
        (Asked("x" * 400_004), "thinking_ai"),
        (Asked("x" * 400_004, context_tokens=1), "thinking_ai"),
        (Asked("hello", ("data:image/png;base64,AA==",)), "image_analysis_ai"),
        (Asked("hello", ("data:image/png;base64,AA==",), 300_000), "image_analysis_ai"),
        (Asked("look at IMAGE: cat.png"), "image_analysis_ai"),
        (Asked("img:cat"), "image_analysis_ai"),
    ],
)
def test_size_and_images_decide_in_this_order(asked: Asked, model: str | None) -> None:
    chosen = route_by_shape(asked)
    assert (chosen.model if chosen else None) == model
    assert chosen is None or chosen.category is Category.L


@pytest.mark.parametrize("images", [(), ("data:image/png;base64,AA==",)])
def test_what_is_over_every_window_is_refused_before_all_else(images: tuple[str, ...]) -> None:
    with pytest.raises(TooLargeError):
        route_by_shape(Asked("image: x", images, 900_001))


@pytest.mark.parametrize(
    ("said", "category"),
    [
        ("L", Category.L),
        (" m\n", Category.M),
        ("**H**", Category.H),
        ("'l'.", Category.L),
        ("", None),
        ("LM", None),
        ("The answer is M", None),
        ("Ⓜ", None),
    ],
)
def test_only_one_letter_alone_is_a_category(said: str, category: Category | None) -> None:
    assert read_category(said) is category


@pytest.mark.parametrize(
    ("source", "confidence", "available", "trusted"),
    [
        (CategorySource.MODEL, 1.0, False, False),
        (CategorySource.LOCAL, None, True, True),
        (CategorySource.AUTO, 0.9, True, True),
        (CategorySource.AUTO, 0.89, True, False),
        (CategorySource.AUTO, None, True, False),
        (CategorySource.AUTO, None, False, True),
    ],
)
def test_the_local_judgement_stands_only_where_it_is_sure_or_alone(
    source: CategorySource, confidence: float | None, *, available: bool, trusted: bool
) -> None:
    local = Judgement(Category.M, "because", confidence)
    assert trusts_local(source, local, model_available=available) is trusted


@pytest.mark.parametrize("category", list(Category))
@pytest.mark.parametrize("model", [*LADDER, "veo_3_1", "code_ai"])
def test_a_request_is_only_ever_moved_down(category: Category, model: str) -> None:
    before = route_by_category(category, "says so")
    after = move_down(before, model, "evidence")
    if category is Category.H or model not in LADDER:
        assert after == before
    else:
        assert LADDER.index(after.model) <= LADDER.index(before.model)
        assert (after.moved_from is None) == (after == before)
        assert "evidence" in after.reason or after == before


def test_what_is_held_out_goes_to_the_strong_model_unless_it_is_planned() -> None:
    held = hold_out(route_by_category(Category.M, "says so"))
    assert (held.model, held.holdout, held.category) == ("thinking_ai", True, Category.M)
    planned = route_by_category(Category.H, "says so")
    assert hold_out(planned) == planned


def test_tokens_are_guessed_by_bytes() -> None:
    assert guess_tokens("") == 0
    assert guess_tokens("abcde") == 2
    assert guess_tokens("漢字") == 2
    assert guess_tokens("\ud800") == 1
