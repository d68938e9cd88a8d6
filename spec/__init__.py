"""The rules of the benchmark, executable.

Every rule is a *clause* with an id, a statement, a source and the versions it holds in; see
``python -m spec list``. The package needs numpy and the standard library only, and importing it
imports none of its modules: they are loaded on first use.

    >>> import spec
    >>> spec.workloads.get("ogbg").step_hint
    52000
    >>> spec.rulesets.get("v0.6").r_max
    4.0
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spec import (
        calls,
        clauses,
        costs,
        coverage,
        credit,
        data_order,
        deviations,
        diff,
        dropout,
        evaluation,
        hardware,
        heldout,
        permissions,
        records,
        rulesets,
        scoring,
        submission,
        target_setting,
        tiers,
        timing,
        tuning,
        validity,
        versions,
        workloads,
    )

__all__ = [
    "calls",
    "clauses",
    "costs",
    "coverage",
    "credit",
    "data_order",
    "deviations",
    "diff",
    "dropout",
    "evaluation",
    "hardware",
    "heldout",
    "permissions",
    "records",
    "rulesets",
    "scoring",
    "submission",
    "target_setting",
    "tiers",
    "timing",
    "tuning",
    "validity",
    "versions",
    "workloads",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"spec.{name}")
    raise AttributeError(f"module 'spec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
