"""OpenRouter: OpenAI's wire with a price in each answer, and hosts to choose from.

What an offer's `extra` holds is sent as it is, such as
`"provider": {"order": ["groq"], "allow_fallbacks": false, "require_parameters": true, "data_collection": "deny"}`.
Its errors, in a 200 as well, are read where all of this wire's are (`openai_errors`, `openai_answers`).
"""

from __future__ import annotations

from collections.abc import Mapping

from app.providers.openai_compatible import OpenAICompatible

APP_TITLE = "Batuta"


def openrouter(*, api_key: str, base_url: str, app_url: str = "", app_title: str = APP_TITLE) -> OpenAICompatible:
    """Make the provider.

    Args:
        api_key: of OpenRouter.
        base_url: theirs, or another with `/api/v1`.
        app_url: where this installation lives, for their statistics; empty is not sent.
        app_title: its name there.
    """
    headers: Mapping[str, str] = {
        **({"HTTP-Referer": app_url} if app_url else {}),
        **({"X-OpenRouter-Title": app_title} if app_title else {}),
    }
    return OpenAICompatible(name="openrouter", api_key=api_key, base_url=base_url, headers=headers)
