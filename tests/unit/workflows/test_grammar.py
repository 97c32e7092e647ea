from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import DocumentInvalidError
from app.workflows.limits import Limits
from app.workflows.model import BlockType, Task
from tests.unit.workflows.documents import PLAIN_JSON, WILD_JSON, echo, one_task, parse, refused, refused_task

EXAMPLE: dict[str, Any] = {
    "workflow": [
        {
            "type": "inline",
            "tasks": [
                {
                    "id": "ideas",
                    "agent": "strategist",
                    "input": {"count": "{num_ideas}", "scores": "{scores}"},
                    "output_variable": "ideas",
                }
            ],
        },
        {
            "type": "linear",
            "max_concurrency": 4,
            "tasks": [
                {
                    "for_each": "{slices}",
                    "agent": "generator",
                    "input": {"slice": "{item}"},
                    "output_variable": "prompts",
                }
            ],
        },
        {
            "type": "inline",
            "tasks": [
                {
                    "model": "finished_task_ai",
                    "prompt": "Tell the team: {prompts}",
                    "output_variable": "note",
                    "when": {"var": "notify", "op": "==", "value": True},
                }
            ],
        },
    ],
    "variables": {"num_ideas": 5, "slices": [10, 2], "notify": True},
}


def test_the_engines_own_example_is_read_whole() -> None:
    workflow = parse(EXAMPLE)
    first, second, third = workflow.blocks
    assert [block.type for block in workflow.blocks] == [BlockType.INLINE, BlockType.LINEAR, BlockType.INLINE]
    assert (second.max_concurrency, second.latency, second.index) == (4, "live", 1)
    assert first.tasks[0] == Task(
        key="ideas",
        place="workflow[0].tasks[0]",
        kind="agent",
        target="strategist",
        input={"count": "{num_ideas}", "scores": "{scores}"},
        output_variable="ideas",
    )
    assert (second.tasks[0].key, second.tasks[0].for_each) == ("1.0", "{slices}")
    assert third.tasks[0].when == {"var": "notify", "op": "==", "value": True}
    assert workflow.variables == {"num_ideas": 5, "slices": [10, 2], "notify": True}
    assert [sorted(task.reads()) for task in workflow.tasks()] == [
        ["num_ideas", "scores"],
        ["slices"],
        ["notify", "prompts"],
    ]


def test_a_bare_list_of_blocks_is_a_document() -> None:
    assert parse(EXAMPLE["workflow"], EXAMPLE["variables"]) == parse(EXAMPLE)


def test_what_the_caller_adds_wins_over_the_documents_own_variables() -> None:
    document = {"workflow": [{"tasks": [echo()]}], "variables": {"a": 1, "b": 1}}
    assert parse(document, {"b": 2}).variables == {"a": 1, "b": 2}


def test_a_block_without_a_type_is_inline() -> None:
    assert parse([{"tasks": [echo()]}]).blocks[0].type is BlockType.INLINE


def test_names_nobody_knows_are_ignored_in_documents_blocks_and_tasks() -> None:
    plain = parse({"workflow": [{"tasks": [echo()]}]})
    extra = {"workflow": [{"tasks": [echo(colour=float("nan"))], "position": [1, 2]}], "n8n": {"node": "\0"}}
    assert parse(extra) == plain


def test_null_and_empty_text_count_as_left_out() -> None:
    fields = ["id", "prompt", "input", "output_variable", "config", "when", "for_each", "timeout_s", "retries"]
    fields += ["fallback", "input_image", "depends_on", "model", "agent", "approval"]
    for absent in (None, ""):
        document = [{"type": absent, "max_concurrency": absent, "latency": absent, "tasks": [echo()]}]
        assert parse(document) == parse([{"tasks": [echo()]}])
        assert one_task(**dict.fromkeys(fields, absent)) == one_task()


def test_the_workflow_shares_nothing_with_what_was_sent() -> None:
    document = {"workflow": [{"tasks": [echo(input={"deep": [1]})]}], "variables": {"list": [1]}}
    workflow = parse(document)
    document["workflow"][0]["tasks"][0]["input"]["deep"].append(2)  # type: ignore[index]
    document["variables"]["list"].append(2)  # type: ignore[index]
    assert workflow.blocks[0].tasks[0].input == {"deep": [1]}
    assert workflow.variables == {"list": [1]}


@pytest.mark.parametrize("document", [None, 1, "[]", {}, [], {"workflow": []}, {"workflow": {}}, {"tasks": [echo()]}])
def test_what_is_no_list_of_blocks_is_refused_at_workflow(document: Any) -> None:
    assert list(refused(document)) == ["workflow"]


@pytest.mark.parametrize(
    ("block", "place"),
    [
        (7, "workflow[0]"),
        ({"tasks": []}, "workflow[0].tasks"),
        ({}, "workflow[0].tasks"),
        ({"tasks": {"tool": "echo"}}, "workflow[0].tasks"),
        ({"tasks": ["echo"]}, "workflow[0].tasks[0]"),
        ({"type": "parallel", "tasks": [echo()]}, "workflow[0].type"),
        ({"type": ["inline"], "tasks": [echo()]}, "workflow[0].type"),
        ({"latency": "slow", "tasks": [echo()]}, "workflow[0].latency"),
        ({"max_concurrency": 0, "tasks": [echo()]}, "workflow[0].max_concurrency"),
        ({"max_concurrency": 1001, "tasks": [echo()]}, "workflow[0].max_concurrency"),
        ({"max_concurrency": True, "tasks": [echo()]}, "workflow[0].max_concurrency"),
        ({"max_concurrency": 2.5, "tasks": [echo()]}, "workflow[0].max_concurrency"),
    ],
)
def test_a_bad_block_is_refused_at_its_place(block: Any, place: str) -> None:
    assert list(refused([block])) == [place]


def test_all_problems_are_told_at_once() -> None:
    errors = refused(
        [{"type": "x", "tasks": [{"model": "thinking_ai"}, echo(retries=-1)]}, {"tasks": []}], {"n": float("inf")}
    )
    assert set(errors) == {
        "workflow[0].type",
        "workflow[0].tasks[0].prompt",
        "workflow[0].tasks[1].retries",
        "workflow[1].tasks",
        "variables.n",
    }


def test_a_number_too_long_to_be_written_is_refused_all_the_same() -> None:
    huge = 10**5000  # str() of it raises
    assert set(refused_task(retries=huge, input=huge, id=huge)) == {"retries", "input", "id"}


def test_an_id_is_unique_in_the_whole_document() -> None:
    errors = refused([{"tasks": [echo("a")]}, {"type": "linear", "tasks": [echo(), echo("a")]}])
    assert errors == {"workflow[1].tasks[1].id": ['The id "a" is taken by workflow[0].tasks[0].']}


def test_the_items_of_a_task_are_never_called_like_a_task_without_an_id() -> None:
    looped = echo("1", for_each=[1, 2])
    errors = refused([{"tasks": [looped]}, {"tasks": [echo("named"), echo()]}])
    assert list(errors) == ["workflow[0].tasks[0].id"]
    assert list(refused([{"tasks": [echo("0", for_each="{list}"), echo()]}])) == ["workflow[0].tasks[0].id"]
    assert len(parse([{"tasks": [looped]}, {"tasks": [echo("named")]}]).tasks()) == 2
    assert len(parse([{"tasks": [echo("1")]}, {"tasks": [echo()]}]).tasks()) == 2


def test_tasks_of_one_linear_block_do_not_set_the_same_variable() -> None:
    tasks = [echo(output_variable="x"), echo(output_variable="y"), echo(output_variable="x")]
    assert list(refused([{"type": "linear", "tasks": tasks}])) == ["workflow[0].tasks[2].output_variable"]
    assert len(parse([{"type": "inline", "tasks": tasks}]).tasks()) == 3
    assert len(parse([{"type": "linear", "tasks": [task]} for task in tasks]).tasks()) == 3


def test_two_thousand_tasks_are_taken_and_one_more_is_not() -> None:
    def blocks(count: int) -> list[Any]:
        return [{"tasks": [echo()] * 1000}, {"tasks": [echo()] * (count - 1000)}]

    assert len(parse(blocks(2000)).tasks()) == 2000
    assert list(refused(blocks(2001))) == ["workflow"]
    assert list(refused([{"tasks": []}] * 2001)) == ["workflow"]


def test_a_hundred_problems_are_listed_and_the_rest_is_mentioned() -> None:
    errors = refused([{"tasks": [echo(retries="many", timeout_s="long")] * 2000}])
    assert sum(len(messages) for messages in errors.values()) == 101
    assert errors["document"] == ["Only the first 100 problems are listed; there may be more."]


@pytest.mark.parametrize("variables", [[], "a=1", 5, True])
def test_variables_are_an_object(variables: Any) -> None:
    assert list(refused([{"tasks": [echo()]}], variables)) == ["variables"]
    assert list(refused({"workflow": [{"tasks": [echo()]}], "variables": variables})) == ["variables"]


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def test_values_nest_sixty_four_levels_and_no_deeper() -> None:
    assert one_task(input=_nested(64)).input == _nested(64)
    (place,) = refused_task(input=_nested(65))
    assert place == "input" + "[0]" * 64
    (place,) = refused([{"tasks": [echo()]}], {"bomb": _nested(500)})
    assert place.startswith("variables.bomb[0]")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf"), 2**63, -(2**63) - 1, 1e300, 10**400])
def test_numbers_the_database_would_not_give_back_are_refused(number: float) -> None:
    assert list(refused_task(input={"n": [number]})) == ["input.n[0]"]


@pytest.mark.parametrize("text", ["a\0b", "\ud83d", "\udc00 half"])
def test_texts_the_database_cannot_store_are_refused_wherever_they_stand(text: str) -> None:
    assert list(refused_task(prompt=text)) == ["prompt"]
    assert list(refused_task(input=[text])) == ["input[0]"]
    assert list(refused_task(input={text: 1})) == ["input"]
    assert list(refused([{"tasks": [echo()]}], {"v": text})) == ["variables.v"]


def test_names_in_objects_have_a_bound() -> None:
    assert list(refused_task(input={"k" * 1025: 1})) == ["input"]
    assert one_task(input={"k" * 1024: 1}).input == {"k" * 1024: 1}


def test_what_is_not_json_is_refused() -> None:
    assert list(refused_task(input={"when": time.time})) == ["input.when"]
    assert list(refused_task(input={7: "seven"})) == ["input"]


def test_the_document_as_a_whole_has_bounds() -> None:
    small = Limits(max_values=10, max_characters=50)
    assert list(refused([{"tasks": [echo(input=list(range(11)))]}], None, small)) == ["document"]
    assert list(refused([{"tasks": [echo(prompt="p" * 30), echo(prompt="p" * 30)]}], None, small)) == ["document"]
    parse([{"tasks": [echo(prompt="p" * 30, input=list(range(10)))]}], None, small)


def test_places_and_messages_are_short_plain_ascii_whatever_was_sent() -> None:
    key = "\ud800\0" + "k" * 100_000
    errors = refused(
        [{"type": key, "tasks": [{"model": key, "prompt": "x", "id": key, "output_variable": key, "fallback": key}]}],
        {"ok": {"é" * 900: float("nan")}, key: 1},
    )
    assert len(errors) == 7
    written = json.dumps(errors, ensure_ascii=False)
    assert written.isascii()
    assert len(written) < 3000


def test_a_place_that_is_no_plain_name_is_quoted() -> None:
    assert list(refused_task(input={"two words": float("nan")})) == ['input["two words"]']


@pytest.mark.parametrize(
    "document",
    [
        [{"tasks": [{"model": "x", "prompt": "p", "fallback": [f"m{i}" for i in range(100_000)]}]}],
        [{"tasks": [echo(config={"addons": [f"a{i}" for i in range(100_000)]})]}],
        [{"type": "graph", "tasks": [echo("a", depends_on=[f"t{i}" for i in range(100_000)])]}],
        [{"tasks": [echo(when={"all": [0] * 300_000})]}],
        [{"tasks": [echo(input=[float("nan")] * 300_000)]}],
        [{"tasks": [{}] * 300_000}],
        [0] * 300_000,
    ],
    ids=["fallbacks", "addons", "dependencies", "conditions", "numbers", "tasks", "blocks"],
)
def test_a_document_full_of_mistakes_is_refused_quickly(document: Any) -> None:
    started = time.process_time()
    errors = refused(document)
    assert time.process_time() - started < 2
    assert sum(len(messages) for messages in errors.values()) <= 101


@settings(max_examples=300, deadline=None)
@given(WILD_JSON, WILD_JSON)
def test_arbitrary_json_is_read_or_refused_and_nothing_else_is_raised(document: Any, variables: Any) -> None:
    _read_or_refuse(document, variables)
    _read_or_refuse({"workflow": document, "variables": variables}, None)
    _read_or_refuse([{"type": "graph", "tasks": document}], None)
    _read_or_refuse([{"tasks": [document, echo(when=document, for_each=document)]}], None)


_FIELDS = (
    *("model", "agent", "tool", "approval", "id", "prompt", "input", "output_variable", "config", "when", "for_each"),
    *("timeout_s", "retries", "fallback", "input_image", "depends_on"),
)
_NEAR_TASKS = st.dictionaries(
    st.sampled_from(_FIELDS),
    WILD_JSON | st.sampled_from(["echo", "thinking_ai", "a", ["a"], "{a}", {"var": "a"}]),
    max_size=8,
)
_NEAR_BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(["inline", "linear", "graph"]), "tasks": st.lists(_NEAR_TASKS, max_size=4)},
    optional={"max_concurrency": WILD_JSON, "latency": WILD_JSON},
)


@settings(max_examples=120, deadline=None)
@given(st.lists(_NEAR_BLOCKS, max_size=3))
def test_documents_that_are_nearly_right_are_read_or_refused_and_nothing_else(document: Any) -> None:
    _read_or_refuse(document, None)


def _read_or_refuse(document: Any, variables: Any) -> None:
    try:
        workflow = parse(document, variables)
    except DocumentInvalidError as error:
        refusal = error.errors
    else:
        assert workflow.tasks()
        assert all(Task.from_json(json.loads(json.dumps(task.to_json()))) == task for task in workflow.tasks())
        return
    assert refusal
    assert json.dumps(refusal, ensure_ascii=False).isascii()


@settings(deadline=None)
@given(PLAIN_JSON, PLAIN_JSON)
def test_what_can_be_stored_is_kept_as_it_was_sent(value: Any, other: Any) -> None:
    workflow = parse([{"tasks": [echo(input=[value])]}], {"v": other})
    assert workflow.blocks[0].tasks[0].input == [value]
    assert workflow.variables == {"v": other}
