"""What makes a submission valid: functions, files, packages, environment, licence, resubmission.

The functions here decide what can be decided from data. What the code of a submission may do is
in :mod:`spec.permissions`; which packages it may add is in :mod:`spec.requirements_file`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from spec.clauses import Source, clause
from spec.permissions import ANYWHERE, PERMISSIONS, Check, Permission, permissions
from spec.requirements_file import check_requirements
from spec.rulesets import Tuning
from spec.submission_functions import OPTIONAL_FUNCTIONS, REQUIRED_FUNCTIONS

__all__ = [
    "ANYWHERE",
    "FIXED_FUNCTIONS",
    "LICENCE",
    "PERMISSIONS",
    "REQUIREMENTS_FILE",
    "SEARCH_SPACE_FILE",
    "SUBMISSION_FILE",
    "Check",
    "Permission",
    "check_files",
    "check_functions",
    "check_licence",
    "check_requirements",
    "environment_changes",
    "may_call",
    "permissions",
    "resubmission_problem",
]

_RULES = "Rules v0.6"
_FAQ = Source(_RULES, "FAQs")

FIXED_FUNCTIONS: Mapping[str, bool] = MappingProxyType(
    {
        "step_hint": True,
        "_build_input_queue": False,
        "init_model_fn": True,
        "model_fn": True,
        "loss_fn": True,
    }
)
"""Fixed functions that the rules name -> whether a submission may call them."""


@clause(
    "VALID-1",
    """A submission changes nothing but its own functions (get_batch_size, init_optimizer_state,
    update_params, prepare_for_eval, data_selection): every other function is fixed.""",
    source=(
        Source(_RULES, "Submission functions"),
        Source(_RULES, "Fixed functions"),
        Source("Dahl et al. 2023", "4.2"),
    ),
    checked_on="submission",
)
def check_functions(replaced: Iterable[str]) -> list[str]:
    """Says which replaced functions are not a submission's to replace.

    Helper functions of a submission replace nothing and are not meant here.

    Args:
      replaced: names of the functions of harness, workload or framework that a submission
        defines anew or assigns to.

    Returns:
      One sentence per fixed function, in the given order; empty if there is none.
    """
    own = {*REQUIRED_FUNCTIONS, *OPTIONAL_FUNCTIONS}
    return [
        f"{name} is a fixed function; a submission changes only {', '.join(sorted(own))}"
        for name in dict.fromkeys(replaced)
        if name not in own
    ]


@clause(
    "VALID-2",
    """A submission may call the fixed functions and the public members of the workload at any time,
    but not `_build_input_queue` nor anything else that is private.""",
    source=Source(_RULES, "Fixed functions"),
    checked_on="submission",
)
def may_call(name: str) -> bool:
    """Says whether a submission may use a member of the workload.

    Args:
      name: of a function or property.

    Returns:
      True if it is public, or a fixed function that may be called.
    """
    return FIXED_FUNCTIONS.get(name, not name.startswith("_"))


SUBMISSION_FILE = "submission.py"
SEARCH_SPACE_FILE = "tuning_search_space.json"
REQUIREMENTS_FILE = "requirements.txt"


@clause(
    "VALID-16",
    """In external tuning a submission brings exactly one search space, which is the same for all
    workloads; in self-tuning it brings none and exposes no hyperparameters.""",
    source=(
        Source(_RULES, "External tuning ruleset"),
        Source(_RULES, "Self-tuning ruleset"),
        Source(_RULES, "Disallowed submissions"),
    ),
    checked_on="submission",
)
@clause(
    "VALID-17",
    """A submission is submission.py and as many further files as it likes; requirements.txt is
    among them if it needs packages beyond those of the benchmark.""",
    source=(Source(_RULES, "Submissions"), Source(_RULES, "Software dependencies"), _FAQ),
    checked_on="submission",
)
def check_files(
    names: Iterable[str], tuning: Tuning | str, *, needs_packages: bool = False
) -> list[str]:
    """Checks which files a submission has.

    Args:
      names: paths of its files, relative to its directory, with ``/``.
      tuning: the ruleset that it is entered under.
      needs_packages: it imports packages that the benchmark does not have.

    Returns:
      One sentence per problem; empty if there is none.
    """
    files = set(names)
    spaces = sorted(name for name in files if name.rsplit("/", 1)[-1] == SEARCH_SPACE_FILE)
    problems = []
    if SUBMISSION_FILE not in files:
        problems.append(f"{SUBMISSION_FILE} is missing")
    if Tuning(tuning) is Tuning.SELF:
        problems += [f"{name}: a self-tuning submission has no search space" for name in spaces]
    elif not spaces:
        problems.append(f"{SEARCH_SPACE_FILE} is missing, external tuning needs a search space")
    elif len(spaces) > 1:
        problems.append(f"one search space serves all workloads, not {', '.join(spaces)}")
    if needs_packages and REQUIREMENTS_FILE not in files:
        problems.append(f"{REQUIREMENTS_FILE} is missing, the submission needs packages")
    return problems


@clause(
    "VALID-18",
    """The environment variables of the benchmark are the same for every submission: a submission
    neither changes nor adds nor removes any.""",
    source=Source(_RULES, "Environment variables"),
    checked_on="submission",
)
def environment_changes(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Compares the environment before a submission was imported and after it ran.

    Args:
      before: variables that the harness had set.
      after: variables later, in the same process.

    Returns:
      One sentence per variable that differs, sorted by name; empty if none does.
    """
    sentences = []
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if old is None:
            sentences.append(f"{name} was added")
        elif new is None:
            sentences.append(f"{name} was removed")
        elif old != new:
            sentences.append(f"{name} was changed from {old!r} to {new!r}")
    return sentences


LICENCE = "Apache-2.0"
"""SPDX identifier of the one licence that is accepted."""


@clause(
    "VALID-19",
    "A submission is licensed under the Apache License, version 2.0.",
    source=Source(_RULES, "License and legal requirements"),
    checked_on="submission",
)
def check_licence(identifier: str | None) -> list[str]:
    """Checks the licence of a submission.

    Args:
      identifier: its SPDX identifier, case does not matter; None if it names no licence.

    Returns:
      One sentence, or nothing if the licence is accepted.
    """
    if identifier is not None and identifier.strip().casefold() == LICENCE.casefold():
        return []
    found = "no licence" if identifier is None else repr(identifier)
    return [f"a submission is licensed under {LICENCE}, this one has {found}"]


@clause(
    "VALID-20",
    """A submitter may enter several submissions if they differ substantially, and published
    algorithms if they are not exact copies: other hyperparameters make another algorithm, but among
    a submitter's own entries they alone need a justification.""",
    source=_FAQ,
    checked_on="submission",
)
def resubmission_problem(
    *,
    same_code: bool,
    same_hyperparameters: bool,
    same_submitter: bool,
    justified: bool = False,
) -> str | None:
    """Compares a new submission with an existing one.

    Args:
      same_code: both do the same but for their hyperparameters.
      same_hyperparameters: search space or hard-coded values are the same.
      same_submitter: the existing one is the submitter's own.
      justified: a reviewer finds the submitter's justification convincing.

    Returns:
      None if the new one may be entered beside the other, else why not.
    """
    if not same_code:
        return None
    if same_hyperparameters:
        return "the submission is an exact copy of an existing one"
    if same_submitter and not justified:
        return "two submissions differ by hyperparameters only, which needs a justification"
    return None
