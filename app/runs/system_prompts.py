"""What stands before every question to a model: its own system prompt, then the addons a step names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.gateway.registry import Registry
    from app.workflows.addon import Addons


class SystemPrompts:
    """Write system prompts.

    Only fixed texts stand in them, byte for byte the same from call to call, so that vendors' caches hold them; what
    users and earlier steps say never does.

    Args:
        registry: the models' own prompts.
        addons: the crafts.
    """

    def __init__(self, registry: Registry, addons: Addons) -> None:
        self._registry = registry
        self._addons = addons

    def parts(self, model: str, addons: Iterable[str] = ()) -> tuple[str, ...]:
        """Write the parts for a model, the most lasting first.

        Args:
            model: logical name or alias.
            addons: names, in the order their sections stand in.

        Raises:
            NotFoundError: no such model.
            FatalError: no such addon.
        """
        texts = (self._registry.find(model).system_prompt, self._addons.sections(addons))
        return tuple(text for text in texts if text)
