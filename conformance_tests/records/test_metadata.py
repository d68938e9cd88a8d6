"""Metadata of a run: official names, and no fact that cannot be had ends a run."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from algoperf_ref.records import metadata


class Workload:
    step_hint = 1200
    target_metric_name = "mean_average_precision"
    use_layer_norm = True
    hidden_dims = (64, 64)
    model: Any = object()

    @property
    def validation_target_value(self) -> float:
        return 0.45

    @property
    def train_mean(self) -> float:
        raise NotImplementedError

    def model_fn(self) -> None:
        raise AssertionError("a method is not called")


def collected(**options: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"rng_seed": 0, "rules": "v0.6", "tier": "mini", "clock": "steps"}
    return metadata.collect(Workload(), **{**defaults, **options})


def test_the_official_names_are_there_and_the_whole_is_json() -> None:
    facts = collected(seeds={"trial": 7}, command_line=["run", "--x"], now=datetime(2026, 1, 2))
    assert json.loads(json.dumps(facts)) == facts
    official = {
        "os_platform": platform.platform(),
        "python_version": platform.python_version(),
        "python_compiler": platform.python_compiler(),
        "rng_seed": 0,
        "gpu_count": facts["gpu.count"],
        "cpu_count": psutil.cpu_count(),
        "mem.total": psutil.virtual_memory().total,
    }
    assert official.items() <= facts.items()
    assert {"mem.available", "mem.used", "mem.percent_used"} <= facts.keys()
    ours = {
        "rules_version": "v0.6",
        "tier": "mini",
        "clock": "steps",
        "seed.trial": 7,
        "command_line": ["run", "--x"],
        "started_at": "2026-01-02T00:00:00",
    }
    assert ours.items() <= facts.items()
    assert "version.numpy" in facts


def test_workload_properties_are_recorded_and_failing_ones_left_out() -> None:
    assert metadata.workload_facts(Workload()) == {
        "workload.step_hint": 1200,
        "workload.target_metric_name": "mean_average_precision",
        "workload.use_layer_norm": True,
        "workload.hidden_dims": [64, 64],
        "workload.validation_target_value": 0.45,
    }


def test_the_command_line_is_the_process_own_by_default() -> None:
    assert collected()["command_line"] == sys.argv


def test_a_machine_without_cpu_frequency_or_disks_is_no_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(psutil, "cpu_freq", lambda: None)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    facts = collected()
    assert "cpu.freq.current" not in facts
    assert "mem.read_bytes_since_boot" not in facts
    assert "mem.total" in facts


def test_packages_that_are_not_installed_are_left_out() -> None:
    versions = metadata.package_versions(["numpy", "no-such-package-of-ours"])
    assert list(versions) == ["version.numpy"]


def git(directory: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=n", "-c", "user.email=e@x", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", str(directory), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_branch_and_commit_are_those_of_the_repository(tmp_path: Path) -> None:
    git(tmp_path, "init")
    assert metadata.git_facts(tmp_path) == {}, "a repository without a commit"
    git(tmp_path, "commit", "--allow-empty", "-m", "first")
    assert metadata.git_facts(tmp_path) == {
        "git_branch": "main",
        "git_commit_hash": git(tmp_path, "rev-parse", "HEAD"),
    }


def test_without_git_or_repository_there_are_no_git_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert metadata.git_facts(tmp_path) == {}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert metadata.git_facts(tmp_path) == {}


class FakeNvml(SimpleNamespace):
    """The part of pynvml that is used, with two GPUs, the second without a thermometer."""

    NVMLError = type("NVMLError", (Exception,), {})
    NVML_TEMPERATURE_GPU = 0
    closed = False

    def nvmlInit(self) -> None: ...

    def nvmlShutdown(self) -> None:
        FakeNvml.closed = True

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, _: int) -> bytes:
        return b"Tesla V100"

    def nvmlSystemGetDriverVersion(self) -> str:
        return "535.1"

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return SimpleNamespace(gpu=50 + 20 * handle, memory=10)

    def nvmlDeviceGetMemoryInfo(self, _: int) -> Any:
        return SimpleNamespace(total=16, used=4, free=12)

    def nvmlDeviceGetTemperature(self, handle: int, _: int) -> int:
        if handle == 1:
            raise self.NVMLError
        return 60


def test_gpu_facts_have_the_official_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    facts = metadata.gpu_facts()
    expected = {
        "gpu_count": 2,
        "gpu.count": 2,
        "gpu_model_name": "Tesla V100",
        "gpu_driver": "535.1",
        "gpu.0.compute.util": 50,
        "gpu.1.compute.util": 70,
        "gpu.avg.compute.util": 60.0,
        "gpu.0.temp.current": 60,
        "gpu.avg.temp.current": 60.0,
        "gpu.1.mem.free": 12,
    }
    assert expected.items() <= facts.items()
    assert "gpu.1.temp.current" not in facts
    assert FakeNvml.closed


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml()

    def fail() -> None:
        raise nvml.NVMLError

    nvml.nvmlInit = fail  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert metadata.gpu_facts() == {"gpu_count": 0, "gpu.count": 0}
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert metadata.gpu_facts() == {"gpu_count": 0, "gpu.count": 0}
