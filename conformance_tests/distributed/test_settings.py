"""Bad settings of a run of several processes: one sentence each, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from algoperf_ref import run as run_module
from conformance_tests.distributed.runs import NADAMW

TORCHRUN = {
    "LOCAL_RANK": "0",
    "RANK": "0",
    "WORLD_SIZE": "3",
    "LOCAL_WORLD_SIZE": "3",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
}


def complaint(capsys: pytest.CaptureFixture[str], framework: str, *flags: str) -> str:
    code = run_module.main(
        [
            f"--framework={framework}",
            "--workload=ogbg",
            "--tier=mini",
            "--tuning_ruleset=self",
            f"--submission_path={NADAMW.parents[1] / 'self_tuning' / 'nadamw'}",
            "--data_dir=/nowhere",
            *flags,
        ]
    )
    printed = capsys.readouterr().err
    assert code == 2
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1
    return printed


@pytest.mark.parametrize(
    ("framework", "flags", "message"),
    [
        ("pytorch", ["--num_processes=2"], "--num_processes is for JAX: .*torchrun"),
        ("jax", ["--num_processes=2"], "--coordinator_address is missing"),
        ("jax", ["--process_id=1"], "--coordinator_address is missing"),
        (
            "jax",
            ["--coordinator_address=a:1"],
            "--num_processes and --process_id is missing",
        ),
        (
            "jax",
            ["--coordinator_address=nowhere", "--num_processes=2", "--process_id=0"],
            "it must be host:port",
        ),
        (
            "jax",
            ["--coordinator_address=a:1", "--num_processes=2", "--process_id=2"],
            "it must be from 0 to 1",
        ),
        ("jax", ["--num_processes=0"], "--num_processes is 0; it must be at least 1"),
        ("jax", ["--process_timeout_seconds=0"], "must be at least 1"),
    ],
)
def test_flags_that_do_not_fit_are_told(
    framework: str, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    assert re.search(message, complaint(capsys, framework, *flags))


def test_torchrun_does_not_start_jax(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert "torchrun starts PyTorch processes" in complaint(capsys, "jax")


def test_a_left_over_local_rank_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    printed = complaint(capsys, "pytorch")
    assert "RANK and WORLD_SIZE and MASTER_ADDR and MASTER_PORT is not" in printed


def test_more_processes_than_cuda_devices_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    from algoperf_ref.frameworks import torch_processes
    from algoperf_ref.frameworks.torch_device import TorchSetup

    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    setup = TorchSetup(True, 0, torch.device("cuda:0"), 2)
    monkeypatch.setattr(torch_processes, "pytorch_setup", lambda: setup)
    assert "3 processes on this host share 2 CUDA devices" in complaint(capsys, "pytorch")


def test_importing_the_command_line_imports_no_framework(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys, algoperf_ref.run; "
        "sys.exit(bool({'jax', 'torch'} & set(sys.modules)) and 'a framework is imported')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
