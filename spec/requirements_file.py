"""The requirements.txt of a submission: which packages it may add to those of the benchmark.

Packages of the benchmark are pinned, so only plain numbers have to be compared with a pin. What
needs an installer to decide (pre-releases, URLs of pinned packages, the requirements of
requirements) is reported or left to ``pip check``, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import zip_longest

from spec.clauses import Source, clause
from spec.versions import normal_name, same_release

_DEPENDENCIES = Source("Rules v0.6", "Software dependencies")

_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[A-Za-z0-9._,\s-]*\])?\s*"
    r"(?:@\s*(?P<url>\S+)|\(?(?P<specifiers>[^;@()]*)\)?)\s*(?:;(?P<marker>.*))?",
    re.ASCII,
)
_SPECIFIER = re.compile(r"(===|==|!=|<=|>=|~=|<|>)\s*(\S+)")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_COMMENT = re.compile(r"(?:^|\s)#(.*)")


@clause(
    "VALID-21",
    """A submission lists every package that it needs in a file that pip can read, and asks for no
    other version of a package of the benchmark than the pinned one.""",
    source=(_DEPENDENCIES, Source("Rules v0.6", "FAQs")),
    checked_on="submission",
)
@clause(
    "VALID-22",
    """Packages may be added to those of the benchmark if a comment says what each is and why it was
    added.""",
    source=_DEPENDENCIES,
    checked_on="submission",
)
def check_requirements(requirements: str, pinned: Mapping[str, str]) -> list[str]:
    """Checks a requirements file against the frozen packages of the benchmark.

    A comment counts for a package if it stands on its line or directly above it.

    Args:
      requirements: contents of the file.
      pinned: version by package, see :func:`spec.versions.frozen_packages`.

    Returns:
      One sentence per problem, which starts with the line number; empty if there is none.
    """
    pins = {normal_name(name): version for name, version in pinned.items()}
    problems: list[str] = []
    comment_above = False
    for number, line in _logical_lines(requirements):
        comment = _COMMENT.search(line)
        says_something = bool(comment and comment[1].strip())
        content = (line[: comment.start()] if comment else line).strip()
        if not content:
            # An empty line parts a comment from what follows it.
            comment_above = says_something or (comment_above and comment is not None)
            continue
        problem = _problem(content, pins, says_something or comment_above)
        if problem:
            problems.append(f"line {number}: {problem}")
        comment_above = False
    return problems


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Numbered lines; a backslash at the end of a line joins the next one to it."""
    joined: list[tuple[int, str]] = []
    start, parts = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        start = start or number
        if line.endswith("\\") and not line.lstrip().startswith("#"):
            parts += line[:-1]
            continue
        joined.append((start, parts + line))
        start, parts = 0, ""
    return [*joined, (start, parts)] if parts else joined


def _problem(content: str, pins: Mapping[str, str], commented: bool) -> str | None:
    match = _LINE.fullmatch(content)
    if match is None:
        return f"{content!r} names no package in a way that can be checked"
    name = normal_name(match["name"])
    pin = pins.get(name)
    if pin is None:
        missing = f"{name} is added without a comment that says what it is and why it is needed"
        return None if commented else missing
    if match["url"]:
        return f"{name} is pinned to {pin} and cannot come from {match['url']}"
    for part in filter(None, map(str.strip, match["specifiers"].split(","))):
        specifier = _SPECIFIER.fullmatch(part)
        if specifier is None:
            return f"{part!r} is no version specifier"
        allowed = _allows(specifier[1], specifier[2], pin)
        if allowed is None:
            return f"whether {name}{part} allows the pinned {pin} has to be decided by hand"
        if not allowed:
            return f"{name}{part} conflicts with the pinned {pin}"
    return None


def _allows(operator: str, wanted: str, pin: str) -> bool | None:
    """Whether a specifier accepts the pinned version; None if numbers do not decide it."""
    if operator == "===":
        return wanted == pin
    if operator in ("==", "!="):
        if wanted.endswith(".*"):
            if not (_NUMBERS.fullmatch(wanted[:-2]) and _NUMBERS.fullmatch(pin)):
                return None
            equal = _starts_with(_numbers(pin), _numbers(wanted[:-2]))
        else:
            equal = same_release(pin, wanted)
        return equal is (operator == "==")
    if not (_NUMBERS.fullmatch(wanted) and _NUMBERS.fullmatch(pin)):
        return None
    order = _compare(_numbers(pin), _numbers(wanted))
    if operator == "~=":
        series = _numbers(wanted)[:-1]
        return bool(series) and order >= 0 and _starts_with(_numbers(pin), series)
    return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def _starts_with(version: list[int], prefix: list[int]) -> bool:
    padded = version + [0] * (len(prefix) - len(version))
    return padded[: len(prefix)] == prefix


def _compare(first: list[int], second: list[int]) -> int:
    """Negative, 0 or positive, as the first is older, the same or newer."""
    for ours, theirs in zip_longest(first, second, fillvalue=0):
        if ours != theirs:
            return ours - theirs
    return 0
