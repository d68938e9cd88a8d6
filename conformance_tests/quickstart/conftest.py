"""The mini workload on a few made-up molecules: the same code path in a second."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref import workloads
from conformance_tests.support.molecules import write_tiny_ogbg


@pytest.fixture
def tiny_ogbg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Data directory; ``workloads.load`` gives workloads of this size, with targets at once."""
    data_dir = write_tiny_ogbg(tmp_path / "data")
    load = workloads.load

    def load_tiny(*arguments: Any, **options: Any) -> Any:
        workload = load(*arguments, **options)
        workload.spec = replace(
            workload.spec,
            num_train_examples=64,
            num_eval_train_examples=24,
            num_validation_examples=24,
            num_test_examples=24,
            eval_batch_size=32,
            validation_target_value=0.0,
            test_target_value=0.0,
        )
        return workload

    monkeypatch.setattr(workloads, "load", load_tiny)
    return data_dir
