from __future__ import annotations

import pytest
from marshmallow import ValidationError

from app.errors import InvalidError
from app.http.options import RunOptionsSchema, check_callback

ALLOWED = ("n8n.internal", "Hooks.Example.com:8443", "[::1]", "127.0.0.1")


@pytest.mark.parametrize(
    "url",
    [
        "https://n8n.internal/webhook-waiting/1",
        "http://n8n.internal:5678/x?y=1#z",
        "https://N8N.INTERNAL/",
        "https://hooks.example.com:8443/a",
        "http://127.0.0.1:9/x",
    ],
)
def test_an_address_on_an_allowed_host_may_be_called_back(url: str) -> None:
    check_callback(url, ALLOWED)


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://n8n.internal.evil.example/",
        "https://evil.example/n8n.internal",
        "https://evil.example?n8n.internal",
        "https://evil.example#n8n.internal",
        "https://xn8n.internal/",
        "https://n8n.internal./",
        "https://n8n.internal@evil.example/",
        "https://evil.example@n8n.internal/",
        "https://user:pw@n8n.internal/",
        "https://evil.example\\@n8n.internal/",
        "https://n8n.internal\\.evil.example/",
        "https://n8n.internal\t.evil.example/",
        "https://n8n.internal \n/",
        "https://n8n.internal\x00/",
        "https://n8n.intern\u0430l/",
        "ftp://n8n.internal/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//n8n.internal/",
        "n8n.internal",
        "https:///x",
        "https://",
        "https://n8n.internal:x/",
        "https://n8n.internal:99999/",
        "https://[::1/",
        "https://hooks.example.com/",
        "https://hooks.example.com:8444/",
        "http://2130706433/",
    ],
)
def test_an_address_that_only_looks_allowed_is_refused(url: str) -> None:
    with pytest.raises(InvalidError) as caught:
        check_callback(url, ALLOWED)
    assert list(caught.value.errors) == ["callback_url"]


def test_without_allowed_hosts_none_is_called_and_the_variable_is_named() -> None:
    with pytest.raises(InvalidError) as caught:
        check_callback("https://n8n.internal/", ())
    assert "CALLBACK_ALLOWED_HOSTS" in caught.value.errors["callback_url"][0]


@pytest.mark.parametrize("amount", [True, "1", -0.01, float("nan"), float("inf"), 1e12, [], {}])
def test_a_cap_that_is_no_amount_is_refused(amount: object) -> None:
    with pytest.raises(ValidationError):
        RunOptionsSchema().load({"max_cost_usd": amount})


def test_a_cap_keeps_the_amount_that_was_written() -> None:
    assert str(RunOptionsSchema().load({"max_cost_usd": 0.1})["max_cost_usd"]) == "0.1"
