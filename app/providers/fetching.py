"""Fetch what a vendor keeps for us: from its own host or one that the registry lists, and from nowhere else.

The address comes from outside. Whoever could choose it must not make us ask a server of our own network, follow a
redirect there, show anybody our key, or read without end.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from app.errors import PersistentError, StepError, TransientError
from app.gateway.model import Blame
from app.providers.failures import from_connection, marked, retry_after_s

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST_REDIRECTS = 4
CHUNK = 256 * 1024
CONNECT_TIMEOUT_S = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({404, 408, 425, 429})
"""A file that was just made may not be everywhere yet."""


@dataclass(frozen=True)
class Source:
    """Where a vendor's files may come from.

    Args:
        provider: for messages.
        base_url: the vendor's address, as it was configured; may be on this machine.
        headers: shown to that host alone.
        hosts: further hosts, by https, whose addresses are public.
    """

    provider: str
    base_url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    hosts: tuple[str, ...] = ()


async def fetch(source: Source, uri: str, *, most_bytes: int, timeout_s: float) -> bytes:
    """Fetch a file.

    Args:
        source: where it may come from.
        uri: what the vendor handed back.
        most_bytes: what is longer is not read to its end.
        timeout_s: for all of it, redirects included.

    Raises:
        PersistentError: another host, a private address, too many redirects, too large, refused.
        TransientError, ResourceError: what may pass.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return b"".join([chunk async for chunk in _follow(source, uri, most_bytes)])
    except StepError:
        raise
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        if any(isinstance(cause, _PrivateAddressError) for cause in (error, error.__cause__, error.__context__)):
            raise _refused(source, "it leads to a private address") from error
        raise from_connection(source.provider, error) from error


async def _follow(source: Source, uri: str, most_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(MOST_REDIRECTS + 1):
        is_own = _judge(source, uri)
        resolver = None if is_own else _PublicResolver()
        connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session,
            session.get(uri, headers=source.headers if is_own else None, allow_redirects=False) as response,
        ):
            if response.status in _REDIRECTS:
                uri = urljoin(uri, response.headers.get("Location", ""))
                continue
            _check_status(source, response)
            async for chunk in _read(source, response, most_bytes):
                yield chunk
            return
    raise _refused(source, "it is redirected too often")


async def _read(source: Source, response: aiohttp.ClientResponse, most_bytes: int) -> AsyncIterator[bytes]:
    size = response.content_length or 0
    read = 0
    async for chunk in response.content.iter_chunked(CHUNK):
        read += len(chunk)
        if max(size, read) > most_bytes:
            raise _refused(source, f"it is larger than {most_bytes} bytes")
        yield chunk


def _judge(source: Source, uri: str) -> bool:
    """Say whether an address is the vendor's own host; refuse it where it is no listed one either."""
    try:
        asked, own = urlsplit(uri), urlsplit(source.base_url)
        address = _place(asked)
    except ValueError as error:
        raise _refused(source, "its address cannot be read") from error
    if asked.username is not None or asked.password is not None or "\\" in uri:
        raise _refused(source, "its address carries a user name")
    if address == _place(own):
        return True
    listed = {host.lower() for host in source.hosts}
    if address[0] != "https" or address[2] != 443 or address[1] not in listed or _is_number(address[1]):  # noqa: PLR2004
        raise _refused(source, "it lies on a host that is neither the vendor's nor listed in the registry")
    return False


def _place(parts: SplitResult) -> tuple[str, str, int | None]:
    ports = {"http": 80, "https": 443}
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port or ports.get(parts.scheme.lower())


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_status(source: Source, response: aiohttp.ClientResponse) -> None:
    status = response.status
    if status == HTTPStatus.OK:
        return
    said = f"{source.provider} answered {status} for a file that it made."
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        wait_s = retry_after_s(response.headers)
        raise marked(TransientError(said, code="file_unavailable", retry_after_s=wait_s), sent=True)
    raise marked(PersistentError(said, code="file_refused"), sent=True, blame=Blame.NONE)


def _refused(source: Source, why: str) -> PersistentError:
    """Make the error; the address itself is the vendor's word, and is not repeated."""
    message = f"The file that {source.provider} handed back is not fetched: {why}."
    return marked(PersistentError(message, code="file_refused"), sent=True, blame=Blame.NONE)


class _PrivateAddressError(OSError):
    """A name that leads into a private network."""


class _PublicResolver(AbstractResolver):
    """Resolves names to public addresses. The connection is made to what was judged, so that nobody can exchange it."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Look a name up; one that has a single private address is refused whole."""
        found = await self._inner.resolve(host, port, family)
        for answer in found:
            if not _is_public(answer["host"]):
                raise _PrivateAddressError(f"{host} leads to a private address")
        return found

    async def close(self) -> None:
        """Close what is beneath."""
        await self._inner.close()


def _is_public(address: str) -> bool:
    read: Any = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(read, "ipv4_mapped", None) or getattr(read, "sixtofour", None)
    return bool(read.is_global and not read.is_multicast and (mapped is None or mapped.is_global))
