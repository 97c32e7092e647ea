"""OpenAI's cache of prompts, which nobody asks for: long prefixes that were seen a moment ago are read from it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

LEAST_TOKENS = 1024
STEP_TOKENS = 128
CHARACTERS_A_TOKEN = 4
KEPT_S = 600.0


@dataclass
class PrefixCache:
    """Prefixes by model, in steps of 128 tokens, each with when it was last read or written."""

    seen: dict[tuple[str, bytes], float] = field(default_factory=dict)

    def read(self, model: str, prompt: str, now: float) -> int:
        """Count the prompt's tokens that are in the cache, and put the whole of it there.

        Args:
            model: nothing is shared between models.
            prompt: everything the model reads.
            now: seconds.
        """
        step = STEP_TOKENS * CHARACTERS_A_TOKEN
        if len(prompt) < LEAST_TOKENS * CHARACTERS_A_TOKEN:
            return 0
        digest, cached, unbroken = hashlib.blake2b(digest_size=16), 0, True
        for end in range(step, len(prompt) + 1, step):
            digest.update(prompt[end - step : end].encode("utf-8", "surrogatepass"))
            key = (model, digest.digest())
            unbroken = unbroken and now - self.seen.get(key, -KEPT_S) < KEPT_S
            cached += STEP_TOKENS if unbroken else 0
            self.seen[key] = now
        return cached if cached >= LEAST_TOKENS else 0
