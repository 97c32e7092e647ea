"""One local server that speaks the vendors' wires, so that real SDKs can be tried against it.

It refuses what the vendors refuse, keeps a log of every request, and breaks on demand. Run it with
`python -m simulator --port 9100`, or from a test through `Simulator`.

    /openai/v1/…                       OpenAI: chats, embeddings, files and batches
    /openrouter/api/v1/…               the same wire as OpenRouter speaks it, with prices
    /google/v1beta/openai/…            the same wire as Google speaks it
    /google/v1/…                       Google's native wire: images and film
    /compatible/v1/…                   the same wire as a server of one's own speaks it: any model, no key
    /anthropic/v1/…                    Anthropic messages, token counts, models, batches
    /airtable/v0/…                     Airtable's REST interface and its limits
    /optimizer /strategist /generator  the three sibling services
    /slow?seconds=10                   answers after a while, thousands at once
    /callbacks/{name}                  receives signed callbacks
    /_log /_faults /_answers /_reset   the test's side: look, break, script, forget
"""

from __future__ import annotations

from simulator.process import Simulator

__all__ = ["Simulator"]
