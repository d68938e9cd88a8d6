"""Laws of comparing machines and reports."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import hardware
from spec.clauses import BrokenRule
from spec.hardware import V100_MACHINE, Machine, Report

machines = st.sampled_from(
    [
        V100_MACHINE,
        replace(V100_MACHINE, storage_gb=500),
        replace(V100_MACHINE, num_accelerators=1),
        Machine("NVIDIA A100", 8, 40, 900, 4000),
    ]
)
lists = st.lists(machines, max_size=5)
reports = st.builds(Report, lists.map(tuple), lists.map(tuple))


def passes(check: Callable[[], None]) -> bool:
    try:
        check()
    except BrokenRule:
        return False
    return True


@pytest.mark.clause("HARD-2")
@given(lists, st.randoms(use_true_random=False))
def test_machines_are_comparable_exactly_if_all_pairs_are(
    several: list[Machine], order: random.Random
) -> None:
    together = passes(lambda: hardware.check_comparable(several))
    pairs = [[first, second] for first in several for second in several]
    assert together == all(passes(lambda p=p: hardware.check_comparable(p)) for p in pairs)
    assert together == (len(set(several)) <= 1)
    order.shuffle(several)
    assert together == passes(lambda: hardware.check_comparable(several))


@pytest.mark.clause("HARD-3", "HARD-4")
@given(reports, st.booleans())
def test_a_report_passes_exactly_under_the_written_conditions(
    report: Report, against_published: bool
) -> None:
    official = all(machine == V100_MACHINE for machine in report.scored) and report.scored
    expected = (
        len(set(report.tuning)) <= 1
        and len(set(report.scored)) <= 1
        and (bool(official) or not against_published)
    )
    assert expected == passes(
        lambda: hardware.check_report(report, against_published=against_published)
    )


@pytest.mark.clause("HARD-3", "HARD-4")
@given(reports)
def test_what_compares_with_published_results_compares_with_itself(report: Report) -> None:
    if passes(lambda: hardware.check_report(report, against_published=True)):
        hardware.check_report(report, against_published=False)
        repeated = Report(report.tuning, (*report.scored, V100_MACHINE))
        hardware.check_report(repeated, against_published=True)


@pytest.mark.clause("HARD-3")
@given(reports, st.integers(0, 5), machines)
def test_the_machine_of_consistent_tuning_trials_does_not_matter(
    report: Report, trials: int, machine: Machine
) -> None:
    there = replace(report, tuning=(machine,) * trials)
    nowhere = replace(report, tuning=())
    for published in (True, False):
        assert passes(
            lambda p=published: hardware.check_report(there, against_published=p)
        ) == passes(lambda p=published: hardware.check_report(nowhere, against_published=p))


memory = st.floats(min_value=0, max_value=40)


@pytest.mark.clause("HARD-5")
@given(st.lists(memory, max_size=8), st.floats(min_value=0, max_value=400), st.data())
def test_what_fits_still_fits_with_less(
    peaks: list[float], host: float, data: st.DataObject
) -> None:
    fits = passes(lambda: hardware.check_fits(peaks, host))
    assert fits == (max(peaks, default=0) <= 16 and host <= 240)
    less = [data.draw(st.floats(min_value=0, max_value=peak)) for peak in peaks]
    if fits:
        hardware.check_fits(less, host / 2)
        hardware.check_fits(less[1:], host)
