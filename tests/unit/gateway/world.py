"""A gateway with all that is around it, for tests."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from app.errors import StepError, TransientError
from app.gateway.fakes import FakeLedger, LocalGate, Said, ScriptedProvider
from app.gateway.model import ChatAnswer, ModelAnswer, ModelCall, Usage
from app.gateway.registry import Registry
from app.gateway.registry_file import load_registry
from app.gateway.service import Gateway

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
TODAY = dt.date(2026, 11, 20)


def offer(provider: str, model: str, **more: Any) -> dict[str, Any]:
    return {"provider": provider, "model": model, "prices": {"in": 1, "out": 2}, "context": 1000, **more}


def registry() -> Registry:
    return load_registry(
        {
            "api_keys": {"openai": ["OPENAI_API_KEY"], "other": ["OTHER_API_KEY"]},
            "models": {
                "strong": {
                    "offers": [offer("openai", "s1"), offer("other", "s2")],
                    "fallbacks": ["weak"],
                    "temperature": 0.8,
                    "max_tokens": 100,
                },
                "weak": {"offers": [offer("openai", "w1")], "max_tokens": 50},
                "film": {"kind": "video", "offers": [offer("openai", "f1")]},
                "gone": {"offers": [offer("openai", "g1", retires_on="2026-01-01")]},
            },
        }
    )


class World:
    """A gateway and everything around it that a test looks at."""

    def __init__(self, *says: Said, other: list[Said] | None = None) -> None:
        self.openai = ScriptedProvider(list(says) or ["ok"])
        self.other = ScriptedProvider(other or ["ok"], name="other")
        providers = {"openai": self.openai} if other is None else {"openai": self.openai, "other": self.other}
        self.gate = LocalGate()
        self.ledger = FakeLedger()
        self.gateway = Gateway(registry(), providers, gate=self.gate, today=lambda: TODAY)

    def ask(self, model: str = "strong", prompt: str = "hello", **more: Any) -> ModelAnswer:
        return asyncio.run(self.gateway.complete(ModelCall(model, prompt, **more), self.ledger))

    def fail(self, kind: type[BaseException], model: str = "strong", **more: Any) -> Any:
        with pytest.raises(kind) as caught:
            self.ask(model, **more)
        return caught.value

    @property
    def statuses(self) -> list[str]:
        return [row.status for row in self.ledger.rows]

    @property
    def asked(self) -> list[str]:
        return [request.model for request in self.openai.requests]


def broken(
    kind: type[StepError] = TransientError, blame: str = "model", *, sent: bool = False, **more: Any
) -> StepError:
    return kind("broken", sent=sent, blame=blame, **more)


def said(text: str = "", reason: str = "stop", refusal: str = "") -> ChatAnswer:
    return ChatAnswer(text, reason, "s1", "id", Usage(1, 1), refusal)
