"""Google's models over the endpoint that speaks OpenAI's wire.

It differs in what it says: errors come in a list, a refused key with 400, waits among an error's details, calls of
tools without an index and with a signature that it wants back. All of that is read where the wire is read
(`openai_errors`, `openai_answers`, `openai_streaming`). It refuses any field it does not know, so an offer's `extra`
must hold none of another vendor's.
"""

from __future__ import annotations

from app.providers.openai_compatible import OpenAICompatible

UNSIGNED_CALL = {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
"""Google's own word for a call that its models did not make, and so did not sign.

Source: https://ai.google.dev/gemini-api/docs/thought-signatures, November 2026.
"""


def google_chat(*, api_key: str, base_url: str) -> OpenAICompatible:
    """Make the provider; the address ends in `/v1beta/openai/`."""
    return OpenAICompatible(name="google_ai", api_key=api_key, base_url=base_url, foreign_call=UNSIGNED_CALL)
