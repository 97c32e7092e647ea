from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidError, NotFoundError
from app.gateway.registry_file import read_registry
from app.workflows.addon import read_addons
from app.workflows.catalog import Catalog
from app.workflows.conditions import holds
from app.workflows.estimate import possible_tasks, unset_names
from app.workflows.grammar import parse_workflow
from app.workflows.model import BlockType, Workflow
from app.workflows.template import Template, TemplateVariable, read_templates

REGISTRY = read_registry(Path(__file__).parents[3] / "orchestration_config.json")
CATALOG = Catalog(REGISTRY.names, frozenset(), frozenset(), read_addons().names)
TEMPLATES = read_templates()
GIVEN: dict[str, dict[str, Any]] = {
    "research_report": {"topic": "artificial intelligence", "audience": "business executives"},
    "marketing_campaign": {"product": "bottle", "audience": "hikers", "values": "honest"},
    "code_project": {"project_description": "a to-do list"},
}
PROMISED = {
    "research_report": {
        "primary_research", "secondary_research", "company_research", "draft_report", "executive_summary",
        "completion_message",
    },
    "marketing_campaign": {
        "campaign_concept", "visual_brief", "film_script", "social_media_copy", "email_sequence", "product_image",
        "promotional_video", "image_evaluation", "completion_message",
    },
    "code_project": {
        "architecture_design", "implementation_code", "test_code", "documentation", "completion_message",
    },
}  # fmt: skip
MEDIA = {"product_image", "promotional_video", "image_evaluation"}


def everything(_model: str) -> bool:
    return True


def text_only(model: str) -> bool:
    return REGISTRY.find(model).kind == "chat"


def filled(name: str, serves: Any = everything, **more: Any) -> tuple[Workflow, tuple[str, ...]]:
    made = TEMPLATES.find(name).fill({**GIVEN[name], **more}, serves=serves)
    return parse_workflow(made.document, made.variables, catalog=CATALOG), made.degraded


def test_there_are_three_with_as_many_steps_as_callers_know() -> None:
    assert {template.name: template.steps for template in TEMPLATES.all} == {
        "code_project": 4,
        "marketing_campaign": 4,
        "research_report": 3,
    }


@pytest.mark.parametrize("name", GIVEN)
def test_a_template_is_a_sound_document_that_makes_what_it_promises(name: str) -> None:
    workflow, degraded = filled(name)
    assert {task.output_variable for task in workflow.tasks()} == PROMISED[name]
    assert unset_names(workflow) == ()
    assert degraded == ()


@pytest.mark.parametrize("name", GIVEN)
def test_a_step_of_a_template_reads_only_what_was_made_before_it(name: str) -> None:
    workflow, _ = filled(name)
    made = set(workflow.variables)
    for block in workflow.blocks:
        before = set(made)
        for task in block.tasks:
            assert task.reads() <= (made if block.type is BlockType.INLINE else before), task.key
            made.add(str(task.output_variable))


@pytest.mark.parametrize("name", GIVEN)
def test_the_users_addons_of_the_templates_are_used_and_temperatures_set(name: str) -> None:
    workflow, _ = filled(name)
    own = [task for task in workflow.tasks() if task.target in {"thinking_ai", "code_ai"}]
    assert all(task.config["addons"] and "temperature" in task.config for task in own)


@pytest.mark.parametrize("name", GIVEN)
def test_every_missing_variable_is_named(name: str) -> None:
    required = {variable.name for variable in TEMPLATES.find(name).variables if variable.required}
    with pytest.raises(InvalidError) as refused:
        TEMPLATES.find(name).fill({}, serves=everything)
    assert set(refused.value.errors) == required
    assert required


@pytest.mark.parametrize("empty", [None, "", "  ", [], {}])
def test_an_empty_variable_is_missing(empty: Any) -> None:
    with pytest.raises(InvalidError) as refused:
        TEMPLATES.find("research_report").fill({"topic": empty}, serves=everything)
    assert list(refused.value.errors) == ["topic"]


def test_a_variable_that_may_be_left_out_has_its_default() -> None:
    made = TEMPLATES.find("research_report").fill({"topic": "tides", "audience": ""}, serves=everything)
    assert made.variables["audience"] == "informed readers who are new to the subject"


@pytest.mark.parametrize(
    ("said", "wanted"), [(True, True), ("true", True), ("Yes", True), (1, True), ("0", False), (False, False)]
)
def test_film_is_only_made_when_asked_for(said: Any, *, wanted: bool) -> None:
    workflow, _ = filled("marketing_campaign", video=said)
    film = next(task for task in workflow.tasks() if task.key == "promotional_video")
    assert film.when is not None
    assert holds(film.when, workflow.variables) is wanted


def test_nobody_who_says_nothing_pays_for_film() -> None:
    workflow, _ = filled("marketing_campaign")
    when = {task.key: task.when for task in workflow.tasks()}
    assert when["promotional_video"] is not None
    assert not holds(when["promotional_video"], workflow.variables)
    assert when["film_script"] is not None
    assert not holds(when["film_script"], workflow.variables)


@pytest.mark.parametrize("said", ["maybe", 2, {"a": 1}, ["yes"]])
def test_a_yes_or_no_that_is_neither_is_refused(said: Any) -> None:
    with pytest.raises(InvalidError, match="video"):
        filled("marketing_campaign", video=said)


@pytest.mark.parametrize(("video", "sentences"), [(False, 1), (True, 2)])
def test_without_models_for_media_they_are_left_out_and_said_so(*, video: bool, sentences: int) -> None:
    workflow, degraded = filled("marketing_campaign", text_only, video=video)
    assert len(degraded) == sentences
    assert workflow.variables["left_out"] == " ".join(degraded)
    scope = {**workflow.variables, "product_image": None}
    left_out = {task.key for task in workflow.tasks() if task.when is not None and not holds(task.when, scope)}
    assert left_out - {"film_script"} == MEDIA


def test_what_is_ruled_out_beforehand_needs_no_provider_and_what_a_step_decides_may() -> None:
    workflow, _ = filled("marketing_campaign", text_only)
    possible = {task.key for task in possible_tasks(workflow)}
    assert possible.isdisjoint({*MEDIA, "film_script"})
    assert possible >= {"campaign_concept", "visual_brief", "completion_message"}
    # Where an image can be made, only its step will say whether there is one to look at.
    assert "image_evaluation" in {task.key for task in possible_tasks(filled("marketing_campaign")[0])}


def test_a_part_that_needs_two_things_is_ruled_out_by_one_that_is_not_there() -> None:
    workflow, _ = filled("marketing_campaign", lambda model: text_only(model) and model != "image_analysis_ai")
    assert "image_evaluation" not in {task.key for task in possible_tasks(workflow)}


@pytest.mark.parametrize(
    ("when", "possible"),
    [
        ({"any": [{"var": "no", "op": "exists"}, {"var": "made", "op": "exists"}]}, True),
        ({"any": [{"var": "no", "op": "exists"}, {"var": "neither", "op": "exists"}]}, False),
        ({"all": [{"var": "yes", "op": "exists"}, {"var": "made", "op": "exists"}]}, True),
        ({"all": [{"any": [{"var": "no", "op": "exists"}]}, {"var": "made", "op": "exists"}]}, False),
        ({"not": {"all": [{"var": "no", "op": "exists"}, {"var": "made", "op": "exists"}]}}, True),
    ],
)
def test_only_what_is_known_beforehand_rules_a_task_out(when: dict[str, Any], *, possible: bool) -> None:
    document = [
        {"tasks": [{"model": "fast_ai", "prompt": "x", "output_variable": "made"}]},
        {"tasks": [{"id": "t", "model": "fast_ai", "prompt": "x", "when": when}]},
    ]
    workflow = parse_workflow(document, {"yes": 1}, catalog=CATALOG)
    assert ("t" in {task.key for task in possible_tasks(workflow)}) is possible


def test_a_caller_cannot_say_that_a_model_is_there() -> None:
    workflow, _ = filled("marketing_campaign", text_only, can_make_film=True, left_out="nothing", video=True)
    assert workflow.variables["can_make_film"] is False
    assert workflow.variables["left_out"].startswith("The product image is not made")


def test_variables_of_the_callers_own_are_passed_on() -> None:
    variables = filled("code_project", ticket=7, left_out="by them")[0].variables
    assert variables == {**GIVEN["code_project"], "ticket": 7, "left_out": "by them"}


def test_an_unknown_template_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="research_report"):
        TEMPLATES.find("poetry")


def test_filling_changes_nothing_in_the_template() -> None:
    template = Template("t", "d", (TemplateVariable("a", "what", required=True),), (), [{"tasks": []}])
    given = {"a": 1}
    template.fill(given, serves=everything)
    assert given == {"a": 1}
    assert template.to_json()["variables"] == [{"name": "a", "description": "what", "required": True, "default": None}]
