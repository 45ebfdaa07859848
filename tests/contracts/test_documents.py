"""The descriptions in `docs/reference/` are those of the code, whole, and right in the eyes of others' tools."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

from shared.contracts.envelope import MAX_BYTES
from shared.contracts.facts import Fact
from shared.contracts.subjects import Slot, parse_slot
from tests.contracts import asyncapi
from tests.contracts.documents import DOCUMENTS
from tests.harness import node

Json = dict[str, Any]
OPENAPI, ASYNCAPI = (json.loads(path.read_text()) for path in DOCUMENTS)
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in OPENAPI["paths"].items()
    for method, operation in operations.items()
}
every_operation = pytest.mark.parametrize("name", OPERATIONS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_no_description_keeps_the_indentation_of_a_docstring(path: Path):
    """Python keeps it before 3.13 and drops it from then on; the contract is the same under both."""
    assert "\\n    " not in path.read_text()


# Others' tools


CHECK = """
import { readFileSync } from "node:fs";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Parser } from "@asyncapi/parser";

async function complaints(document) {
  if (document.openapi) {
    const { valid, errors } = await new Validator().validate(document);
    return valid ? [] : errors ?? ["invalid"];
  }
  const { diagnostics } = await new Parser().parse(JSON.stringify(document));
  return diagnostics.map(({ message, path }) => `${path?.join(".")}: ${message}`);
}

const documents = JSON.parse(readFileSync(process.argv[2], "utf8"));
console.log(JSON.stringify(await Promise.all(documents.map(complaints))));
"""


def test_others_tools_take_them_without_a_word_and_would_have_one(tmp_path: Path):
    broken = [OPENAPI | {"info": {}}, ASYNCAPI | {"channels": {"x": {"address": 1}}}]
    file = tmp_path / "documents.json"
    file.write_text(json.dumps([OPENAPI, ASYNCAPI, *broken]))
    done = node.run(CHECK, str(file), folder=node.packages())
    assert done.returncode == 0, done.stderr
    openapi, asyncapi, *wrong = json.loads(done.stdout)
    assert (openapi, asyncapi) == ([], [])
    assert all(wrong)


# HTTP


def examples(content: Json) -> Iterator[object]:
    if "example" in content:
        yield content["example"]
    yield from (each["value"] for each in content.get("examples", {}).values())


def assert_fits(example: object, schema: Json, document: Json) -> None:
    validator = Draft202012Validator(schema | {"components": document["components"]})
    assert [f"{fault.json_path}: {fault.message}" for fault in validator.iter_errors(example)] == []


@every_operation
def test_each_body_that_is_taken_or_given_has_an_example_that_fits(name: str):
    operation = OPERATIONS[name]
    contents = [operation["requestBody"]] if "requestBody" in operation else []
    contents += [response for status, response in operation["responses"].items() if status.startswith("2")]
    assert any("content" in each for each in contents)
    for content in (content for each in contents for content in each.get("content", {}).values()):
        shown = list(examples(content))
        assert shown
        for example in shown:
            assert_fits(example, content["schema"], OPENAPI)


@every_operation
def test_each_refusal_is_a_problem_with_the_codes_that_it_may_have(name: str):
    refusals = {status: each for status, each in OPERATIONS[name]["responses"].items() if status[0] in "45"}
    assert {"422", "500", "502", "503"} <= set(refusals)
    for status, refusal in refusals.items():
        content = refusal["content"]["application/problem+json"]
        for code, example in content["examples"].items():
            assert_fits(example["value"], content["schema"], OPENAPI)
            assert (example["value"]["code"], str(example["value"]["status"])) == (code, status)


def test_a_webhook_is_described_with_an_example_that_fits():
    assert set(OPENAPI["webhooks"]) == {"hold.opened", "deadline.near", "run.ended"}
    for webhook in OPENAPI["webhooks"].values():
        content = webhook["post"]["requestBody"]["content"]["application/json"]
        assert_fits(content["example"], content["schema"], OPENAPI)


# NATS


def messages() -> dict[str, Json]:
    return ASYNCAPI["components"]["messages"]


@pytest.mark.parametrize("name", messages())
def test_each_example_of_a_message_fits_its_schema(name: str):
    message = messages()[name]
    for example in message.get("examples", []):
        assert_fits(example["payload"], message["payload"], ASYNCAPI)
        assert len(json.dumps(example["payload"])) < MAX_BYTES


def test_every_fact_is_on_a_channel():
    tags = {fact.__struct_config__.tag for fact in get_args(Fact)}
    slots = {name: channel for name, channel in ASYNCAPI["channels"].items() if name.startswith("slot_")}
    assert {tag for channel in slots.values() for tag in channel["messages"]} == tags
    assert "slot_other" not in slots


@pytest.mark.parametrize("name", [name for name in ASYNCAPI["channels"] if name.startswith("slot_")])
def test_each_slot_is_addressed_as_it_is_written(name: str):
    channel = ASYNCAPI["channels"][name]
    address: str = channel["address"]
    for parameter in channel["parameters"]:
        address = address.replace(
            f"{{{parameter}}}", {"run": "r1", "kind": "plan", "voter": "0" * 32}.get(parameter, "1")
        )
    slot = parse_slot(address)
    assert isinstance(slot, Slot), address
    assert slot.subject == address


def test_what_others_may_publish_is_received_and_all_else_is_sent():
    received = {each["channel"]["$ref"] for each in ASYNCAPI["operations"].values() if each["action"] == "receive"}
    assert received == {f"#/channels/{name}" for name in ("requested", "approved", "rejected", "cancelled")}


def test_types_are_described_from_the_types():
    assert set(asyncapi.document()["components"]["schemas"]) >= {fact.__name__ for fact in get_args(Fact)}
