"""``python -m algoperf_ref.submission_check DIRECTORY``: is a submission complete and loadable?

Looks at the files of a submission as they would be handed in: that they are those of its ruleset,
that the licence is the right one, that search space and requirements are well-formed, that the
functions are there, and that nothing is left to fill in. What a submission does when it trains is
for the harness and for reviewers to find.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.harness.batch_size import training_batch_size
from algoperf_ref.harness.hyperparameters import read_search_space
from algoperf_ref.harness.loading import loaded_submission
from algoperf_ref.submission_info import CHOICES, INFO_FILE, TO_FILL_IN, check_info, read_info
from spec import workloads
from spec.rulesets import Tuning
from spec.validity import REQUIREMENTS_FILE, SEARCH_SPACE_FILE, check_files, check_requirements
from spec.versions import frozen_packages

CONSTRAINTS = Path(__file__).parents[1] / "constraints"
README = "README.md"


def check_directory(directory: Path) -> list[str]:
    """Checks the directory of a submission. The submission is imported.

    Args:
      directory: with ``submission.py`` and ``submission_info.json``.

    Returns:
      One sentence per problem, which starts with the file; empty if there is none.

    Raises:
      UserError: there is no such directory, or no metadata file in it that can be read.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: there is no such directory")
    info = read_info(directory / INFO_FILE)
    problems = [f"{INFO_FILE}: {problem}" for problem in check_info(info)]
    if info.get("ruleset") in CHOICES["ruleset"]:
        problems += check_files(_files(directory), info["ruleset"])
        if info["ruleset"] == Tuning.EXTERNAL:
            problems += _search_space_problems(directory / SEARCH_SPACE_FILE)
    problems += _text_problems(directory, _pins(info.get("rules")))
    if info.get("framework") in CHOICES["framework"]:
        problems += _code_problems(directory, info["framework"])
    return problems


def _files(directory: Path) -> list[str]:
    """Paths of the files of a submission, without those that Python and editors leave there."""
    paths = [path.relative_to(directory) for path in directory.rglob("*") if path.is_file()]
    return sorted(
        path.as_posix()
        for path in paths
        if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    )


def _pins(rules: Any) -> Mapping[str, str]:
    """The frozen packages of a version; none where only the package is installed."""
    file = CONSTRAINTS / f"{rules}.txt"
    if not file.is_file():
        return MappingProxyType({})
    return frozen_packages(file.read_text(encoding="utf-8"))


def _search_space_problems(file: Path) -> list[str]:
    try:
        if file.is_file():  # its absence is told already
            read_search_space(file)
    except UserError as error:
        return [str(error).removeprefix("--tuning_search_space ")]
    return []


def _text_problems(directory: Path, pins: Mapping[str, str]) -> list[str]:
    problems = []
    requirements, readme = directory / REQUIREMENTS_FILE, directory / README
    if requirements.is_file():
        found = check_requirements(requirements.read_text(encoding="utf-8"), pins)
        problems += [f"{REQUIREMENTS_FILE}: {problem}" for problem in found]
    if readme.is_file():
        lines = readme.read_text(encoding="utf-8").splitlines()
        problems += [
            f"{README}: line {number} is still to be filled in"
            for number, line in enumerate(lines, start=1)
            if line.startswith(TO_FILL_IN)
        ]
    return problems


def _code_problems(directory: Path, framework: str) -> list[str]:
    try:
        with loaded_submission(directory, framework) as submission:
            return _batch_size_problems(submission.module)
    except UserError as error:
        return [str(error)]


def _batch_size_problems(module: ModuleType) -> list[str]:
    problems = []
    for name in workloads.names("base"):
        try:
            training_batch_size(module, name, name, divisor=1, num_devices=1)
        except UserError as error:
            problems.append(str(error))
        except Exception as error:  # the submission's own
            problems.append(
                f"submission: get_batch_size({name!r}) raises {type(error).__name__}: {error}"
            )
    return problems


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: without the program name; None takes ``sys.argv``.

    Returns:
      Exit code: 0 if nothing is wrong, 1 if something is, 2 if there is nothing to check.
    """
    directory = _parser().parse_args(arguments).directory.expanduser()
    try:
        problems = check_directory(directory)
    except (UserError, OSError, UnicodeDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    if not CONSTRAINTS.is_dir():
        print(
            f"{REQUIREMENTS_FILE} is not compared with the benchmark's packages: no {CONSTRAINTS}"
        )
    if not problems:
        print(f"{directory}: nothing is wrong or left to fill in")
    return 1 if problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.submission_check",
        description="Check that a submission is complete and can be loaded.",
        allow_abbrev=False,
    )
    parser.add_argument("directory", type=Path, help="of the submission")
    return parser


if __name__ == "__main__":
    sys.exit(main())
