"""Categories by plain rules."""

from __future__ import annotations

import pytest

from app.chat.model import Category
from app.chat.rules import PlainCategoriser


@pytest.mark.parametrize(
    ("message", "category"),
    [
        ("What are the benefits of renewable energy?", Category.M),
        ("Is it wrong to lie to a friend?", Category.M),
        ("Traduce esto al inglés: buenos días", Category.M),
        ("Write a long article about coral reefs", Category.L),
        ("Refactor this function:\n```py\nx=1\n```", Category.L),
        ("Prove that there are infinitely many primes", Category.L),
        ("word " * 1000, Category.L),
        ("Create a marketing campaign with social media posts, product images, and a video", Category.H),
        ("Lanza una campaña con imágenes y correos", Category.H),
        ("First research it, then write it, finally mail it", Category.H),
        ("", Category.M),
    ],
)
def test_what_a_message_names_tells_its_category(message: str, category: Category) -> None:
    judgement = PlainCategoriser().judge(message, 0)
    assert judgement.category is category
    assert judgement.confidence is None
    assert "by plain rules" in judgement.reason
