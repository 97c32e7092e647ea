"""Speak to the running system as any other caller does: over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

from app.errors import RequestError, UnavailableError
from app.settings import Settings

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """A status code and a JSON body."""

    status: int
    body: Any


class SystemClient:
    """Callers' view of one running system.

    Args:
        base_url: such as http://127.0.0.1:8001.
        token: a bearer token; None in open loopback mode.
    """

    def __init__(self, base_url: str, token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = {"Accept": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        # The system is at hand: a proxy that the environment names for the world outside must not be asked for it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, query: dict[str, Any] | None = None, *, timeout_s: float = TIMEOUT_S) -> Answer:
        """Send a GET; query values that are None are left out.

        Raises:
            RequestError: the system refuses; the message is its own.
            UnavailableError: nothing answers, or not now.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        suffix = f"?{urllib.parse.urlencode(given)}" if given else ""
        return self._send("GET", path + suffix, None, {}, timeout_s)

    def post(
        self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> Answer:
        """Send a POST; raises as `get` does."""
        return self._send("POST", path, json.dumps(body).encode(), headers or {}, timeout_s)

    def _send(self, method: str, path: str, data: bytes | None, headers: dict[str, str], timeout_s: float) -> Answer:
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked by `address_of` or by the option's reader
            self.base_url + path,
            data=data,
            headers={**self._headers, "Content-Type": "application/json", **headers},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                return Answer(response.status, json.loads(response.read() or b"null"))
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise _refused(refusal.code, refusal.read()) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UnavailableError(f"{self.base_url} does not answer ({reason}). Is `batuta up` running?") from None


def address_of(settings: Settings) -> str:
    """Give the address at which a process on this machine reaches the system."""
    host = settings.web.host
    if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - the opposite: bound to all, reached over loopback
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.web.port}"


def _checks_of(health: dict[str, Any]) -> str:
    """Say what `/health` found, which is no problem document."""
    return ", ".join(f"{name} {state}" for name, state in health.get("checks", {}).items())


def _refused(status: int, raw: bytes) -> RequestError | UnavailableError:
    try:
        problem = json.loads(raw)
        detail = str(problem.get("detail") or problem.get("title") or _checks_of(problem) or status)
        lines = [
            f"  {field}: {' '.join(map(str, messages))}" for field, messages in (problem.get("errors") or {}).items()
        ]
    except (ValueError, AttributeError, TypeError):
        detail, lines = raw[:300].decode(errors="replace"), []
    if status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
        lines.append("  From a terminal the token goes into BATUTA_TOKEN, or behind --token.")
    message = "\n".join([f"{status}: {detail}", *lines])
    return UnavailableError(message) if status >= http.client.INTERNAL_SERVER_ERROR else RequestError(message)
