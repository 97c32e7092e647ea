"""What users write about images and film, and what it comes to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.errors import FatalError
from app.gateway.media_config import FilmWishes, ImageWishes, foreseen_pieces, read_film_wishes, read_image_wishes
from app.gateway.model import Usage
from app.gateway.prices import Prices, Rates, piece_cost
from app.runs.input_images import read_images

HASH = "a" * 64


@pytest.mark.parametrize(
    ("config", "wishes"),
    [
        ({}, ImageWishes()),
        ({"temperature": 0.8, "addons": ["creative"], "enhance_prompt": True}, ImageWishes()),
        ({"num_images": "4", "aspect_ratio": "21:9"}, ImageWishes(4, "21:9")),
        ({"quality": "HD", "safety_filter": "block_some"}, ImageWishes(size="2K", safety="medium_and_above")),
        ({"quality": "ultra", "negative_prompt": " fog "}, ImageWishes(size="4K", negative="fog")),
        ({"quality": None, "num_images": "", "aspect_ratio": ""}, ImageWishes()),
    ],
)
def test_the_users_words_for_an_image_are_read(config: dict[str, Any], wishes: ImageWishes) -> None:
    assert read_image_wishes(config) == wishes


@pytest.mark.parametrize(
    ("config", "wishes"),
    [
        ({}, FilmWishes()),
        ({"duration": "6s", "resolution": "1080P", "aspect_ratio": "9:16"}, FilmWishes(6, "9:16", "1080p")),
        ({"duration": 8.0, "generate_audio": False}, FilmWishes(8, silent=True)),
        ({"duration": "10", "generate_audio": "true"}, FilmWishes(10)),
    ],
)
def test_the_users_words_for_a_film_are_read(config: dict[str, Any], wishes: FilmWishes) -> None:
    assert read_film_wishes(config) == wishes


@pytest.mark.parametrize(
    "config",
    [
        {"num_images": 0}, {"num_images": 5}, {"num_images": True}, {"num_images": 1.5}, {"num_images": "many"},
        {"aspect_ratio": "16/9"}, {"aspect_ratio": ["16:9"]}, {"quality": 3}, {"quality": "best"},
        {"safety_filter": "off"}, {"negative_prompt": ["x"]}, {"negative_prompt": "x" * 2001}, {"duration": 8},
        {"generate_audio": True}, {"enhance_prompt": "perhaps"}, {"num_images": "{count}"}, {"num_images": "\u0663"},
    ],
)  # fmt: skip
def test_what_an_image_cannot_have_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(FatalError) as caught:
        read_image_wishes(config)
    assert caught.value.code == "config_invalid"
    assert next(iter(config)) in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"duration": 0}, {"duration": 61}, {"duration": True}, {"duration": "8 minutes"}, {"duration": 7.5},
        {"aspect_ratio": "1:1"}, {"resolution": "8k"}, {"resolution": 1080}, {"quality": "hd"}, {"num_images": 1},
    ],
)  # fmt: skip
def test_what_a_film_cannot_have_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(FatalError, match=next(iter(config))):
        read_film_wishes(config)


def test_only_words_can_say_what_is_not_to_be_seen_or_heard() -> None:
    said = FilmWishes(silent=True, negative="people").prompt("Waves.")
    assert said.startswith("Waves.\n\nNone of this is to be seen: people\n\nThe film is silent")
    assert FilmWishes().prompt("Waves.") == ImageWishes().prompt("Waves.") == "Waves."


@pytest.mark.parametrize(
    ("config", "kind", "pieces"),
    [
        ({}, "image", 1), ({"num_images": 3}, "image", 3), ({"num_images": "{n}"}, "image", 1),
        ({}, "video", 8), ({"duration": "5s"}, "video", 5), ({"duration": "{d}"}, "video", 8),
    ],
)  # fmt: skip
def test_an_estimate_counts_what_is_known_beforehand(config: dict[str, Any], kind: str, pieces: int) -> None:
    assert foreseen_pieces(config, kind) == pieces


def test_a_size_has_its_own_price_and_tokens_settle_where_they_have_one() -> None:
    prices = Prices(Rates(output=Decimal("17.5")), per_second=Decimal("0.102"), sizes={"4k": Decimal("0.3")})
    plain = piece_cost(prices.per_second, prices, None, 8)
    assert plain.dollars == Decimal("0.816")
    assert plain.settled(Usage()) == Decimal("0.816")
    assert plain.settled(Usage(output_tokens=57_920)) == Decimal("1.0136")
    assert piece_cost(prices.per_second, prices, "4k", 8).dollars == Decimal("2.4")


@pytest.mark.parametrize(
    ("rendered", "images"),
    [
        (None, ()), ("", ()), ([], ()), ("data:image/png;base64,AA==", ("data:image/png;base64,AA==",)),
        (HASH, (f"asset:{HASH}",)), ({"hash": HASH}, (f"asset:{HASH}",)),
        ({"assets": [{"hash": HASH, "media_type": "image/png", "url": "/assets/x"}]}, (f"asset:{HASH}",)),
        ([HASH, HASH, "data:image/gif;base64,AA=="], (f"asset:{HASH}", "data:image/gif;base64,AA==")),
    ],
)  # fmt: skip
def test_an_input_image_is_a_data_uri_a_hash_or_what_a_step_made(rendered: Any, images: tuple[str, ...]) -> None:
    assert read_images(rendered) == images


@pytest.mark.parametrize(
    "rendered",
    [
        "https://x.example/a.png", "file:///etc/passwd", "data:text/html;base64,AA==", HASH[:-1], "../" + HASH, 7,
        {"url": "https://x.example/a.png"}, {"hash": "../../etc/passwd"}, [["x"]], "{missing}",
        [f"{n:064x}" for n in range(17)],
        {"assets": [{"hash": HASH, "media_type": "video/mp4"}]},
    ],
)  # fmt: skip
def test_nothing_else_is_and_no_address_is_fetched(rendered: Any) -> None:
    with pytest.raises(FatalError) as caught:
        read_images(rendered)
    assert caught.value.code == "image_invalid"
