"""algoperf-ref: reference implementation of the AlgoPerf training-algorithms benchmark.

    >>> import algoperf_ref
    >>> algoperf_ref.workloads.names(tier="mini")
    ('ogbg', 'ogbg_gelu', 'ogbg_silu', 'ogbg_model_size')

Importing the package imports no framework; ``run_trial`` and ``workloads`` load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from algoperf_ref._version import __version__ as __version__

if TYPE_CHECKING:
    from algoperf_ref import workloads
    from algoperf_ref.run import run_study, run_trial

__all__ = ["run_study", "run_trial", "workloads"]


def __getattr__(name: str) -> Any:
    if name in ("run_trial", "run_study"):
        return getattr(importlib.import_module("algoperf_ref.run"), name)
    if name == "workloads":
        return importlib.import_module("algoperf_ref.workloads")
    raise AttributeError(f"module 'algoperf_ref' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
