"""The part of JSON Schema (draft 2020-12) that our own schemas use, small enough to see through."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

TYPES: Mapping[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
}
ANNOTATIONS = {"$schema", "title", "description", "$defs"}


def problems(
    value: Any, schema: Mapping[str, Any], root: Mapping[str, Any] | None = None, where: str = "$"
) -> list[str]:
    """Says where a value does not keep to a schema, one entry per broken keyword.

    A keyword that is not known here is an error, so that a schema cannot ask for more than is
    checked.
    """
    root = root or schema
    found: list[str] = []

    def at(part: str | int) -> str:
        return f"{where}/{part}"

    for keyword, content in schema.items():
        if keyword in ANNOTATIONS:
            continue
        wrong = False
        if keyword == "$ref":
            target = root["$defs"][content.removeprefix("#/$defs/")]
            found += problems(value, target, root, where)
        elif keyword == "type":
            wrong = not TYPES[content](value)
        elif keyword == "const":
            wrong = value != content
        elif keyword == "enum":
            wrong = value not in content
        elif keyword == "pattern":
            wrong = isinstance(value, str) and not re.search(content, value)
        elif keyword == "minLength":
            wrong = isinstance(value, str) and len(value) < content
        elif keyword == "minItems":
            wrong = isinstance(value, list) and len(value) < content
        elif keyword == "minProperties":
            wrong = isinstance(value, dict) and len(value) < content
        elif keyword == "exclusiveMinimum":
            wrong = TYPES["number"](value) and value <= content
        elif keyword == "uniqueItems":
            wrong = isinstance(value, list) and any(v in value[:i] for i, v in enumerate(value))
        elif keyword == "required":
            if isinstance(value, dict):
                found += [f"{at(key)} is missing" for key in content if key not in value]
        elif keyword == "properties":
            if isinstance(value, dict):
                for key in value.keys() & content.keys():
                    found += problems(value[key], content[key], root, at(key))
        elif keyword == "additionalProperties":
            if isinstance(value, dict):
                for key in value.keys() - schema.get("properties", {}).keys():
                    if content is False:
                        found.append(f"{at(key)} is not known")
                    else:
                        found += problems(value[key], content, root, at(key))
        elif keyword == "propertyNames":
            if isinstance(value, dict):
                for key in value:
                    found += problems(key, content, root, at(key))
        elif keyword == "items":
            if isinstance(value, list):
                for index, element in enumerate(value):
                    found += problems(element, content, root, at(index))
        else:
            raise NotImplementedError(f"the schema uses {keyword!r}")
        if wrong:
            found.append(f"{where}: {keyword} {content}, is {value!r}")
    return found
