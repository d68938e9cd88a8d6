"""Test vectors for other harnesses and scorers: ``python -m spec vectors --output DIR``.

The cases themselves, their format and the runner are in :mod:`spec.cases`. Here they become a
directory that needs nothing of this package, and examples for ``python -m spec show``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spec import cases
from spec.cases import AREAS, Case, Verdict, encode
from spec.cases.runner import Failure, Refused, check, run_case
from spec.clauses import Source, load_all
from spec.text import UsageError, escape, wrap

__all__ = [
    "Failure",
    "Refused",
    "add_command",
    "check",
    "documents",
    "examples",
    "examples_json",
    "examples_markdown",
    "examples_text",
    "run_case",
    "write",
]


def layout(content: Mapping[str, Any]) -> str:
    """Returns an area file as JSON text, one key of a case per line."""
    lines = ["{"]
    for key, value in content.items():
        if key == "cases":
            continue
        lines.append(f"  {json.dumps(key)}: {_indented(value)},")
    lines.append('  "cases": [')
    blocks = []
    for case in content["cases"]:
        keys = [f"      {json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in case.items()]
        blocks.append("    {\n" + ",\n".join(keys) + "\n    }")
    lines.append(",\n".join(blocks))
    return "\n".join([*lines, "  ]", "}", ""])


def documents() -> dict[str, str]:
    """Returns the content of every file of the exported directory, by name.

    An area file has, beside what is stored in this package, the statements, sources and versions of
    the clauses that its cases cite.
    """
    clauses = load_all()
    result = {name: cases.text(name) for name in ("README.md", "schema.json")}
    for area in AREAS:
        stored = cases.raw(area)
        cited = sorted(
            {id for case in cases.load(area) for id in case.clauses}, key=list(clauses).index
        )
        result[f"{area}.json"] = layout(
            {
                "$schema": "schema.json",
                "area": area,
                "clauses": {
                    id: {
                        "statement": clauses[id].statement,
                        "sources": [_source(source) for source in clauses[id].sources],
                        "versions": list(clauses[id].versions),
                    }
                    for id in cited
                },
                "one_verdict": stored["one_verdict"],
                "cases": stored["cases"],
            }
        )
    return result


def write(directory: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
    """Writes the test vectors.

    Every file is written under another name first and renamed when all are complete, so that a
    reader never sees a part of one, and nothing is replaced if the disk is full.

    Args:
      directory: where to write; made if it does not exist.
      overwrite: write into a directory that is not empty; files of the same names are replaced,
        others stay.

    Returns:
      The files.

    Raises:
      UsageError: the directory is not empty, is a file, or cannot be written.
    """
    target = Path(directory)
    content = documents()
    new: dict[Path, Path] = {}
    try:
        if target.exists() and not target.is_dir():
            raise UsageError(f"{target} is a file; --output names a directory")
        if target.is_dir() and any(target.iterdir()) and not overwrite:
            raise UsageError(
                f"the directory {target} is not empty; with --overwrite files of the same names "
                "are replaced"
            )
        target.mkdir(parents=True, exist_ok=True)
        for name, text in content.items():
            unfinished = target / f".{name}.{os.getpid()}"
            new[unfinished] = target / name
            unfinished.write_text(text, encoding="utf-8", newline="\n")
        for unfinished, path in new.items():
            unfinished.replace(path)
    except OSError as error:
        for unfinished in new:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
        raise UsageError(f"cannot write to {target}: {error.strerror or error}") from None
    return list(new.values())


def examples(clause: str) -> dict[Verdict, list[Case]]:
    """Returns the cases of a clause by verdict.

    The first rejected case is one that lies next to the first accepted one, where there is such a
    pair; so the two show where the rule draws its line.

    Args:
      clause: id of a clause.

    Returns:
      Accepted and rejected cases; both lists are empty for a clause outside of the areas.
    """
    own = [case for case in cases.load_all() if clause in case.clauses]
    accepted = [case for case in own if case.verdict is Verdict.ACCEPTED]
    rejected = [case for case in own if case.verdict is Verdict.REJECTED]
    by_id = {case.id: case for case in accepted}
    pairs = [(by_id[case.near], case) for case in rejected if case.near in by_id]
    if pairs:
        smallest = min(pairs, key=lambda pair: _size(pair[0]) + _size(pair[1]))
        accepted.sort(key=lambda case: case is not smallest[0])
        rejected.sort(key=lambda case: case is not smallest[1])
    elif accepted:
        accepted.sort(key=_size)
    return {Verdict.ACCEPTED: accepted, Verdict.REJECTED: rejected}


def examples_json(clause: str) -> dict[str, list[dict[str, Any]]]:
    """Returns the cases of a clause as they stand in the files, by verdict."""
    stored = {entry["id"]: entry for area in AREAS for entry in cases.raw(area)["cases"]}
    return {
        verdict.value: [stored[case.id] for case in found]
        for verdict, found in examples(clause).items()
    }


def examples_text(clause: str) -> str:
    """Returns the cases of a clause as lines for ``python -m spec show``, empty without cases.

    The first case of each verdict is given in full, the others by id and title.
    """
    lines: list[str] = []
    for verdict, found in examples(clause).items():
        for index, case in enumerate(found):
            lines += wrap(f"  {verdict.value}: {case.title} ({case.id})", indent=" " * 4)
            if index == 0:
                for part in _parts(case):
                    lines += wrap(f"    {part}", indent=" " * 6)
    return "\n".join(lines)


def examples_markdown(clause: str) -> str:
    """Returns the same as :func:`examples_text` in Markdown."""
    lines: list[str] = []
    for verdict, found in examples(clause).items():
        for index, case in enumerate(found):
            lines.append(f"- {verdict.value}: {escape(case.title)} (`{case.id}`)")
            if index == 0:
                words = (part.split(" ", 1) for part in _parts(case))
                lines += [f"  - {word} `{content}`" for word, content in words]
    return "\n".join(lines)


def add_command(
    commands: argparse._SubParsersAction[Any], options: argparse.ArgumentParser
) -> None:
    """Adds ``vectors`` to the command line (see :mod:`spec.__main__`)."""
    parser = commands.add_parser(
        "vectors", help="write the test vectors for other harnesses and scorers"
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="directory to write; a new or empty one"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files in a directory that is not empty"
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> str:
    files = write(arguments.output, overwrite=arguments.overwrite)
    number = len(cases.load_all())
    return f"wrote {number} cases in {len(files)} files to {arguments.output}; see README.md there"


def _source(source: Source) -> dict[str, str]:
    return {"document": source.document, "section": source.section}


def _indented(value: Any) -> str:
    return json.dumps(value, indent=2, allow_nan=False).replace("\n", "\n  ")


def _parts(case: Case) -> list[str]:
    parts = [("given", case.given), ("when", case.when), ("expect", case.expect)]
    lines = [f"{name} {json.dumps(encode(value))}" for name, value in parts if value]
    return [*lines, *([f"why {case.why}"] if case.why else [])]


def _size(case: Case) -> int:
    return len(json.dumps(encode([case.given, case.when])))
