"""``submission_info.json``: what a submission is called, who entered it, and under which rules.

The rules ask for a licence and know two rulesets, but name no file that says so; this one does.
"""

from __future__ import annotations

import json
import keyword
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from algoperf_ref.errors import UserError
from spec.clauses import VERSIONS
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.validity import check_licence

INFO_FILE = "submission_info.json"

TO_FILL_IN = "TODO:"
"""What a text starts with that the author has yet to write."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "framework": FRAMEWORKS,
    "ruleset": tuple(Tuning),
    "rules": VERSIONS,
}
_IS_LIST = {
    "name": False,
    "authors": True,
    "affiliations": True,
    "description": False,
    "license": False,
}

RESERVED = frozenset(sys.stdlib_module_names) | {
    *("algoperf", "algoperf_ref", "algorithmic_efficiency", "conformance_tests", "flax", "jax"),
    *("numpy", "optax", "perf_tests", "property_tests", "reference_submissions", "spec", "torch"),
}
"""Modules that a directory of the same name could hide."""


def name_problem(name: str) -> str | None:
    """Says why a submission cannot have a name; None if it can.

    Its directory may become a package, and others import it then: the name is an identifier in
    ASCII, and no other module's.
    """
    if not (name.isascii() and name.isidentifier()):
        return "a name has letters of ASCII, digits and underscores, and starts with no digit"
    if keyword.iskeyword(name):
        return "it is a word of the Python language"
    if name.startswith("_"):
        return "a name that starts with an underscore is private"
    if name.casefold() in RESERVED:
        return f"a directory of this name could hide the module {name.casefold()}"
    return None


def read_info(file: Path) -> dict[str, Any]:
    """Reads a metadata file.

    Raises:
      UserError: no such file, or no JSON object.
    """
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{file} is missing; python -m algoperf_ref.new_submission writes one"
        ) from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as JSON: {error}") from error
    if not isinstance(info, dict):
        raise UserError(f"{file}: must be an object with fields such as 'name'")
    return info


def check_info(info: Mapping[str, Any]) -> list[str]:
    """Checks the fields of a metadata file.

    Args:
      info: ``name``, ``framework``, ``ruleset``, ``rules``, ``authors``, ``affiliations``,
        ``description``, ``license``; others, such as ``date``, are not looked at.

    Returns:
      One sentence per problem, which names the field; empty if there is none.
    """
    problems = []
    for field, is_list in _IS_LIST.items():
        value = info.get(field)
        texts = value if is_list else [value]
        if not isinstance(texts, list) or not texts:
            problems.append(f"{field!r} must be a list of at least one text")
            continue
        found = {_text_problem(field, text) for text in texts}
        problems += sorted(problem for problem in found if problem)
    for field, known in CHOICES.items():
        if info.get(field) not in known:
            problems.append(f"{field!r} must be one of {', '.join(known)}")
    name, licence = info.get("name"), info.get("license")
    if isinstance(name, str) and (reason := name_problem(name)):
        problems.append(f"'name' cannot be {name!r}: {reason}")
    if isinstance(licence, str):
        problems += [f"'license': {problem}" for problem in check_licence(licence)]
    return problems


def _text_problem(field: str, value: Any) -> str | None:
    if not isinstance(value, str) or not value.strip():
        return f"{field!r} must be a text, and not empty"
    if value.lstrip().startswith(TO_FILL_IN):
        return f"{field!r} is still to be filled in"
    return None
