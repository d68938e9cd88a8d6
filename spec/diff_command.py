"""The command ``python -m spec diff``: what changed between two versions, as text or as data."""

from __future__ import annotations

import argparse
import enum
import json
from collections.abc import Iterator, Sequence
from typing import Any

from spec import workloads
from spec.clauses import VERSIONS
from spec.diff import ABSENT, Change, diff
from spec.text import FORMATS, UsageError, choose, markdown_table


def add_command(commands: Any, options: argparse.ArgumentParser) -> None:
    """Adds ``python -m spec diff``."""
    parser = commands.add_parser(
        "diff", parents=[options], help="what changed between two ruleset versions"
    )
    parser.add_argument("old", metavar="OLD", help=f"ruleset version ({', '.join(VERSIONS)})")
    parser.add_argument("new", metavar="NEW", help="ruleset version")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> str:
    form = choose(arguments.format, FORMATS, "format")
    if arguments.version is not None:
        raise UsageError("diff compares the two versions that it is given; leave out --version")
    old = choose(arguments.old, VERSIONS, "ruleset version")
    new = choose(arguments.new, VERSIONS, "ruleset version")
    changes = diff(old, new)
    if form == "json":
        return json.dumps(
            {"old": old, "new": new, "changes": [_as_dict(change) for change in changes]},
            indent=2,
            default=_plain,
        )
    if form == "markdown":
        own, _ = _without_inherited(changes)
        rows = [
            (c.kind, c.subject, c.field, _shown(c.before), _shown(c.after), ", ".join(c.clauses))
            for c in own
        ]
        return markdown_table(("kind", "subject", "value", old, new, "clauses"), rows)
    return "\n".join(_text(old, new, changes))


def _as_dict(change: Change) -> dict[str, Any]:
    """A change as JSON; a side on which the value is absent has no key."""
    both = {"before": change.before, "after": change.after}
    return {
        "kind": change.kind,
        "subject": change.subject,
        "field": change.field,
        **{side: value for side, value in both.items() if value is not ABSENT},
        "clauses": list(change.clauses),
    }


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _without_inherited(changes: Sequence[Change]) -> tuple[list[Change], int]:
    """Leaves out changes that a variant shares with its base workload, and counts them."""
    of_bases = {(c.subject, c.field, c.before, c.after) for c in changes if c.kind == "workloads"}
    own = [
        c
        for c in changes
        if c.kind != "variants"
        or (workloads.base_name(c.subject), c.field, c.before, c.after) not in of_bases
    ]
    return own, len(changes) - len(own)


def _text(old: str, new: str, changes: Sequence[Change]) -> Iterator[str]:
    found, inherited = _without_inherited(changes)
    yield f"{old} -> {new}: {len(changes)} value{'' if len(changes) == 1 else 's'} changed"
    if inherited:
        yield f"{inherited} of them are variants that follow their base workload and are not shown"
    kind = ""
    for change in found:
        if change.kind != kind:
            kind = change.kind
            yield ""
            yield kind.upper()
        cited = f" [{', '.join(change.clauses)}]" if change.clauses else ""
        if kind == "clauses":
            side, text = (new, change.after) if change.before is ABSENT else (old, change.before)
            yield f"{change.subject} (only {side}): {text}"
        else:
            values = f"{_shown(change.before)} -> {_shown(change.after)}"
            yield f"{change.subject}.{change.field}: {values}{cited}"


def _shown(value: object) -> str:
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, (tuple, list)):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
