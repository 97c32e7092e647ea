"""Dollars: what a request can cost, and what it did cost."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from app.gateway.model import ChatRequest, Usage, add_usage
from app.gateway.prices import IMAGE_TOKENS, Prices, Rates, cost_usd, most_prompt_tokens, worst_cost

RATES = Rates(*(Decimal(text) for text in ("2", "10", "2.5", "4", "0.1")))
PRICES = Prices(RATES)


def request(text: str, max_tokens: int = 100) -> ChatRequest:
    return ChatRequest("openai", "m", "fast_ai", ({"role": "user", "content": text},), max_tokens)


def test_each_kind_of_token_has_its_price() -> None:
    usage = Usage(
        input_tokens=1_000_000,
        output_tokens=100_000,
        cache_read_tokens=2_000_000,
        cache_write_5m_tokens=400_000,
        cache_write_1h_tokens=50_000,
    )

    assert cost_usd(PRICES, usage) == Decimal(2) + Decimal(1) + Decimal("0.2") + Decimal(1) + Decimal("0.2")


def test_a_cost_is_a_whole_number_of_millionths() -> None:
    assert cost_usd(PRICES, Usage(input_tokens=1, cache_read_tokens=1)) == Decimal("0.000002")


def test_the_vendor_s_own_figure_wins_over_the_table() -> None:
    assert cost_usd(PRICES, Usage(input_tokens=10**6, vendor_cost_usd=Decimal("0.0123456"))) == Decimal("0.012346")


def test_a_negative_figure_of_a_vendor_is_no_credit() -> None:
    assert cost_usd(PRICES, Usage(vendor_cost_usd=Decimal(-1))) == 0


def test_long_prompts_take_the_rates_of_their_tier() -> None:
    prices = Prices(RATES, ((200_000, Rates(Decimal(4), Decimal(20))),))

    assert cost_usd(prices, Usage(input_tokens=200_000)) == Decimal("0.4")
    assert cost_usd(prices, Usage(input_tokens=200_001)) == Decimal("0.800004")


def test_an_image_is_bound_by_its_dearest_form() -> None:
    messages = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "see"},
                {"type": "image", "url": "data:image/png;base64," + "A" * 10**5},
            ],
        }
    ]

    assert IMAGE_TOKENS < most_prompt_tokens(messages) < IMAGE_TOKENS + 200


@given(
    text=st.text(max_size=300),
    shares=st.tuples(*(st.integers(0, 100) for _ in range(4))),
    used=st.integers(0, 100),
    max_tokens=st.integers(1, 10_000),
)
def test_no_answer_costs_more_than_was_set_aside_for_it(
    text: str, shares: tuple[int, ...], used: int, max_tokens: int
) -> None:
    # However the vendor splits the prompt between its caches, and whatever tier the length meets.
    prices = Prices(RATES, ((100, Rates(*(rate * 3 for rate in vars(RATES).values()))),))
    asked = request(text, max_tokens)
    tokens = len(text.encode("utf-8", "surrogatepass")) + 10
    parts = [tokens * share // (sum(shares) or 1) for share in shares]
    usage = Usage(parts[0], max_tokens * used // 100, parts[1], parts[2], parts[3])

    assert cost_usd(prices, usage) <= worst_cost(prices, asked).cost_usd


def test_the_schema_is_paid_for_like_the_prompt() -> None:
    plain = request("hello")
    structured = ChatRequest(**{**vars(plain), "response_schema": {"type": "object", "description": "x" * 1000}})

    assert worst_cost(PRICES, structured).cost_usd > worst_cost(PRICES, plain).cost_usd


def test_usages_add_up_by_kind_and_the_vendor_s_cost_only_when_both_are_known() -> None:
    first = Usage(1, 2, 3, 4, 5, 6, Decimal("0.5"))
    second = Usage(10, 20, 30, 40, 50, 60, Decimal("0.25"))

    assert add_usage(first, second) == Usage(11, 22, 33, 44, 55, 66, Decimal("0.75"))
    assert add_usage(first, Usage()).vendor_cost_usd is None


@given(st.builds(Usage, input_tokens=st.integers(0, 10**9), vendor_cost_usd=st.none() | st.decimals(0, 1000, places=9)))
def test_usage_survives_the_ledger(usage: Usage) -> None:
    assert Usage.from_json(usage.to_json()) == usage


def test_a_part_of_the_price_is_rounded_once() -> None:
    prices = Prices(Rates(input=Decimal("0.6")))

    # 18.6 millionths in all, of which half is 9.3; rounded before it is halved it would be 9.5, and then 10.
    assert cost_usd(prices, Usage(input_tokens=31), part=Decimal("0.5")) == Decimal("0.000009")


def test_half_of_a_worst_case_is_rounded_up() -> None:
    asked = request("hi", max_tokens=1)
    prices = Prices(Rates(output=Decimal(1)))

    assert worst_cost(prices, asked, part=Decimal("0.5")).cost_usd == Decimal("0.000001")


def test_the_vendor_s_own_words_about_tools_and_schemas_are_set_aside_too() -> None:
    messages = [{"role": "user", "content": "hi"}]
    plain = most_prompt_tokens(messages)

    assert most_prompt_tokens(messages, tools=({"name": "t"},)) > plain + 700
    assert most_prompt_tokens(messages, {"type": "object"}) > plain + 700
