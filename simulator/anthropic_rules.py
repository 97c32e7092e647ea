"""What Anthropic refuses in a body of `/v1/messages`, with its status, its type and about its words."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from simulator.anthropic_models import EFFORTS, MODELS, OFF_EFFORTS, TAKE_SAMPLING, ModelFacts
from simulator.anthropic_schema import schema_problem
from simulator.anthropic_thinking import thinking_problem

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Collection, Iterator, Mapping

OLD_VERSION = "2023-06-01"
MOST_BREAKPOINTS = 4
COUNTED_KEYS = {
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "output_config",
    "thinking",
    "cache_control",
}
KEYS = COUNTED_KEYS | {
    "max_tokens",
    "metadata",
    "stop_sequences",
    "stream",
    "service_tier",
    "speed",
    "inference_geo",
    "container",
    "diagnostics",
}
SAMPLING_KEYS = {"temperature", "top_p", "top_k"}
MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
BLOCK_TYPES = {"text", "image", "tool_use", "tool_result", "thinking", "redacted_thinking", "document"}
TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")


class Refusal(Exception):  # noqa: N818 - a vendor's answer, not a fault
    """What the vendor answers in place of a message."""

    def __init__(self, message: str, *, status: int = 400, kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message


def check_messages(body: Any, *, version: str, today: dt.date, retired: Collection[str] = ()) -> ModelFacts:
    """Refuse what `/v1/messages` refuses.

    Args:
        body: as it was parsed.
        version: of the wire, from the header.
        today: decides whether a model is gone.
        retired: ids that are gone whatever the day.

    Returns:
        What the model takes.
    """
    facts = _check_shared(body, KEYS, version=version, today=today, retired=retired)
    _check_max_tokens(body, facts)
    return facts


def check_count(body: Any, *, version: str, today: dt.date, retired: Collection[str] = ()) -> ModelFacts:
    """Refuse what `/v1/messages/count_tokens` refuses."""
    return _check_shared(body, COUNTED_KEYS, version=version, today=today, retired=retired)


def _check_shared(body: Any, keys: set[str], *, version: str, today: dt.date, retired: Collection[str]) -> ModelFacts:
    if not isinstance(body, dict):
        raise Refusal("The request body is not valid JSON")
    facts = _check_model(body.get("model"), today, retired)
    sampling = SAMPLING_KEYS if version == OLD_VERSION and body["model"] in TAKE_SAMPLING else set()
    for key in body:
        if key not in keys | sampling:
            raise Refusal(f"{key}: Extra inputs are not permitted")
    tools = _check_tools(body.get("tools"))
    _check_system(body.get("system"))
    _check_conversation(body.get("messages"), facts, has_tools=bool(tools))
    if problem := thinking_problem(body, bound=facts.bound_thinking):
        raise Refusal(problem)
    _check_tool_choice(body.get("tool_choice"), facts, tools)
    _check_thinking(body, facts)
    _check_output_config(body.get("output_config"), facts)
    _check_breakpoints(body)
    return facts


def _check_model(model: Any, today: dt.date, retired: Collection[str]) -> ModelFacts:
    if not isinstance(model, str) or not model:
        raise Refusal("model: Field required")
    facts = MODELS.get(model)
    if facts is None or model in retired or (facts.retires_on is not None and today >= facts.retires_on):
        raise Refusal(f"model: {model}", status=404, kind="not_found_error")
    return facts


def _check_max_tokens(body: Mapping[str, Any], facts: ModelFacts) -> None:
    most = body.get("max_tokens")
    if most is None:
        raise Refusal("max_tokens: Field required")
    if isinstance(most, bool) or not isinstance(most, int):
        raise Refusal("max_tokens: Input should be a valid integer")
    if most < 0:
        raise Refusal("max_tokens: Input should be greater than or equal to 0")
    if most > facts.most_output:
        raise Refusal(
            f"max_tokens: {most} > {facts.most_output}, which is the maximum allowed number of output tokens "
            f"for {body['model']}"
        )


def _check_tools(tools: Any) -> list[str]:
    """Check the definitions and list their names."""
    names: list[str] = []
    for place, tool in enumerate(tools or []):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str) or not TOOL_NAME.fullmatch(name):
            raise Refusal(f"tools.{place}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        schema = tool.get("input_schema")
        if not isinstance(schema, dict) or schema.get("type") != "object":
            raise Refusal(f"tools.{place}.custom.input_schema.type: Field required")
        if tool.get("strict") and (problem := schema_problem(schema)):
            raise Refusal(f"tools.{place}.custom: {problem}")
        names.append(name)
    if len(set(names)) != len(names):
        raise Refusal("tools: Tool names must be unique.")
    return names


def _check_system(system: Any) -> None:
    if system is None or isinstance(system, str):
        return
    for place, block in enumerate(system):
        if not isinstance(block, dict) or block.get("type") != "text":
            raise Refusal(f"system.{place}.type: Input should be 'text'")
        if not str(block.get("text") or "").strip():
            raise Refusal("system: text content blocks must be non-empty")


def _check_conversation(messages: Any, facts: ModelFacts, *, has_tools: bool) -> None:
    if not isinstance(messages, list) or not messages:
        raise Refusal("messages: at least one message is required")
    asked: set[str] = set()
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        roles = {"user", "assistant"} | ({"system"} if facts.system_turns and place else set())
        if role not in roles:
            raise Refusal(f"messages.{place}.role: Input should be {' or '.join(repr(one) for one in sorted(roles))}")
        blocks = _blocks(message.get("content"), place)
        for number, block in enumerate(blocks):
            _check_block(block, f"messages.{place}.content.{number}", role)
        asked = _check_tool_turn(blocks, asked, place, has_tools=has_tools)
    if asked:
        raise Refusal(_unanswered(len(messages) - 1, asked))
    if messages[-1]["role"] == "assistant" and not facts.prefill:
        raise Refusal(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _blocks(content: Any, place: int) -> list[Any]:
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not content:
        raise Refusal(f"messages.{place}: all messages must have non-empty content")
    return content


def _check_block(block: Any, place: str, role: str) -> None:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind not in BLOCK_TYPES:
        raise Refusal(f"{place}: Input tag {kind!r} found using 'type' does not match any of the expected tags")
    if kind == "text" and not str(block.get("text") or "").strip():
        raise Refusal("messages: text content blocks must be non-empty")
    if (kind in {"image", "tool_result"} and role != "user") or (kind == "tool_use" and role != "assistant"):
        raise Refusal(f"{place}: `{kind}` blocks are not allowed in {role} messages")
    if kind == "image":
        _check_image(block.get("source"), place)
    if kind == "tool_use" and not isinstance(block.get("input"), dict):
        raise Refusal(f"{place}.tool_use.input: Input should be a valid dictionary")
    if kind == "tool_use" and not TOOL_ID.fullmatch(str(block.get("id", ""))):
        raise Refusal(f"{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")


def _check_image(source: Any, place: str) -> None:
    if not isinstance(source, dict) or source.get("type") not in {"base64", "url"}:
        raise Refusal(f"{place}.image.source: Field required")
    if source["type"] == "url":
        return
    if source.get("media_type") not in MEDIA_TYPES:
        raise Refusal(f"{place}.image.source.base64.media_type: Input should be one of {', '.join(MEDIA_TYPES)}")
    try:
        base64.b64decode(source.get("data", ""), validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise Refusal(f"{place}.image.source.base64.data: Invalid base64 data") from None


def _check_tool_turn(blocks: list[Any], asked: set[str], place: int, *, has_tools: bool) -> set[str]:
    """Hold calls and results together: each call of a turn is answered in the next one, and nothing else is."""
    results = {str(block.get("tool_use_id")) for block in blocks if block["type"] == "tool_result"}
    calls = {block["id"] for block in blocks if block["type"] == "tool_use"}
    if (results or calls) and not has_tools:
        raise Refusal("tools: Requests which include `tool_use` or `tool_result` blocks must define tools")
    if results - asked:
        raise Refusal(
            f"messages.{place}: unexpected `tool_use_id` found in `tool_result` blocks: "
            f"{', '.join(sorted(results - asked))}. "
            "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
        )
    if asked - results:
        raise Refusal(_unanswered(place - 1, asked - results))
    return calls


def _unanswered(place: int, ids: set[str]) -> str:
    return (
        f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(sorted(ids))}."
    )


def _check_tool_choice(choice: Any, facts: ModelFacts, tools: list[str]) -> None:
    if choice is None:
        return
    kind = choice.get("type") if isinstance(choice, dict) else None
    if kind not in {"auto", "none", "any", "tool"}:
        raise Refusal("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'")
    if not tools:
        raise Refusal("tool_choice: may only be specified while providing tools")
    if kind in {"any", "tool"} and not facts.forced_tools:
        raise Refusal('tool_choice: type "tool" and "any" are not supported for this model.')
    if kind == "tool" and choice.get("name") not in tools:
        raise Refusal(f"tool_choice: Tool '{choice.get('name')}' not found in provided tools")


def _check_thinking(body: Mapping[str, Any], facts: ModelFacts) -> None:
    thinking = body.get("thinking")
    if thinking is None:
        return
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind not in facts.thinking:
        hint = ' Use "between_tools" to turn thinking off.' if "between_tools" in facts.thinking else ""
        raise Refusal(f"thinking.type: {kind!r} is not supported for this model.{hint}")
    if "budget_tokens" in thinking and kind != "enabled":
        raise Refusal(f"thinking.{kind}.budget_tokens: Extra inputs are not permitted")
    if kind == "enabled" and not 1024 <= thinking.get("budget_tokens", 0) < body.get("max_tokens", 10**9):  # noqa: PLR2004
        raise Refusal("thinking.enabled.budget_tokens: must be at least 1024 and below `max_tokens`")
    effort = (body.get("output_config") or {}).get("effort")
    if kind in {"disabled", "between_tools"} and effort is not None and effort not in OFF_EFFORTS:
        raise Refusal(f'thinking.type: "{kind}" cannot be combined with effort "{effort}"')


def _check_output_config(config: Any, facts: ModelFacts) -> None:
    if config is None:
        return
    for key in config:
        if key not in {"effort", "format"}:
            raise Refusal(f"output_config.{key}: Extra inputs are not permitted")
    effort = config.get("effort")
    if effort is not None and (effort not in EFFORTS or not facts.default_effort):
        raise Refusal("output_config.effort: This model does not support this effort")
    wanted = config.get("format")
    if wanted is None:
        return
    if wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
        raise Refusal("output_config.format: Input should be a json_schema with its schema")
    if problem := schema_problem(wanted["schema"]):
        raise Refusal(f"output_config.format.schema: {problem}")


def _check_breakpoints(body: Mapping[str, Any]) -> None:
    controls = [*_controls(body)]
    if len(controls) > MOST_BREAKPOINTS:
        raise Refusal(f"A maximum of 4 blocks with cache_control may be provided. Found {len(controls)}.")
    lives = []
    for place, control in controls:
        if not isinstance(control, dict) or control.get("type") != "ephemeral":
            raise Refusal(f"{place}.cache_control.type: Input should be 'ephemeral'")
        if control.get("ttl", "5m") not in {"5m", "1h"}:
            raise Refusal(f"{place}.cache_control.ttl: Input should be '5m' or '1h'")
        lives.append(control.get("ttl", "5m"))
        if lives[-1] == "1h" and "5m" in lives:
            raise Refusal(
                f"{place}.cache_control.ttl: a ttl='1h' cache_control block must not come after a ttl='5m' "
                "cache_control block. Note that blocks are processed in the following order: tools, system, messages."
            )


def _controls(body: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Find the breakpoints in the order in which the prompt is read."""
    parts = [("tools", body.get("tools") or []), ("system", body.get("system") or [])]
    parts += [
        (f"messages.{place}.content", message.get("content") or [])
        for place, message in enumerate(body.get("messages") or [])
    ]
    for name, blocks in parts:
        for number, block in enumerate(blocks if isinstance(blocks, list) else []):
            if block.get("cache_control") is not None:
                yield f"{name}.{number}", block["cache_control"]
    if body.get("cache_control") is not None:
        yield "cache_control", body["cache_control"]
