"""What holds for every workflow file in `n8n/`, without an n8n; `n8n/try_out.py` runs them in a real one."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "n8n"
FILES = sorted(FOLDER.glob("*.json"))
# Node types and the versions of them that n8n 2.8.4 has; the oldest useful one of each runs on most installations.
VERSIONS = {
    "airtableTrigger": 1,
    "crypto": 2,  # the first that takes its secret from a credential
    "emailSend": 2.1,
    "httpRequest": 4.2,
    "if": 2.2,
    "manualTrigger": 1,
    "respondToWebhook": 1.1,
    "scheduleTrigger": 1.2,
    "set": 3.4,
    "stickyNote": 1,
    "stopAndError": 1,
    "wait": 1.1,
    "webhook": 2,
}
STARTS = {"airtableTrigger", "manualTrigger", "scheduleTrigger", "webhook"}
NO_SECRET = re.compile(r"(?i)bearer [a-z0-9]|sk-[a-z0-9]|\bpat[a-z0-9]{14}|(password|secret|token)\"\s*:\s*\"[^\"]+\"")

Node = dict[str, Any]
Workflow = dict[str, Any]


def kind(node: Node) -> str:
    """The node's type without n8n's prefix."""
    return str(node["type"]).removeprefix("n8n-nodes-base.")


def nodes_of(workflow: Workflow, wanted: str) -> list[Node]:
    """All nodes of one type."""
    return [node for node in workflow["nodes"] if kind(node) == wanted]


def targets(workflow: Workflow, name: str) -> list[list[str]]:
    """Names that a node's outputs lead to, an entry an output."""
    outputs = workflow["connections"].get(name, {}).get("main", [])
    return [[link["node"] for link in output] for output in outputs]


def read(name: str) -> Workflow:
    workflow: Workflow = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return workflow


def request_to(workflow: Workflow, path: str) -> Node:
    """The one request whose address ends with a path."""
    (found,) = [node for node in nodes_of(workflow, "httpRequest") if path in node["parameters"]["url"]]
    return found


def headers_of(node: Node) -> dict[str, str]:
    return {header["name"]: header["value"] for header in node["parameters"]["headerParameters"]["parameters"]}


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def workflow(request: pytest.FixtureRequest) -> Workflow:
    return read(request.param.name)


def test_the_four_workflows_are_there() -> None:
    assert [path.stem for path in FILES] == ["daily_batch", "like_from_airtable", "long_run", "manual_generation"]


def test_workflow_ids_and_names_tell_the_files_apart() -> None:
    workflows = [read(path.name) for path in FILES]
    assert len({workflow["id"] for workflow in workflows}) == len(FILES)
    assert len({workflow["name"] for workflow in workflows}) == len(FILES)
    assert not any(workflow["active"] for workflow in workflows)


def test_every_node_is_of_a_version_that_n8n_2_8_4_has(workflow: Workflow) -> None:
    assert {kind(node): node["typeVersion"] for node in workflow["nodes"]}.items() <= VERSIONS.items()


def test_nodes_have_names_and_ids_of_their_own(workflow: Workflow) -> None:
    assert len({node["name"] for node in workflow["nodes"]}) == len(workflow["nodes"])
    assert len({node["id"] for node in workflow["nodes"]}) == len(workflow["nodes"])


def test_a_manual_trigger_comes_first_so_that_n8n_execute_starts_there(workflow: Workflow) -> None:
    assert kind(workflow["nodes"][0]) == "manualTrigger"
    others = STARTS & {kind(node) for node in workflow["nodes"]} - {"manualTrigger"}
    assert others, "nothing but a hand could start it"


def test_connections_name_nodes_that_exist_and_leave_none_out(workflow: Workflow) -> None:
    names = {node["name"] for node in workflow["nodes"]}
    links = [
        (name, target) for name in workflow["connections"] for branch in targets(workflow, name) for target in branch
    ]
    assert {name for link in links for name in link} <= names
    reached = {target for _, target in links}
    for node in workflow["nodes"]:
        if kind(node) != "stickyNote":
            assert (node["name"] in reached) is (kind(node) not in STARTS), node["name"]


def test_every_question_has_both_answers_and_every_error_output_leads_somewhere(workflow: Workflow) -> None:
    for node in workflow["nodes"]:
        if kind(node) == "if" or node.get("onError") == "continueErrorOutput":
            outputs = targets(workflow, node["name"])
            assert len(outputs) == 2, node["name"]
            assert outputs[1], node["name"]
            # a like that was taken needs nothing further
            assert outputs[0] or node["name"] == "Record the like", node["name"]


def test_expressions_name_nodes_that_exist(workflow: Workflow) -> None:
    names = {node["name"] for node in workflow["nodes"]}
    assert set(re.findall(r"\$\('([^']+)'\)", json.dumps(workflow))) <= names


def test_the_environment_is_not_read_because_n8n_2_blocks_it(workflow: Workflow) -> None:
    assert "$env" not in json.dumps(workflow)


def test_code_that_runs_in_a_task_runner_is_not_needed(workflow: Workflow) -> None:
    assert not nodes_of(workflow, "code")


def test_the_address_stands_in_one_settings_node(workflow: Workflow) -> None:
    (settings,) = [node for node in nodes_of(workflow, "set") if node["name"] == "Settings"]
    fields = {field["name"]: field["value"] for field in settings["parameters"]["assignments"]["assignments"]}
    assert fields["batuta_url"] == "http://127.0.0.1:8001"
    for node in nodes_of(workflow, "httpRequest"):
        assert node["parameters"]["url"].startswith("={{ $('Settings').first().json.batuta_url }}/"), node["name"]
    assert json.dumps(workflow).count("127.0.0.1") == 1


def test_no_secret_stands_in_the_file(workflow: Workflow) -> None:
    assert not NO_SECRET.search(json.dumps(workflow))
    for node in nodes_of(workflow, "httpRequest"):
        assert node["parameters"]["genericAuthType"] == "httpBearerAuth", node["name"]
        assert set(node["credentials"]["httpBearerAuth"]) == {"id", "name"}, node["name"]


def test_every_webhook_asks_for_a_key(workflow: Workflow) -> None:
    for node in nodes_of(workflow, "webhook"):
        assert node["parameters"]["authentication"] == "headerAuth"
        assert node["credentials"].keys() == {"httpHeaderAuth"}


def test_every_post_carries_a_key_that_a_second_try_repeats(workflow: Workflow) -> None:
    for node in nodes_of(workflow, "httpRequest"):
        if node["parameters"]["method"] == "POST":
            key = headers_of(node)["Idempotency-Key"]
            # worked out in an earlier node: n8n works a node's own expressions out again for each try
            assert "request_key" in key, node["name"]
            assert node["retryOnFail"], node["name"]


@pytest.mark.parametrize("path", ["/events/daily_batch", "/events/manual_generate", "/wait?timeout", "/workflow"])
def test_an_answer_with_an_error_field_is_read_whole_because_n8n_tries_it_again_otherwise(path: str) -> None:
    (node,) = [
        node for file in FILES for node in nodes_of(read(file.name), "httpRequest") if path in node["parameters"]["url"]
    ]
    assert node["parameters"]["options"]["response"]["response"]["fullResponse"] is True


def test_timeouts_are_those_the_callers_have_always_had() -> None:
    daily, manual = read("daily_batch.json"), read("manual_generation.json")
    assert request_to(daily, "/events/daily_batch")["parameters"]["options"]["timeout"] == 300_000
    assert request_to(manual, "/events/manual_generate")["parameters"]["options"]["timeout"] == 120_000


def test_no_request_is_without_a_timeout(workflow: Workflow) -> None:
    for node in nodes_of(workflow, "httpRequest"):
        assert 0 < node["parameters"]["options"]["timeout"] <= 300_000, node["name"]


def test_the_daily_batch_starts_at_six_and_looks_at_health_first() -> None:
    workflow = read("daily_batch.json")
    (schedule,) = nodes_of(workflow, "scheduleTrigger")
    assert schedule["parameters"]["rule"]["interval"] == [{"field": "cronExpression", "expression": "0 6 * * *"}]
    assert workflow["settings"]["timezone"]
    health, batch = request_to(workflow, "/health"), request_to(workflow, "/events/daily_batch")
    assert targets(workflow, health["name"])[0] == [batch["name"]]
    assert batch["parameters"]["jsonBody"] == "{}"


def test_one_key_a_day_unless_a_person_asks() -> None:
    (settings,) = [node for node in nodes_of(read("daily_batch.json"), "set") if node["name"] == "Settings"]
    (key,) = [f["value"] for f in settings["parameters"]["assignments"]["assignments"] if f["name"] == "request_key"]
    assert "$now.toFormat('yyyy-LL-dd')" in key
    assert "$('By hand').isExecuted" in key


@pytest.mark.parametrize("mail", ["Mail the result", "Mail the error"])
def test_mails_say_what_came_of_the_batch(mail: str) -> None:
    (node,) = [node for node in nodes_of(read("daily_batch.json"), "emailSend") if node["name"] == mail]
    text = node["parameters"]["text"]
    for field in ("ideas_generated", "prompts_generated", "retrain_triggered", "summary", "error", "degraded"):
        assert f"$json.{field}" in text, field


def test_success_false_and_every_failed_request_end_in_the_error_mail() -> None:
    workflow = read("daily_batch.json")
    assert targets(workflow, "Success") == [["Mail the result"], ["Mail the error"]]
    assert targets(workflow, "What went wrong") == [["Mail the error"]]
    for node in nodes_of(workflow, "httpRequest"):
        assert targets(workflow, node["name"])[1] == ["What went wrong"], node["name"]


def test_manual_generation_sends_what_callers_leave_out() -> None:
    (settings,) = [node for node in nodes_of(read("manual_generation.json"), "set") if node["name"] == "Settings"]
    fields = {field["name"]: field["value"] for field in settings["parameters"]["assignments"]["assignments"]}
    assert fields["num_prompts"] == "={{ $json.body?.num_prompts || 12 }}"
    assert fields["renderer"] == '={{ $json.body?.renderer || "ImageFX" }}'
    assert fields["force_retrain"] == "={{ $json.body?.force_retrain || false }}"


def test_a_long_run_is_called_back_at_its_wait_node() -> None:
    workflow = read("long_run.json")
    start = request_to(workflow, "/workflow")
    assert headers_of(start)["Prefer"] == "respond-async"
    assert "callback_url: $execution.resumeUrl" in start["parameters"]["jsonBody"]
    (wait,) = nodes_of(workflow, "wait")
    assert targets(workflow, start["name"]) == [[wait["name"]]]
    assert (wait["parameters"]["resume"], wait["parameters"]["httpMethod"]) == ("webhook", "POST")
    assert wait["parameters"]["options"]["rawBody"] is True


def test_a_callback_that_is_not_signed_by_batuta_goes_back_to_waiting() -> None:
    workflow = read("long_run.json")
    (wait,) = nodes_of(workflow, "wait")
    (sign,) = nodes_of(workflow, "crypto")
    asked = {"action": "hmac", "type": "SHA256", "encoding": "hex", "binaryData": True}
    assert asked.items() <= sign["parameters"].items()
    assert targets(workflow, "Signed by Batuta") == [["Read the run"], [wait["name"]]]
