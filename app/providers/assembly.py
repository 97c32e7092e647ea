"""Make the vendors that the settings configure. Each SDK is imported only where its key is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.gateway.media_ports import MediaProvider
    from app.gateway.ports import BatchProvider, ChatProvider, EmbeddingProvider
    from app.settings import ModelSettings

SUPPORTED = ("openai", "openrouter", "anthropic", "google_ai")
"""The providers of the registry that can be configured; a variable of another would change nothing."""
GOOGLE_CHAT_PATH = "/v1beta/openai/"


@dataclass(frozen=True)
class Vendors:
    """What each configured vendor can do, by its name in the registry."""

    chat: dict[str, ChatProvider] = field(default_factory=dict)
    embedding: dict[str, EmbeddingProvider] = field(default_factory=dict)
    batch: dict[str, BatchProvider] = field(default_factory=dict)
    media: dict[str, MediaProvider] = field(default_factory=dict)


def build_vendors(models: ModelSettings) -> Vendors:
    """Make every vendor that has a key; OpenAI's wire needs none where a server of one's own has an address.

    Args:
        models: keys and addresses.
    """
    vendors = Vendors()
    if models.openai_api_key or models.openai_base_url:
        _add_openai(vendors, models)
    if models.openrouter_api_key:
        from app.providers.openrouter import openrouter

        vendors.chat["openrouter"] = openrouter(api_key=models.openrouter_api_key, base_url=models.openrouter_base_url)
    if models.anthropic_api_key:
        from app.providers.anthropic_batches import AnthropicBatches
        from app.providers.anthropic_messages import AnthropicMessages

        anthropic = AnthropicMessages(
            name="anthropic", api_key=models.anthropic_api_key, base_url=models.anthropic_base_url
        )
        vendors.chat["anthropic"] = anthropic
        vendors.batch["anthropic"] = AnthropicBatches(anthropic.connection)
    if models.google_ai_api_key:
        from app.providers.google_chat import google_chat
        from app.providers.google_media import GoogleMedia

        address = models.google_ai_base_url.rstrip("/") + GOOGLE_CHAT_PATH
        vendors.chat["google_ai"] = google_chat(api_key=models.google_ai_api_key, base_url=address)
        vendors.media["google_ai"] = GoogleMedia(api_key=models.google_ai_api_key, base_url=models.google_ai_base_url)
    return vendors


def _add_openai(vendors: Vendors, models: ModelSettings) -> None:
    from app.providers.openai_batches import OpenAIBatches
    from app.providers.openai_compatible import OpenAICompatible
    from app.providers.openai_embeddings import OpenAIEmbeddings

    chat = OpenAICompatible(name="openai", api_key=models.openai_api_key, base_url=models.openai_base_url)
    vendors.chat["openai"] = chat
    vendors.embedding["openai"] = OpenAIEmbeddings(chat.connection)
    vendors.batch["openai"] = OpenAIBatches(chat.connection)
