"""The connections to Anthropic through its SDK, shared by messages and batches.

The SDK makes requests, reads errors and events, and holds connections. aiohttp is its transport, because its own one
spends several times the processor time a call when hundreds are in flight. Bodies are plain JSON both ways: they are
stored as such anyway. So the SDK's models are not made, and its warnings of models that will retire, which come with
them, are not either: the registry knows those days.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anthropic
import httpx2

from app.errors import StepError
from app.providers.anthropic_errors import to_step_error
from app.providers.transport import transport_options, wire_timeout, write_json

BASE_URL = "https://api.anthropic.com"


class AnthropicConnection:
    """The way to Anthropic, or to another server that speaks its wire.

    Args:
        name: the provider's name in the registry.
        api_key: sent as a bearer token.
        base_url: without `/v1`; empty for Anthropic itself.
    """

    def __init__(self, *, name: str, api_key: str, base_url: str = "") -> None:
        self.name = name
        self._api_key = api_key
        self._base_url = base_url or BASE_URL
        self._client: anthropic.AsyncAnthropic | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> bytes:
        """Send JSON, once, and give what a 2xx holds.

        Args:
            path: from `/v1` on.
            body: JSON.
            timeout_s: most seconds for the whole of it, whatever arrives meanwhile.

        Raises:
            StepError: with `details["sent"]` and `details["blame"]`.
        """
        content = write_json(self.name, body)
        async with self._translated(timeout_s):
            response = await self._shared_client().post(
                path, cast_to=httpx2.Response, content=content, options={"timeout": wire_timeout(timeout_s)}
            )
        return response.content

    async def get(self, path: str, timeout_s: float) -> bytes:
        """Fetch what stands at a path, or at an address that the vendor gave; errors as `post`."""
        async with self._translated(timeout_s):
            response = await self._shared_client().get(
                path, cast_to=httpx2.Response, options={"timeout": wire_timeout(timeout_s)}
            )
        return response.content

    async def stream(self, path: str, body: Mapping[str, Any], timeout_s: float, take: Callable[[Any], None]) -> None:
        """Send JSON and hand each event of the answer to `take`; errors as `post`, and what `take` raises."""
        content = write_json(self.name, body)
        async with self._translated(timeout_s):
            events = await self._shared_client().post(
                path,
                cast_to=object,
                content=content,
                options={"timeout": wire_timeout(timeout_s)},
                stream=True,
                stream_cls=anthropic.AsyncStream[object],
            )
            async with events:
                async for event in events:
                    take(event)

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    @asynccontextmanager
    async def _translated(self, timeout_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                yield
        except StepError:
            raise
        except Exception as error:  # the SDK's edge: whatever it raises becomes one of our classes
            raise to_step_error(error, self.name) from error

    def _shared_client(self) -> anthropic.AsyncAnthropic:
        """Give the process's client, made on first use: its connections belong to the loop that runs then."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client = anthropic.AsyncAnthropic(
                api_key=self._api_key or "none",
                base_url=self._base_url,
                max_retries=0,
                open_telemetry=False,  # the gateway traces its calls itself, with what they cost
                http_client=anthropic.DefaultAioHttpClient(**transport_options()),
            )
            self._loop = loop
        return self._client
