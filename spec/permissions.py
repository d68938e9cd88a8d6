"""What the code of a submission may and must not do, as data.

Every row belongs to a clause of chapter VALID and says how it is checked: by a program that reads
the code, by watching it run, or by a reviewer where intent decides. Rows are examples of their
clause, not a complete list: a use that no row names is judged by its clause.
"""

from __future__ import annotations

from spec.clauses import VERSIONS, Source, rule
from spec.permission_table import ANYWHERE, PERMISSIONS, Check, Permission

__all__ = ["ANYWHERE", "PERMISSIONS", "Check", "Permission", "permissions"]

_FUNCTIONS = "Submission functions"
_FIXED = "Fixed functions"
_VALID = "Valid submissions"
_PAPER = Source("Dahl et al. 2023", "4.2")


def _declare(
    id: str,
    statement: str,
    *sections: str,
    paper: bool = False,
    versions: tuple[str, ...] = VERSIONS,
) -> None:
    sources = tuple(Source("Rules v0.6", section) for section in sections)
    rule(
        id,
        statement,
        source=(*sources, _PAPER) if paper else sources,
        implementation="spec.permission_table.PERMISSIONS",
        versions=versions,
        checked_on="submission",
    )


_declare(
    "VALID-3",
    "The batch size is the one thing that may be chosen by the name of the workload, also by "
    "trying out beforehand what fits into memory.",
    f"{_FUNCTIONS}: get_batch_size",
)
_declare(
    "VALID-4",
    "The optimizer state is the submission's to set up; the initial parameters of the model are "
    "not.",
    f"{_FUNCTIONS}: init_optimizer_state",
)
_declare(
    "VALID-5",
    "A step may use everything that it is given, and may restart the model, but must not change "
    "the hyperparameters depending on the workload.",
    f"{_FUNCTIONS}: update_params",
    _FIXED,
    paper=True,
)
_declare(
    "VALID-6",
    "Preparing for an evaluation may replace parameters, model state and optimizer state; the "
    "submission's own evaluations cost submission time.",
    f"{_FUNCTIONS}: prepare_for_eval",
    "Evaluation during training",
)
_declare(
    "VALID-7",
    "Training batches may be chosen, repeated, combined and changed in ways that suit any "
    "workload; the input queue itself is not rebuilt.",
    f"{_FUNCTIONS}: data_selection",
    versions=("v0.5", "v0.6"),  # the paper allows no new augmentation of the inputs
)
_declare(
    "VALID-8",
    "A submission may use the devices of the benchmarking hardware in parallel in any way that the "
    "API can express.",
    _FUNCTIONS,
)
_declare(
    "VALID-9",
    "A submission is a general-purpose algorithm: it is expected to work on unseen workloads, with "
    "every loss type, without workload-specific changes.",
    _VALID,
    f"{_FIXED}: loss_fn",
    paper=True,
)
_declare(
    "VALID-10",
    "Shapes, types and order of the parameters may be used if what is done with them works on "
    "generic workloads.",
    "Allowed submissions",
    paper=True,
)
_declare(
    "VALID-11",
    "Hyperparameters may be set automatically and update rules may be learned, by methods that "
    "work on generic workloads.",
    "Allowed submissions",
    paper=True,
)
_declare(
    "VALID-12",
    "The tuning rules must not be circumvented by looking up what was computed beforehand for a "
    "workload.",
    "Disallowed submissions",
    paper=True,
)
_declare(
    "VALID-13",
    "The workload must not be identified, directly or indirectly, to select logic or "
    "hyperparameters for it.",
    "Disallowed submissions",
    paper=True,
)
_declare(
    "VALID-14",
    "A submission relies on algorithmic or mathematical ideas: public APIs may be used well, but "
    "primitive operations, frameworks, operating system and hardware must not be made faster.",
    "Allowed submissions",
    "Disallowed submissions",
    paper=True,
)
_declare(
    "VALID-15",
    "No work of a submission goes on while it is evaluated off the clock.",
    "Disallowed submissions",
    paper=True,
)


def permissions(
    *, subject: str | None = None, clause: str | None = None, allowed: bool | None = None
) -> tuple[Permission, ...]:
    """The rows that match.

    Args:
      subject: a submission function or :data:`ANYWHERE`; None for all.
      clause: a clause id; None for all.
      allowed: True for allowed uses only, False for disallowed ones; None for both.

    Returns:
      The rows, in the order of :data:`PERMISSIONS`.
    """
    return tuple(
        row
        for row in PERMISSIONS
        if subject in (None, row.subject)
        and clause in (None, row.clause)
        and allowed in (None, row.allowed)
    )
