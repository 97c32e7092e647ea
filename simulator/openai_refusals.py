"""How the servers of OpenAI's wire say no, each in its own shape."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web

from simulator.openai_account import GOOGLE_WIRE, OPENROUTER_WIRE, Wire

GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
RPC = "type.googleapis.com/google.rpc."


class Refusal(Exception):  # noqa: N818 - a vendor's answer, not a fault
    """One refusal, in the words all of them share.

    Args:
        status: of HTTP.
        message: for people.
        code: OpenAI's slug.
        kind: OpenAI's type.
        param: the parameter that is wrong.
        metadata: OpenRouter's.
        details: Google's.
        headers: sent with it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str = "invalid_request_error",
        param: str | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind
        self.param = param
        self.metadata: dict[str, Any] = more.get("metadata") or {}
        self.details: list[dict[str, Any]] = more.get("details") or []
        self.headers: dict[str, str] = more.get("headers") or {}

    def body(self, wire: Wire) -> Any:
        """Write it as a server does."""
        if wire is OPENROUTER_WIRE:
            metadata = {"metadata": self.metadata} if self.metadata else {}
            return {"error": {"code": self.status, "message": self.message, **metadata}}
        if wire is GOOGLE_WIRE:
            status = GOOGLE_STATUSES.get(self.status, "UNKNOWN")
            details = {"details": self.details} if self.details else {}
            return [{"error": {"code": self.status, "message": self.message, "status": status, **details}}]
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    def answer(self, wire: Wire, request_id: str) -> web.Response:
        """Make the answer of HTTP."""
        return web.Response(
            status=self.status,
            body=json.dumps(self.body(wire)).encode(),
            headers={"Content-Type": "application/json", "x-request-id": request_id, **self.headers},
        )


def no_key(wire: Wire) -> Refusal:
    """Refuse a key that is missing or wrong; Google does so with 400."""
    if wire is GOOGLE_WIRE:
        reason = {"@type": f"{RPC}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        return Refusal(400, "API key not valid. Please pass a valid API key.", details=[reason])
    message = "No auth credentials found" if wire is OPENROUTER_WIRE else "Incorrect API key provided."
    return Refusal(401, message, code="invalid_api_key")


def no_credit(wire: Wire) -> Refusal:
    """Refuse for money."""
    if wire is OPENROUTER_WIRE:
        return Refusal(402, "Insufficient credits.", metadata={"limit_source": "openrouter_credits"})
    return Refusal(
        429,
        "You exceeded your current quota, please check your plan and billing details.",
        code="insufficient_quota",
        kind="insufficient_quota",
    )


def too_fast(wire: Wire, wait_s: float) -> Refusal:
    """Refuse a rate, and say when to come again: Google in the error's details, the others in a header."""
    if wire is GOOGLE_WIRE:
        delay = {"@type": f"{RPC}RetryInfo", "retryDelay": f"{wait_s:.3f}s"}
        return Refusal(429, "Resource has been exhausted (e.g. check quota).", details=[delay])
    return Refusal(
        429,
        "Rate limit reached for requests.",
        code="rate_limit_exceeded",
        kind="requests",
        headers={"Retry-After": str(int(wait_s) + 1), "retry-after-ms": str(int(wait_s * 1000) + 1)},
    )


def unknown_field(wire: Wire, name: str, place: str = "") -> Refusal:
    """Refuse a field that the server does not know."""
    if wire is GOOGLE_WIRE:
        where = f" at '{place}'" if place else ""
        said = f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
        violation = {"@type": f"{RPC}BadRequest", "fieldViolations": [{"field": place, "description": said}]}
        return Refusal(400, said, details=[violation])
    path = f"{place}.{name}" if place else name
    return Refusal(400, f"Unknown parameter: '{path}'.", code="unknown_parameter", param=path)


def no_model(wire: Wire, name: str) -> Refusal:
    """Refuse a name that stands for nothing."""
    if wire is OPENROUTER_WIRE:
        return Refusal(400, f"{name} is not a valid model ID")
    return gone(wire, name)


def gone(wire: Wire, name: str) -> Refusal:
    """Refuse a model that is not served any more."""
    if wire is OPENROUTER_WIRE:
        return Refusal(404, f"No endpoints found for {name}.")
    if wire is GOOGLE_WIRE:
        return Refusal(404, f"models/{name} is not found for API version v1main, or is not supported.")
    message = f"The model `{name}` does not exist or you do not have access to it."
    return Refusal(404, message, code="model_not_found")
