"""Facts about the machine, the software and the run, for ``meta_data_<p>.json``.

Names are those of the official logs (harness contract, section 6) where these have the fact.
Nothing here may end a run: a fact that cannot be had is left out.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

PACKAGES: tuple[str, ...] = (
    "algoperf-ref",
    "numpy",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "torch",
    "ml-dtypes",
    "tensorflow-datasets",
)
"""Distributions whose versions are recorded if they are installed; none is imported."""

_GIT_TIMEOUT_SECONDS = 10
_CPU_INFO = Path("/proc/cpuinfo")


def collect(
    workload: object,
    *,
    rng_seed: int,
    rules: str,
    tier: str,
    clock: str,
    seeds: Mapping[str, int] | None = None,
    command_line: Sequence[str] | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Returns everything worth recording about a start of a trial.

    Args:
      workload: its public scalar properties become ``workload.<property>``.
      rng_seed: the run's seed.
      rules: ruleset version, for example ``v0.6``.
      tier: ``full`` or ``mini``.
      clock: ``wall`` or ``steps`` (simulated: a fixed cost per step).
      seeds: further named seeds, for example of the trial; recorded as ``seed.<name>``.
      command_line: arguments of the program; None takes ``sys.argv``.
      now: local time of the start; None reads the clock.

    Returns:
      A dict that ``json`` can write, without nested dicts.
    """
    return {
        "rules_version": rules,
        "tier": tier,
        "clock": clock,
        "rng_seed": rng_seed,
        **{f"seed.{name}": seed for name, seed in (seeds or {}).items()},
        "command_line": list(sys.argv if command_line is None else command_line),
        "started_at": (datetime.now() if now is None else now).isoformat(timespec="seconds"),
        **workload_facts(workload),
        **software_facts(),
        **git_facts(),
        **system_facts(),
        **gpu_facts(),
    }


def workload_facts(workload: object) -> dict[str, Any]:
    """Returns ``workload.<name>`` for public attributes that are numbers, text, or tuples of them.

    A property that raises (for example ``train_mean`` of a workload without images) is left out.
    """
    facts = {}
    for name in dir(workload):
        if name.startswith("_"):
            continue
        try:
            value = getattr(workload, name)
        except Exception:  # A property is foreign code and may raise anything.
            continue
        if _is_plain(value):
            facts[f"workload.{name}"] = value
        elif type(value) is tuple and value and all(map(_is_plain, value)):
            facts[f"workload.{name}"] = list(value)
    return facts


def software_facts() -> dict[str, Any]:
    """Returns versions of Python, the operating system and the main packages."""
    return {
        "os_platform": platform.platform(),
        "python_version": platform.python_version(),
        "python_compiler": platform.python_compiler(),
        **package_versions(PACKAGES),
    }


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Returns ``version.<package>`` for those that are installed."""
    versions = {}
    for package in packages:
        try:
            versions[f"version.{package}"] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_facts(directory: str | os.PathLike[str] = ".") -> dict[str, str]:
    """Returns branch and commit of the repository that holds a directory; empty without one."""
    commands = {
        "git_branch": ("rev-parse", "--abbrev-ref", "HEAD"),
        "git_commit_hash": ("rev-parse", "HEAD"),
    }
    facts = {}
    for name, arguments in commands.items():
        try:
            answer = subprocess.run(
                ["git", "-C", os.fspath(directory), *arguments],
                capture_output=True,
                text=True,
                timeout=_GIT_TIMEOUT_SECONDS,
                check=True,
            )
        except (OSError, subprocess.SubprocessError):  # no git, no repository, no commit yet
            return {}
        facts[name] = answer.stdout.strip()
    return facts


def system_facts() -> dict[str, Any]:
    """Returns use of CPU, memory, disks and network, and the host's load."""
    return _available(
        {
            "cpu_model_name": _cpu_model_name,
            "cpu_count": psutil.cpu_count,
            "cpu.util.avg_percent_since_last": psutil.cpu_percent,
            # None on some virtual machines.
            "cpu.freq.current": lambda: psutil.cpu_freq().current,
            "cpu.load.1_5_15_minutes": lambda: list(os.getloadavg()),
            "mem.total": lambda: psutil.virtual_memory().total,
            "mem.available": lambda: psutil.virtual_memory().available,
            "mem.used": lambda: psutil.virtual_memory().used,
            "mem.percent_used": lambda: psutil.virtual_memory().percent,
            "mem.read_bytes_since_boot": lambda: _disk("read_bytes"),
            "mem.write_bytes_since_boot": lambda: _disk("write_bytes"),
            "net.bytes_sent_since_boot": lambda: psutil.net_io_counters().bytes_sent,
            "net.bytes_recv_since_boot": lambda: psutil.net_io_counters().bytes_recv,
        }
    )


def gpu_facts() -> dict[str, Any]:
    """Returns number, model, driver and use of NVIDIA GPUs; a count of 0 without pynvml or GPUs.

    Memory is in bytes, use in percent, temperature in degrees Celsius.
    """
    none = {"gpu_count": 0, "gpu.count": 0}
    try:
        nvml: Any = importlib.import_module("pynvml")
    except ImportError:
        return none
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # the package without a driver
        return none
    try:
        return _gpu_facts(nvml)
    except nvml.NVMLError:
        return none
    finally:
        nvml.nvmlShutdown()


def _gpu_facts(nvml: Any) -> dict[str, Any]:
    count = nvml.nvmlDeviceGetCount()
    facts: dict[str, Any] = {"gpu_count": count, "gpu.count": count}
    per_gpu: list[dict[str, float]] = []
    for index in range(count):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        facts["gpu_model_name"] = _text(nvml.nvmlDeviceGetName(handle))
        facts["gpu_driver"] = _text(nvml.nvmlSystemGetDriverVersion())
        use = _gpu_use(nvml, handle)
        per_gpu.append(use)
        facts.update({f"gpu.{index}.{name}": value for name, value in use.items()})
    for name in per_gpu[0] if per_gpu else ():
        values = [use[name] for use in per_gpu if name in use]
        facts[f"gpu.avg.{name}"] = sum(values) / len(values)
    return facts


def _gpu_use(nvml: Any, handle: Any) -> dict[str, Any]:
    return _available(
        {
            "compute.util": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).gpu,
            "mem.util": lambda: nvml.nvmlDeviceGetUtilizationRates(handle).memory,
            "mem.total": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).total,
            "mem.used": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).used,
            "mem.free": lambda: nvml.nvmlDeviceGetMemoryInfo(handle).free,
            "temp.current": lambda: nvml.nvmlDeviceGetTemperature(
                handle, nvml.NVML_TEMPERATURE_GPU
            ),
        }
    )


def _available(sources: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    facts = {}
    for name, source in sources.items():
        try:
            value = source()
        except Exception:  # Drivers and containers fail in many ways.
            continue
        if value is not None:
            facts[name] = value
    return facts


def _disk(counter: str) -> int:
    return int(getattr(psutil.disk_io_counters(), counter))  # None on machines without disks


def _is_plain(value: object) -> bool:
    return type(value) in (bool, int, float, str)


def _cpu_model_name() -> str | None:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or None


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
