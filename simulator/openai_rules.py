"""What the servers of OpenAI's wire refuse in a chat."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from simulator.openai_account import GOOGLE_WIRE, OPENAI_WIRE, OWN_WIRE, OpenAIAccount, Wire
from simulator.openai_refusals import Refusal, gone, no_model, unknown_field
from simulator.openai_schema import strict_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.openai_models import ModelFacts

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
IMAGE_HEAD = re.compile(r"data:image/(png|jpeg|webp|gif);base64")
PART_FIELDS = {"text": {"type", "text"}, "image_url": {"type", "image_url"}}
FUNCTION_FIELDS = {"name", "description", "parameters", "strict"}


def check_chat(body: Any, wire: Wire, account: OpenAIAccount, retired: Sequence[str]) -> str:
    """Refuse what the vendor refuses.

    Args:
        body: what was sent.
        wire: whose rules hold.
        account: for the day it is there.
        retired: ids that are gone whatever the day.

    Returns:
        The id of the model that answers.
    """
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise Refusal(400, "you must provide a model parameter")
    name = find_model(body["model"], wire, account, retired)
    facts = wire.models.get(name)
    if facts is not None and facts.dimensions:
        raise Refusal(404, "This is not a chat model and thus not supported.", param="model")
    unknown = sorted(set(body) - wire.fields) if wire.fields else []
    if unknown:
        raise unknown_field(wire, unknown[0])
    if "stream_options" in body and not body.get("stream"):
        raise _invalid("stream_options", "The 'stream_options' parameter is only allowed when 'stream' is enabled.")
    _check_messages(body.get("messages"), wire, name)
    _check_numbers(body)
    if wire is OPENAI_WIRE and facts is not None:
        _check_reasoning(body, facts)
    _check_format(body.get("response_format"), body["messages"], wire)
    _check_tools(body.get("tools"), wire)
    if wire is OPENAI_WIRE and facts is not None and facts.thinks_or_calls:
        _check_thoughtless_calls(body)
    return name


def find_model(asked: str, wire: Wire, account: OpenAIAccount, retired: Sequence[str] = ()) -> str:
    """Find what serves a name today.

    Raises:
        Refusal: nothing does.
    """
    if asked in {*retired, *account.retired}:
        raise gone(wire, asked)
    facts = wire.models.get(asked)
    if facts is None and wire.models:
        raise no_model(wire, asked)
    if facts is None or facts.retires_on is None or account.date() < facts.retires_on:
        return asked
    if not facts.becomes:
        raise gone(wire, asked)
    return facts.becomes


def _invalid(param: str, message: str, code: str = "invalid_value") -> Refusal:
    return Refusal(400, message, code=code, param=param)


def _check_reasoning(body: dict[str, Any], facts: ModelFacts) -> None:
    effort = body.get("reasoning_effort")
    if effort is not None and effort not in facts.efforts:
        code = "unsupported_value" if facts.efforts else "unsupported_parameter"
        raise _invalid("reasoning_effort", f"Unsupported value: 'reasoning_effort' is {effort!r}.", code)
    if not facts.efforts:
        return
    if "max_tokens" in body:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'."
        raise _invalid("max_tokens", message, "unsupported_parameter")
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1:
            message = f"Unsupported value: '{name}' does not support {body[name]} with this model, only 1."
            raise _invalid(name, message, "unsupported_value")


def _check_thoughtless_calls(body: dict[str, Any]) -> None:
    """Refuse functions from a model that calls them in chats only where it is told not to think.

    Source: https://developers.openai.com/api/docs/models/gpt-6-luna, November 2026.
    """
    if body.get("tools") and body.get("reasoning_effort") != "none":
        message = (
            f"Function tools with reasoning_effort are not supported for {body['model']} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
        )
        raise Refusal(400, message, param="reasoning_effort")


def _check_numbers(body: dict[str, Any]) -> None:
    for name, low, high in (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("max_tokens", 1, 10**9),
        ("max_completion_tokens", 1, 10**9),
    ):
        value = body.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
        ):
            raise _invalid(name, f"Invalid value for '{name}'.")


def _check_messages(messages: Any, wire: Wire, model: str) -> None:
    if not isinstance(messages, list) or not messages:
        raise _invalid("messages", "Invalid 'messages': empty array.", "empty_array")
    waiting: list[str] = []
    for place, message in enumerate(messages):
        where = f"messages[{place}]"
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise _invalid(f"{where}.role", f"Invalid value for '{where}.role'.")
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                raise _invalid(where, "Messages with role 'tool' must be a response to a message with 'tool_calls'.")
            waiting.remove(message["tool_call_id"])
        elif waiting:
            raise _invalid(where, f"'tool_calls' must be followed by tool messages: {', '.join(waiting)} are missing.")
        _check_content(message.get("content"), where, wire)
        waiting += _check_calls(message, where, wire, model)
    if waiting:
        raise _invalid("messages", f"'tool_calls' must be followed by tool messages: {', '.join(waiting)} are missing.")


def _check_calls(message: dict[str, Any], where: str, wire: Wire, model: str) -> list[str]:
    """Check the calls of a tool that the assistant made earlier; give their ids."""
    calls = message.get("tool_calls") or []
    if message["role"] == "assistant" and not calls and not message.get("content"):
        raise _invalid(f"{where}.content", f"Invalid value for '{where}.content': expected a string, got null.")
    for number, call in enumerate(calls):
        function = call.get("function") or {}
        if not call.get("id") or call.get("type") != "function" or not NAME.fullmatch(str(function.get("name"))):
            raise _invalid(f"{where}.tool_calls[{number}]", "Invalid 'tool_calls'.")
        if not isinstance(function.get("arguments"), str):
            raise _invalid(f"{where}.tool_calls[{number}]", "Invalid 'arguments': expected a string.", "invalid_type")
        if wire is GOOGLE_WIRE and model.startswith("gemini-3") and number == 0:
            _check_signature(call)
        elif "extra_content" in call and wire is OPENAI_WIRE:
            raise unknown_field(wire, "extra_content", f"{where}.tool_calls[{number}]")
    return [call["id"] for call in calls]


def _check_signature(call: dict[str, Any]) -> None:
    """Google's newer models want the signature back that came with the first of some calls."""
    extra = call.get("extra_content") or {}
    if not (extra.get("google") or {}).get("thought_signature"):
        raise Refusal(400, "Function call is missing a thought_signature in functionCall parts.")


def _check_content(content: Any, where: str, wire: Wire) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list) or wire is OWN_WIRE:
        # A server of one's own is the simplest there is.
        if isinstance(content, list) and any(part.get("type") != "text" for part in content):
            return
        raise _invalid(f"{where}.content", f"Invalid type for '{where}.content'.", "invalid_type")
    for number, part in enumerate(content):
        place = f"{where}.content[{number}]"
        known = PART_FIELDS.get(part.get("type"))
        if known is None:
            raise _invalid(f"{place}.type", f"Invalid value: {part.get('type')!r}. Supported: 'text', 'image_url'.")
        unknown = sorted(set(part) - known)
        if unknown and wire.fields:
            raise unknown_field(wire, unknown[0], place)
        if part["type"] == "image_url":
            _check_image(part["image_url"], place)


def _check_image(image: Any, place: str) -> None:
    address = image.get("url", "") if isinstance(image, dict) else ""
    if address.startswith(("https://", "http://")):
        return
    head, _, data = address.partition(",")
    refusal = _invalid(f"{place}.image_url", "Invalid image data.", "invalid_image_url")
    if not IMAGE_HEAD.fullmatch(head):
        raise refusal
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise refusal from error


def _check_format(response_format: Any, messages: list[dict[str, Any]], wire: Wire) -> None:
    kind = response_format.get("type") if isinstance(response_format, dict) else None
    if kind == "json_object" and wire is OPENAI_WIRE and "json" not in json.dumps(messages).lower():
        raise _invalid("messages", "'messages' must contain the word 'json' to use 'response_format' 'json_object'.")
    if kind != "json_schema":
        return
    described = response_format.get("json_schema") or {}
    name = described.get("name", "")
    if not NAME.fullmatch(str(name)):
        raise _invalid("response_format", "Invalid 'response_format.json_schema.name'.")
    if described.get("strict"):
        problem = strict_problem(described.get("schema") or {})
        if problem:
            message = f"Invalid schema for response_format '{name}': {problem}"
            raise _invalid("response_format", message, "invalid_json_schema")


def _check_tools(tools: Any, wire: Wire) -> None:
    if tools is None:
        return
    if not isinstance(tools, list) or not tools:
        raise _invalid("tools", "Invalid 'tools': empty array.", "empty_array")
    for number, tool in enumerate(tools):
        function = tool.get("function") if tool.get("type") == "function" else None
        if not isinstance(function, dict) or not NAME.fullmatch(str(function.get("name"))):
            raise _invalid(f"tools[{number}]", f"Invalid 'tools[{number}]'.")
        unknown = sorted(set(function) - (FUNCTION_FIELDS - ({"strict"} if wire is GOOGLE_WIRE else set())))
        if unknown and wire.fields:
            raise unknown_field(wire, unknown[0], f"tools[{number}].function")
        problem = strict_problem(function.get("parameters") or {}) if function.get("strict") else ""
        if problem:
            message = f"Invalid schema for function '{function['name']}': {problem}"
            raise _invalid(f"tools[{number}].function.parameters", message, "invalid_function_parameters")
