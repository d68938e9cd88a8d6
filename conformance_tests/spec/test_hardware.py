"""The benchmarking hardware, and reports about other machines."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from spec import hardware
from spec.clauses import VERSIONS, UnknownVersion
from spec.hardware import OFFICIAL, V100_MACHINE, Machine, Report

A100 = Machine("NVIDIA A100", 4, 40, 900, 4000)
OTHER_A100 = replace(A100, num_accelerators=8)


@pytest.mark.clause("HARD-1")
def test_the_machine_is_the_one_of_the_rules() -> None:
    for version in VERSIONS:
        machine = OFFICIAL[version]
        assert (machine.num_accelerators, machine.accelerator) == (8, "NVIDIA V100")
        assert machine.accelerator_memory_gb == 16
        assert (machine.host_memory_gb, machine.storage_gb) == (240, 2000)
    assert V100_MACHINE.accelerators == "8x NVIDIA V100 16 GB"


@pytest.mark.clause("HARD-2")
def test_times_of_one_machine_are_comparable() -> None:
    hardware.check_comparable([])
    hardware.check_comparable([A100])
    hardware.check_comparable([A100, replace(A100), A100])


@pytest.mark.clause("HARD-2")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("accelerator", "NVIDIA H100"),
        ("num_accelerators", 2),
        ("accelerator_memory_gb", 80),
        ("host_memory_gb", 64),
        ("storage_gb", 500),
    ],
)
def test_a_machine_that_differs_in_anything_is_another_machine(field: str, value: object) -> None:
    other = replace(A100, **{field: value})
    with pytest.raises(hardware.IncomparableHardware, match=f"{field} is .* and {value} "):
        hardware.check_comparable([A100, A100, other])


# tuning machines, scored machines, compared with published results -> error
REPORTS = [
    ([V100_MACHINE] * 5, [V100_MACHINE], True, None),
    ([A100] * 5, [V100_MACHINE], True, None),
    ([A100] * 5, [A100], False, None),
    ([A100] * 5, [OTHER_A100], False, None),
    ([], [A100] * 3, False, None),  # self-tuning
    ([], [V100_MACHINE] * 3, True, None),
    ([A100] * 4 + [OTHER_A100], [V100_MACHINE], True, hardware.InconsistentTuning),
    ([A100] * 4 + [OTHER_A100], [A100], False, hardware.InconsistentTuning),
    ([A100] * 5, [A100, OTHER_A100], False, hardware.IncomparableHardware),
    ([A100] * 5, [A100], True, hardware.NotOnBenchmarkingHardware),
    ([V100_MACHINE] * 5, [], True, hardware.NotOnBenchmarkingHardware),
    ([], [V100_MACHINE, A100], True, hardware.IncomparableHardware),
]


@pytest.mark.clause("HARD-3", "HARD-4")
@pytest.mark.parametrize(("tuning", "scored", "against_published", "error"), REPORTS)
def test_reports(
    tuning: list[Machine],
    scored: list[Machine],
    against_published: bool,
    error: type[Exception] | None,
) -> None:
    report = Report(tuple(tuning), tuple(scored))
    if error is None:
        hardware.check_report(report, against_published=against_published)
    else:
        with pytest.raises(error):
            hardware.check_report(report, against_published=against_published)


@pytest.mark.clause("HARD-4")
def test_the_official_machine_is_that_of_a_known_version() -> None:
    with pytest.raises(UnknownVersion):
        hardware.check_report(Report((), (A100,)), against_published=False, version="v9")


@pytest.mark.clause("HARD-5")
@pytest.mark.parametrize(
    ("peaks", "host", "message"),
    [
        ([16.0] * 8, 240.0, None),
        ([], 0.0, None),
        ([1.0, 16.1, 1.0], 10.0, "an accelerator needs 16.1 GB of 16 GB"),
        ([30.0], 10.0, "an accelerator needs 30 GB of 16 GB"),
        ([1.0, math.nan], 10.0, "an accelerator needs nan GB"),
        ([math.nan, 1.0], 10.0, "an accelerator needs nan GB"),
        ([1.0] * 9, 10.0, "9 accelerators, 8x NVIDIA V100 16 GB exist"),
        ([1.0], 241.0, "the host needs 241 GB of 240 GB"),
        ([1.0], math.nan, "the host needs nan GB"),
    ],
)
def test_a_submission_fits_or_the_message_says_what_does_not(
    peaks: list[float], host: float, message: str | None
) -> None:
    if message is None:
        hardware.check_fits(peaks, host)
    else:
        with pytest.raises(hardware.DoesNotFit, match=message):
            hardware.check_fits(peaks, host)
