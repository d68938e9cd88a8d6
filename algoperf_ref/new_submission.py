"""``python -m algoperf_ref.new_submission NAME``: a directory with a submission to start from.

Copies the smallest complete submission of a ruleset and framework
(``reference_submissions/template/``) and fills in what is known. The result trains as it is.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from algoperf_ref.errors import UserError
from algoperf_ref.flags import normalised
from algoperf_ref.submission_info import INFO_FILE, TO_FILL_IN, name_problem, read_info
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.validity import REQUIREMENTS_FILE, SEARCH_SPACE_FILE, SUBMISSION_FILE

TEMPLATES = Path(__file__).parents[1] / "reference_submissions" / "template"
TEMPLATE_NAME = "my_submission"
"""Stands in the texts of the templates wherever the name of a submission belongs."""
TEMPLATE_FRAMEWORK = "FRAMEWORK"
README = "README.md"


@dataclass(frozen=True)
class Wanted:
    """What is to be made.

    Attributes:
      name: of the submission and its directory; see
        :func:`algoperf_ref.submission_info.name_problem`.
      framework: ``"jax"`` or ``"pytorch"``.
      ruleset: decides whether there is a search space.
      directory: an existing directory, in which a new one is made.
      authors: their names; empty leaves them to be filled in.
      date: ``YYYY-MM-DD``, noted in the metadata; None notes none, so that the same command makes
        the same files on every day.
    """

    name: str
    framework: str
    ruleset: Tuning
    directory: Path
    authors: tuple[str, ...] = ()
    date: str | None = None

    @property
    def target(self) -> Path:
        """The new directory."""
        return self.directory / self.name

    def check(self) -> None:
        """Checks everything that can be checked before a file is written.

        Raises:
          UserError: names the flag and the mend.
        """
        if reason := name_problem(self.name):
            raise UserError(f"NAME {self.name!r}: {reason}; choose another name")
        if self.framework not in FRAMEWORKS:
            known = ", ".join(FRAMEWORKS)
            raise UserError(f"--framework {self.framework}: there is none; choose from {known}")
        for author in self.authors:
            if not author.strip() or author.lstrip().startswith(TO_FILL_IN):
                raise UserError(f"--author {author!r}: give a name, or leave the flag out")
        if self.date is not None:
            _check_date(self.date)
        if not self.directory.is_dir():
            raise UserError(f"--directory {self.directory}: there is no such directory; make it")
        if self.target.exists() or self.target.is_symlink():
            raise UserError(
                f"{self.target} exists; choose another name, or remove it if it is not needed"
            )


def _check_date(text: str) -> None:
    try:
        same = datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        same = None
    if text != same:  # the standard has shorter forms, too
        raise UserError(f"--date {text}: write a day of the calendar as YYYY-MM-DD")


def create(wanted: Wanted) -> Path:
    """Makes a submission: all of it, or nothing.

    Args:
      wanted: what to make.

    Returns:
      The new directory.

    Raises:
      UserError: bad input, or the directory exists.
      OSError: it cannot be written.
    """
    wanted.check()
    template = TEMPLATES / f"{wanted.ruleset.value}_tuning"
    if not template.is_dir():
        raise UserError(f"{template} is missing; install algoperf-ref again")
    # Written beside its place, so that one renaming, which cannot stop half-way, puts it there.
    with tempfile.TemporaryDirectory(prefix=f".{wanted.name}.", dir=wanted.directory) as scratch:
        draft = Path(scratch) / wanted.name
        draft.mkdir()
        _write(wanted, template, draft)
        draft.rename(wanted.target)
    return wanted.target


def _write(wanted: Wanted, template: Path, draft: Path) -> None:
    copies = {
        f"submission_{wanted.framework}.py": SUBMISSION_FILE,
        README: README,
        REQUIREMENTS_FILE: REQUIREMENTS_FILE,
    }
    if wanted.ruleset is Tuning.EXTERNAL:
        copies[SEARCH_SPACE_FILE] = SEARCH_SPACE_FILE
    for source, file in copies.items():
        text = (template / source).read_text(encoding="utf-8")
        if file == README:  # before the name, which may be any word
            text = text.replace(TEMPLATE_FRAMEWORK, wanted.framework)
        text = text.replace(TEMPLATE_NAME, wanted.name)
        (draft / file).write_text(text, encoding="utf-8")
    info = read_info(template / INFO_FILE)
    info |= {"name": wanted.name, "framework": wanted.framework, "ruleset": wanted.ruleset.value}
    if wanted.authors:
        info["authors"] = [author.strip() for author in wanted.authors]
    if wanted.date is not None:
        info["date"] = wanted.date
    text = json.dumps(info, indent=2, ensure_ascii=False)
    (draft / INFO_FILE).write_text(text + "\n", encoding="utf-8")


def next_commands(wanted: Wanted) -> list[tuple[str, str]]:
    """Returns what to do next with a new submission: a purpose and a command for each."""
    target, data_dir = wanted.target, "data"
    run = [
        *("--submission_path", str(target), "--framework", wanted.framework),
        *("--workload", "mnist", "--tier", "mini", "--data_dir", data_dir),
        *("--experiment_name", wanted.name, "--tuning_ruleset", wanted.ruleset.value),
    ]
    if wanted.ruleset is Tuning.EXTERNAL:
        run += ["--tuning_search_space", str(target / SEARCH_SPACE_FILE)]
    commands = {
        "a small data set of handwritten digits": [
            *("algoperf_ref.data", "prepare", "mnist", "--data_dir", data_dir, "--tier", "mini"),
        ],
        "train on it": ["algoperf_ref.run", *run],
        f"what is left to fill in, and what is wrong; the texts are marked {TO_FILL_IN}": [
            *("algoperf_ref.submission_check", str(target)),
        ],
    }
    return [
        (purpose, shlex.join([sys.executable, "-m", *command]))
        for purpose, command in commands.items()
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: without the program name; None takes ``sys.argv``.

    Returns:
      Exit code: 0, 2 for bad input or a directory that cannot be written.
    """
    given = normalised(sys.argv[1:] if arguments is None else arguments)
    parsed = _parser().parse_args(given)
    wanted = Wanted(
        name=parsed.name,
        framework=parsed.framework,
        ruleset=Tuning(parsed.ruleset),
        directory=parsed.directory.expanduser(),
        authors=tuple(parsed.author),
        date=parsed.date,
    )
    try:
        target = create(wanted)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{target} is a complete submission; edit {target / SUBMISSION_FILE}.\n\nNext:")
    for purpose, command in next_commands(wanted):
        print(f"\n  # {purpose}\n  {command}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.new_submission",
        description="Make a directory with a small complete submission to start from.",
        epilog="Flags may be written with - or _.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("name", metavar="NAME", help="of the submission: a Python identifier, as my_idea")
    add("--framework", required=True, choices=FRAMEWORKS, help="what it is written in")
    add("--ruleset", required=True, choices=tuple(map(str, Tuning)), help="how it is tuned")
    add(
        "--directory",
        type=Path,
        default=Path(),
        help="where to make the directory NAME (the current directory)",
    )
    add("--author", action="append", default=[], help="name of an author; may be given repeatedly")
    add("--date", help="YYYY-MM-DD, for submission_info.json; none by default")
    return parser


if __name__ == "__main__":
    sys.exit(main())
