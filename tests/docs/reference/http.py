"""Reference of the HTTP API, from its OpenAPI description and the table of rights."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.coordinator.app import rights_of
from services.coordinator.http.rights import ANYONE, SOMEONE, Right
from shared.domain.roles import LEAST
from tests.contracts.documents import described
from tests.docs.reference.page import code, page, table
from tests.docs.reference.source import line, paragraphs

Json = dict[str, Any]
_NEEDS: Final[dict[Right, str]] = {
    ANYONE: "Needs no key.",
    SOMEONE: "Needs any valid key.",
    **{action: f"Needs the action `{action}`: the role `{role}` or higher." for action, role in LEAST.items()},
}


def document() -> str:
    """The page."""
    app = described()
    description, rights = app.openapi(), rights_of(app).table
    operations = list(_operations(description))
    return page(
        "HTTP API",
        paragraphs(description["info"]["description"]),
        "The base URL is `http://127.0.0.1:8400` unless `DOSSIER_API_HOST` and `DOSSIER_API_PORT` say otherwise. Send"
        " a key as `Authorization: Bearer <key>`. For programs there is [openapi.json](openapi.json), which a"
        " running coordinator serves at `/openapi.json`. [Errors](errors.md) explains the codes. The"
        " [guide](../guides/http.md) has examples.",
        "\n".join(f"- [`{name}`](#{_anchor(name)}): {summary(operation)}" for name, operation in operations),
        *(_section(name, operation, rights, description["components"]["schemas"]) for name, operation in operations),
        "## Other routes\n\nThese are not part of the described API: probes, metrics and the web pages.\n\n"
        + table(
            ("Route", "Needs"),
            (
                (code(f"{method} {path}"), _NEEDS[need].removeprefix("Needs ").rstrip("."))
                for (method, path), need in rights.items()
                if method.lower() not in description["paths"].get(path, {})
            ),
        ),
    )


def _operations(description: Json) -> Iterator[tuple[str, Json]]:
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            yield f"{method.upper()} {path}", operation


def _anchor(name: str) -> str:
    return "".join(each for each in name.lower().replace(" ", "-") if each.isalnum() or each in "-_")


def summary(operation: Json) -> str:
    """What an operation does, in a line."""
    return line(operation.get("description") or operation["summary"])


def _section(name: str, operation: Json, rights: Mapping[tuple[str, str], Right], schemas: Json) -> str:
    method, path = name.split(" ")
    parameters = operation.get("parameters", [])
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    return "\n\n".join(
        part
        for part in (
            f"## {name}",
            summary(operation),
            _NEEDS[rights[method, path]],
            table(
                ("Parameter", "In", "Type", "Description"),
                (
                    (code(each["name"]), each["in"], _type(each["schema"]), line(each.get("description")))
                    for each in parameters
                ),
            ),
            _body(body, schemas) if body else "",
            _success(operation["responses"]),
            table(("Refusal", "Codes"), _refusals(operation["responses"])),
        )
        if part
    )


def _body(schema: Json, schemas: Json) -> str:
    described = _resolved(schema, schemas)
    required = described.get("required", [])
    rows = (
        (
            code(name),
            _type(field),
            "required" if name in required else code(_default(field.get("default"))),
            line(field.get("description")),
        )
        for name, field in described["properties"].items()
    )
    return table(("Body field", "Type", "Default", "Description"), rows)


def _resolved(schema: Json, schemas: Json) -> Json:
    for option in schema.get("anyOf", [schema]):
        if "$ref" in option:
            return schemas[option["$ref"].rpartition("/")[2]]
    return schema


def _type(schema: Json) -> str:
    if "anyOf" in schema:
        options = [_type(each) for each in schema["anyOf"] if each.get("type") != "null"]
        return " or ".join(dict.fromkeys(options))
    if "enum" in schema:
        return ", ".join(code(value) for value in schema["enum"])
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    if schema.get("type") == "object":
        return "object"
    return schema.get("format") or schema.get("type") or code(str(schema["const"]))


def _default(value: object) -> str:
    match value:
        case None | "" | [] | {}:
            return ""
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _success(responses: Json) -> str:
    kinds = [
        f"{status} with {' or '.join(code(kind) for kind in response['content'])}"
        for status, response in responses.items()
        if status.startswith("2") and response.get("content")
    ]
    return f"Answers {', '.join(kinds)}." if kinds else ""


def _refusals(responses: Json) -> Iterator[tuple[str, str]]:
    for status, response in responses.items():
        if status[0] in "45":
            title, _, codes = response["description"].partition(": ")
            yield f"{status} {title}", codes
