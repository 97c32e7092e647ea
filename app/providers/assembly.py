"""Make the vendors that the settings configure. Each SDK is imported only where its key is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.gateway.ports import ChatProvider
    from app.settings import ModelSettings

SUPPORTED = ("openai", "openrouter", "anthropic", "google_ai")
"""The providers of the registry that can be configured; a variable of another would change nothing."""
GOOGLE_CHAT_PATH = "/v1beta/openai/"


def build_providers(models: ModelSettings) -> dict[str, ChatProvider]:
    """Make every vendor that has a key; OpenAI's wire needs none where a server of one's own has an address.

    Args:
        models: keys and addresses.

    Returns:
        By their names in the registry; empty when nothing is configured.
    """
    providers: dict[str, ChatProvider] = {}
    if models.openai_api_key or models.openai_base_url:
        providers["openai"] = _openai_compatible("openai", models.openai_api_key, models.openai_base_url)
    if models.openrouter_api_key:
        providers["openrouter"] = _openai_compatible(
            "openrouter", models.openrouter_api_key, models.openrouter_base_url
        )
    if models.google_ai_api_key:
        address = models.google_ai_base_url.rstrip("/") + GOOGLE_CHAT_PATH
        providers["google_ai"] = _openai_compatible("google_ai", models.google_ai_api_key, address)
    return providers


def _openai_compatible(name: str, api_key: str, base_url: str) -> ChatProvider:
    from app.providers.openai_compatible import OpenAICompatible

    return OpenAICompatible(name=name, api_key=api_key, base_url=base_url)
