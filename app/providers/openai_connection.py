"""One vendor's connections through the openai SDK, shared by whatever is asked of that vendor.

The SDK makes requests, reads errors and holds connections. aiohttp is its transport, because its own one spends several
times the processor time a call when hundreds are in flight. Bodies are sent and read as plain JSON: they are stored as
such anyway, and the SDK's models cost as much again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx2
import openai

from app.providers.openai_errors import to_step_error
from app.providers.transport import transport_options, wire_timeout, write_json

SDK_TELEMETRY = (
    "X-Stainless-Lang",
    "X-Stainless-Package-Version",
    "X-Stainless-OS",
    "X-Stainless-Arch",
    "X-Stainless-Runtime",
    "X-Stainless-Runtime-Version",
    "X-Stainless-Async",
)
"""What the SDK tells of itself and of this machine with every request. The vendors do not need it, and each header
costs processor time several times over on its way."""

_WITHOUT_TELEMETRY = dict.fromkeys(("x-stainless-retry-count", "x-stainless-read-timeout"), openai.Omit())


class OpenAIConnection:
    """The way to one server that speaks OpenAI's wire.

    Args:
        name: the provider's name in the registry.
        api_key: may be empty for a server of one's own.
        base_url: with `/v1`; empty for OpenAI itself.
        headers: sent with every request.
    """

    def __init__(
        self, *, name: str, api_key: str, base_url: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self._api_key = api_key
        self._base_url = base_url
        self._headers = headers
        self._client: openai.AsyncOpenAI | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def post(self, path: str, body: Mapping[str, Any], timeout_s: float) -> bytes:
        """Send JSON, once, and give what a 2xx holds.

        Args:
            path: below the base address.
            body: JSON.
            timeout_s: most seconds for the whole of it, whatever arrives meanwhile.

        Raises:
            StepError: with `details["sent"]` and `details["blame"]`.
        """
        content = write_json(self.name, body)
        try:
            async with asyncio.timeout(timeout_s):
                response = await self.client().post(
                    path, cast_to=httpx2.Response, content=content, options=_options(timeout_s)
                )
        except Exception as error:  # the SDK's edge: whatever it raises becomes one of our classes
            raise to_step_error(error, self.name) from error
        return response.content

    async def open_stream(self, path: str, body: Mapping[str, Any], timeout_s: float) -> openai.AsyncStream[Any]:
        """Send JSON and open the events of its answer; what the SDK raises is the caller's to translate."""
        return await self.client().post(
            path,
            cast_to=object,
            content=write_json(self.name, body),
            options=_options(timeout_s),
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )

    async def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def client(self) -> openai.AsyncOpenAI:
        """Give the process's client, made on first use: its connections belong to the loop that runs then."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            headers: dict[str, Any] = {**dict.fromkeys(SDK_TELEMETRY, openai.Omit()), **(self._headers or {})}
            self._client = openai.AsyncOpenAI(
                api_key=self._api_key or "none",
                base_url=self._base_url or None,
                max_retries=0,
                default_headers=headers,
                http_client=openai.DefaultAioHttpClient(**transport_options()),
            )
            if self._base_url:
                # The SDK takes these from the environment; another server need not know the account at OpenAI.
                self._client.organization = self._client.project = None
            self._loop = loop
        return self._client


def _options(timeout_s: float) -> openai.RequestOptions:
    """Say everything that can be said of a request: the SDK copies deeply whatever is left to it."""
    return {
        "timeout": wire_timeout(timeout_s),
        "headers": _WITHOUT_TELEMETRY,
        "max_retries": 0,
        "security": {"bearer_auth": True},
        "params": {},
    }
