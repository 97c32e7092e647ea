"""Which vendors this installation can ask, made from its settings."""

from __future__ import annotations

from app.gateway.ports import ChatProvider
from app.providers.openai_compatible import OpenAICompatible
from app.settings import ModelSettings

SUPPORTED = frozenset({"openai"})
"""Providers of the registry that this version has an adapter for."""


def configured_providers(models: ModelSettings) -> dict[str, ChatProvider]:
    """Make an adapter for each provider with a key or an address; nothing is connected yet."""
    providers: dict[str, ChatProvider] = {}
    if models.openai_api_key or models.openai_base_url:
        providers["openai"] = OpenAICompatible(
            name="openai", api_key=models.openai_api_key, base_url=models.openai_base_url
        )
    return providers
