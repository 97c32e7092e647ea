from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.idempotency.model import hash_body

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_every_body_has_one_hash(value: object) -> None:
    assert hash_body(value) == hash_body(value)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values, min_size=2, max_size=5))
def test_the_order_of_keys_does_not_count(value: dict[str, object]) -> None:
    assert hash_body(value) == hash_body(dict(reversed(value.items())))


def test_one_and_one_point_nothing_are_the_same_number_but_not_the_same_as_true() -> None:
    assert hash_body({"n": 1}) == hash_body({"n": 1.0})
    assert len({hash_body(value) for value in (1, True, "1", [1], {"1": 1}, None)}) == 6


def test_the_order_of_a_list_counts() -> None:
    assert hash_body([1, 2]) != hash_body([2, 1])
