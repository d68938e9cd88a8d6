"""``python -m conformance_tests.support.tiny_run``: the command line on the tiny molecules.

The workload is the mini tier's, with the sizes of :func:`write_tiny` and a far target. Tests start
it in processes of their own, to have several of them, or several devices in one.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from algoperf_ref import run as run_module
from conformance_tests.support.molecules import write_tiny_ogbg

SIZES = {"train": 96, "validation": 40, "test": 24}
EVAL_BATCH_SIZE = 16


def write_tiny(data_dir: Path) -> Path:
    """Writes the data that :func:`use_tiny_sizes` fits."""
    return write_tiny_ogbg(data_dir, **SIZES)


def use_tiny_sizes() -> None:
    """Lets ``algoperf_ref.run`` load the workload with the sizes of the tiny data."""
    load = run_module.workloads.load

    def load_tiny(*args: Any, **kwargs: Any) -> Any:
        workload = load(*args, **kwargs)
        row = replace(
            workload.spec,
            num_train_examples=SIZES["train"],
            num_eval_train_examples=SIZES["validation"],
            num_validation_examples=SIZES["validation"],
            num_test_examples=SIZES["test"],
            eval_batch_size=EVAL_BATCH_SIZE,
            eval_period_time_sec=float(os.environ.get("TINY_EVAL_PERIOD", "3")),
            simulated_step_seconds=1.0,
            validation_target_value=2.0,  # out of reach
            step_hint=20,
        )
        return type(workload)(row, workload.tier, workload.backend)

    run_module.workloads.load = load_tiny  # type: ignore[assignment]


if __name__ == "__main__":
    use_tiny_sizes()
    sys.exit(run_module.main())
