"""JSON Schemas of the contract's types, the same under every release of Python."""

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any

import msgspec

Json = dict[str, Any]


def schemas(types: Iterable[Any], ref_template: str) -> dict[str, Json]:
    """Return the schemas of these types and of all types that they refer to, by name.

    `ref_template` is the `$ref` with `{name}`. Descriptions are docstrings without indentation, which Python keeps
    before 3.13.
    """
    _, found = msgspec.json.schema_components(types, ref_template=ref_template)
    return {name: _cleaned(schema) for name, schema in found.items()}


def _cleaned(schema: Json) -> Json:
    """Return the schema with its description unindented."""
    return schema | {"description": cleandoc(schema["description"])} if "description" in schema else schema
