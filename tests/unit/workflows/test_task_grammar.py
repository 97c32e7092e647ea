from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.model import Task
from tests.unit.workflows.documents import PLAIN_JSON, echo, one_task, parse, refused, refused_task


def _errors_of(task: dict[str, Any]) -> dict[str, list[str]]:
    return refused([{"tasks": [task]}])


def test_a_task_has_exactly_one_of_model_agent_tool_approval() -> None:
    for task in ({}, {"prompt": "p"}, {"model": "", "agent": None}, {"tool": "echo", "agent": "strategist"}):
        assert list(_errors_of(task)) == ["workflow[0].tasks[0]"]


@pytest.mark.parametrize("kind", ["model", "agent", "tool"])
def test_a_name_nobody_knows_is_refused_at_its_place(kind: str) -> None:
    errors = _errors_of({kind: "thinking_aj", "prompt": "p"})
    assert list(errors) == [f"workflow[0].tasks[0].{kind}"]


def test_the_nearest_known_name_is_offered() -> None:
    errors = _errors_of({"model": "thinkin_ai", "prompt": "p"})
    assert errors["workflow[0].tasks[0].model"] == ['There is no model "thinkin_ai". Did you mean "thinking_ai"?']


@pytest.mark.parametrize("name", [7, True, ["echo"], {"name": "echo"}])
def test_a_name_is_a_text(name: Any) -> None:
    assert list(_errors_of({"tool": name})) == ["workflow[0].tasks[0].tool"]


@pytest.mark.parametrize("prompt", [None, "", "  \n", 7, ["p"]])
def test_a_model_needs_a_prompt(prompt: Any) -> None:
    assert list(_errors_of({"model": "fast_ai", "prompt": prompt})) == ["workflow[0].tasks[0].prompt"]


def test_a_prompt_has_two_hundred_thousand_characters_at_most() -> None:
    assert list(refused_task(prompt="p" * 200_001)) == ["prompt"]
    assert one_task(prompt="p" * 200_000).prompt == "p" * 200_000
    assert list(_errors_of({"approval": "?" * 200_001})) == ["workflow[0].tasks[0].approval"]


@pytest.mark.parametrize("task_id", ["a.b", "a b", "ü", "x" * 65, 7, True, ["a"], "a\n"])
def test_an_id_keeps_to_its_letters(task_id: Any) -> None:
    assert list(refused_task(id=task_id)) == ["id"]


def test_a_key_is_the_id_or_the_place_by_numbers() -> None:
    workflow = parse([{"tasks": [echo("A-z_9"), echo()]}, {"tasks": [echo("0")]}])
    assert [task.key for task in workflow.tasks()] == ["A-z_9", "0.1", "0"]


@pytest.mark.parametrize("name", ["a.b", "{a}", " a", "a ", "a  b", 'a"', "x" * 129, 7, True, "a\n"])
def test_an_output_variable_is_a_name_that_a_placeholder_can_say(name: Any) -> None:
    assert list(refused_task(output_variable=name)) == ["output_variable"]


@pytest.mark.parametrize("name", ["a", "publicación", "product name", "x-1_b", "0"])
def test_names_may_be_of_any_script_and_hold_blanks(name: str) -> None:
    assert one_task(output_variable=name).output_variable == name


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("timeout_s", bad) for bad in (0, -1, 86_401, True, "30", float("nan"), float("inf"), [1], 10**400)),
        *(("retries", bad) for bad in (-1, 11, True, False, 1.5, "3", float("nan"), 10**400)),
        *(("fallback", bad) for bad in (7, ["fast_ai", 7], {"model": "fast_ai"}, "nobody", ["fast_ai", "nobody"])),
        *(("config", bad) for bad in (7, ["temperature"], "hot", False)),
        *(("input_image", bad) for bad in (7, ["{image}"], False)),
        *(("for_each", bad) for bad in ("slices", "a {b}", "{a}{b}", 7, {"a": 1}, True, [0] * 1001)),
        *(("depends_on", bad) for bad in ("a", 7, [7], ["a"], {"a": 1})),
    ],
)
def test_a_bad_field_is_refused_at_its_place(field: str, value: Any) -> None:
    assert list(refused_task(**{field: value})) == [field]


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("timeout_s", 0.5, 0.5),
        ("timeout_s", 86_400, 86_400),
        ("retries", 0, 0),
        ("retries", 10.0, 10),
        ("fallback", "fast_ai", ("fast_ai",)),
        ("fallback", ["fast_ai", "medium_ai", "fast_ai"], ("fast_ai", "medium_ai")),
        ("for_each", "{plan.items.0}", "{plan.items.0}"),
        ("for_each", [], []),
        ("for_each", ["{a}", 2], ["{a}", 2]),
        ("input", 0, 0),
        ("input", False, False),
        ("input", [], []),
        ("input_image", "{photo}", "{photo}"),
        ("depends_on", [], ()),
    ],
)
def test_a_good_field_is_read(field: str, value: Any, read: Any) -> None:
    got = getattr(one_task(**{field: value}), field)
    assert got == read
    assert type(got) is type(read)


def test_whole_numbers_written_as_decimals_become_whole() -> None:
    assert type(one_task(retries=3.0).retries) is int


def test_addons_are_looked_up_one_by_one() -> None:
    errors = refused_task(config={"addons": ["research", "researhc", 7]})
    assert list(errors) == ["config.addons[1]", "config.addons[2]"]
    assert list(refused_task(config={"addons": "research"})) == ["config.addons"]
    assert one_task(config={"addons": ["research"]}).config == {"addons": ["research"]}


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *(("temperature", bad) for bad in (-0.1, 2.1, True, "0.7", [1])),
        *(("top_p", bad) for bad in (-0.1, 1.1, True, "1")),
        *(("max_tokens", bad) for bad in (0, 1.5, True, "100", 10_000_001)),
    ],
)
def test_a_models_settings_are_numbers_within_what_vendors_take(name: str, bad: Any) -> None:
    task = {"model": "fast_ai", "prompt": "p", "config": {name: bad}}
    assert list(_errors_of(task)) == [f"workflow[0].tasks[0].config.{name}"]


def test_a_models_settings_may_come_from_variables() -> None:
    config = {"temperature": "{heat}", "max_tokens": "{budget.tokens}", "top_p": None, "aspect_ratio": "16:9"}
    task = parse([{"tasks": [{"model": "imagen_4_ultra", "prompt": "p", "config": config}]}]).tasks()[0]
    assert task.config == config
    assert task.reads() == {"heat", "budget"}


def test_dependencies_belong_to_graphs() -> None:
    errors = refused([{"type": "linear", "tasks": [echo("a"), echo("b", depends_on=["a"])]}])
    assert list(errors) == ["workflow[0].tasks[1].depends_on"]


@pytest.mark.parametrize(
    ("condition", "place"),
    [
        (7, "when"),
        ([], "when"),
        ({}, "when"),
        ({"op": "=="}, "when"),
        ({"var": "a", "all": []}, "when"),
        ({"var": "a"}, "when.op"),
        ({"var": "a", "op": "is", "value": 1}, "when.op"),
        ({"var": "a", "op": ["=="], "value": 1}, "when.op"),
        ({"var": "{a}", "op": "==", "value": 1}, "when.var"),
        ({"var": "a.", "op": "==", "value": 1}, "when.var"),
        ({"var": 7, "op": "==", "value": 1}, "when.var"),
        ({"var": "a", "op": "=="}, "when.value"),
        ({"var": "a", "op": "<", "value": True}, "when.value"),
        ({"var": "a", "op": ">=", "value": None}, "when.value"),
        ({"var": "a", "op": "in", "value": 7}, "when.value"),
        ({"var": "a", "op": "exists", "value": "yes"}, "when.value"),
        ({"all": {"var": "a"}}, "when.all"),
        ({"any": [{"var": "a", "op": "exists"}, 7]}, "when.any[1]"),
        ({"not": {"not": {"var": "a", "op": "?"}}}, "when.not.not.op"),
        ({"var": "a", "op": "==", "value": float("nan")}, "when.value"),
    ],
)
def test_a_bad_condition_is_refused_at_its_place(condition: Any, place: str) -> None:
    assert list(refused_task(when=condition)) == [place]


def test_a_tower_of_conditions_is_refused_and_not_climbed() -> None:
    tower: Any = {"var": "a", "op": "exists"}
    for _ in range(800):
        tower = {"not": tower}
    (place,) = refused_task(when=tower)
    assert place.startswith("when.not.not")


def test_a_task_reads_what_its_prompt_input_settings_image_list_and_condition_name() -> None:
    task = one_task(
        prompt="{p.x} {p.y} { not} {}",
        input={"{key}": ["{i.0}", {"deep": "and {j}"}]},
        config={"style": "{c}"},
        input_image="{image}",
        when={"all": [{"var": "w.x", "op": "exists"}, {"not": {"any": [{"var": "v", "op": "==", "value": "{no}"}]}}]},
        output_variable="out",
    )
    assert task.reads() == {"p", "i", "j", "c", "image", "w", "v"}


def test_a_loop_reads_its_list_outside_and_item_and_index_inside() -> None:
    task = one_task(
        for_each="{item.parts}", input=["{item}", "{index}", "{other}"], when={"var": "index", "op": "<", "value": 3}
    )
    assert task.reads() == {"item", "other"}
    assert one_task(for_each=["{a}", "{index}"], input="{item}").reads() == {"a", "index"}
    assert one_task(input=["{item}", "{index}"]).reads() == {"item", "index"}


def test_a_condition_on_the_loops_item_is_judged_for_each() -> None:
    per_item = {"any": [{"var": "item.score", "op": ">", "value": 0.5}, {"var": "all", "op": "==", "value": True}]}
    once = {"var": "notify", "op": "==", "value": True}
    assert one_task(for_each="{list}", when=per_item).judged_per_item
    assert not one_task(for_each="{list}", when=once).judged_per_item
    assert not one_task(when=per_item).judged_per_item
    assert not one_task(for_each="{list}").judged_per_item


def test_an_approvals_question_may_hold_placeholders() -> None:
    task = parse([{"tasks": [{"approval": "Publish {draft.title}?"}]}]).tasks()[0]
    assert (task.kind, task.target) == ("approval", "Publish {draft.title}?")
    assert task.reads() == {"draft"}


def test_a_plain_task_is_stored_in_four_fields() -> None:
    assert one_task().to_json() == {"key": "0.0", "place": "workflow[0].tasks[0]", "kind": "tool", "target": "echo"}


_NAMES = st.none() | st.text(max_size=5)
_TASKS = st.builds(
    Task,
    key=st.text(min_size=1, max_size=5),
    place=st.text(max_size=5),
    kind=st.sampled_from(["model", "agent", "tool", "approval"]),
    target=st.text(max_size=5),
    prompt=_NAMES,
    input=PLAIN_JSON,
    output_variable=_NAMES,
    config=st.dictionaries(st.text(max_size=5), PLAIN_JSON, max_size=3),
    when=st.none() | st.just({"var": "a", "op": "exists"}),
    for_each=st.none() | st.lists(PLAIN_JSON, max_size=3) | st.just("{a}"),
    timeout_s=st.none() | st.floats(0.1, 100),
    retries=st.none() | st.integers(0, 10),
    fallback=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    input_image=_NAMES,
    depends_on=st.lists(st.text(max_size=5), max_size=3).map(tuple),
)


@settings(deadline=None)
@given(_TASKS)
def test_a_task_comes_back_from_json_as_it_went(task: Task) -> None:
    assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task
