"""The benchmarking hardware, and which times measured on which machines may be compared.

Sizes are in the gigabytes in which the rules state them; nothing here converts units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from spec.clauses import VERSIONS, BrokenRule, Source, check_version, clause, rule

_RULES = Source("Rules v0.6", "Benchmarking hardware")
_PAPER = Source("Dahl et al. 2023", "4.1.2")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a time depends on.

    Attributes:
      accelerator: model of the accelerators.
      num_accelerators: how many of them.
      accelerator_memory_gb: memory of each.
      host_memory_gb: memory of the host.
      storage_gb: storage for the data sets.
    """

    accelerator: str
    num_accelerators: int
    accelerator_memory_gb: float
    host_memory_gb: float
    storage_gb: float

    @property
    def accelerators(self) -> str:
        """The accelerators in a few words."""
        return f"{self.num_accelerators}x {self.accelerator} {self.accelerator_memory_gb:g} GB"


rule(
    "HARD-1",
    "The benchmarking hardware of every version so far has eight NVIDIA V100 GPUs of 16 GB each; "
    "v0.6 adds 240 GB of host memory and 2 TB of storage for the data sets, which the paper "
    "leaves open.",
    source=(_RULES, _PAPER),
    implementation="spec.hardware.OFFICIAL",
)
V100_MACHINE = Machine(
    accelerator="NVIDIA V100",
    num_accelerators=8,
    accelerator_memory_gb=16,
    host_memory_gb=240,
    storage_gb=2000,
)
OFFICIAL: Mapping[str, Machine] = MappingProxyType(dict.fromkeys(VERSIONS, V100_MACHINE))
"""The machine that official times refer to, by ruleset version; a later version may change it."""


class IncomparableHardware(BrokenRule, clause="HARD-2"):
    """Times of different machines are compared."""


class InconsistentTuning(BrokenRule, clause="HARD-3"):
    """The tuning trials of one report ran on different machines."""


class NotOnBenchmarkingHardware(BrokenRule, clause="HARD-4"):
    """A report is compared with published results without runs on the official machine."""


class DoesNotFit(BrokenRule, clause="HARD-5"):
    """A submission needs more memory than the benchmarking hardware has."""


@clause(
    "HARD-2",
    """Wall-clock times may be compared only if they were measured on the same hardware: all
    officially scored runs share one machine, and a report measures all algorithms on one.""",
    source=(_RULES, _PAPER),
)
def check_comparable(machines: Iterable[Machine]) -> None:
    """Raises unless times measured on these machines may be compared with each other.

    Args:
      machines: one per run.

    Raises:
      IncomparableHardware: two differ; the message names the first difference.
    """
    compared = list(machines)
    for other in compared[1:]:
        if difference := _difference(compared[0], other):
            raise IncomparableHardware(f"times of different machines are compared: {difference}")


@dataclass(frozen=True, slots=True)
class Report:
    """The machines of a self-reported result on one workload.

    Attributes:
      tuning: of each tuning trial, the slower ones included.
      scored: of each run whose time is reported, in external tuning the repetition of the
        fastest trial of each study (or that trial itself); in self-tuning every run.
    """

    tuning: tuple[Machine, ...]
    scored: tuple[Machine, ...]


@clause(
    "HARD-3",
    """Tuning trials may run on other hardware than the scored runs, as long as all of them run on
    the same.""",
    source=(_RULES, _PAPER),
)
@clause(
    "HARD-4",
    """Self-reported times are comparable to published ones only if at least the fastest trials
    were repeated on the benchmarking hardware; hardware of the reporter's own choice is allowed
    for everything else.""",
    source=(_RULES, _PAPER),
)
def check_report(report: Report, *, against_published: bool, version: str = "v0.6") -> None:
    """Raises if a self-reported result must not be used as it is meant to be.

    Args:
      report: the machines that it was measured on; at least one scored run.
      against_published: the times will be compared with those of the leaderboard, not only with
        each other.
      version: ruleset version of the published results.

    Raises:
      InconsistentTuning: the tuning trials ran on different machines.
      IncomparableHardware: the scored runs did.
      NotOnBenchmarkingHardware: ``against_published``, and no run was scored or one was scored on
        another machine than the official one.
      spec.clauses.UnknownVersion: no such version.
    """
    official = OFFICIAL[check_version(version)]
    try:
        check_comparable(report.tuning)
    except IncomparableHardware as error:
        raise InconsistentTuning(f"the tuning trials are not consistent: {error.args[0]}") from None
    check_comparable(report.scored)
    if not against_published:
        return
    if not report.scored:
        raise NotOnBenchmarkingHardware("no run was scored on the benchmarking hardware")
    if difference := _difference(official, report.scored[0]):
        raise NotOnBenchmarkingHardware(
            f"repeat the fastest trials on the benchmarking hardware: {difference}"
        )


@clause(
    "HARD-5",
    """A submission fits on the benchmarking hardware: on each accelerator its memory use stays
    within that accelerator's memory, however many accelerators it was developed on, and on the
    host within the host's.""",
    source=(_RULES, Source("Rules v0.6", "FAQs")),
    checked_on="submission",
)
def check_fits(
    peak_gb_by_accelerator: Iterable[float], host_peak_gb: float, version: str = "v0.6"
) -> None:
    """Raises if a submission's memory use exceeds the benchmarking hardware.

    Args:
      peak_gb_by_accelerator: peak use on each accelerator of a run at the batch size that the
        submission chooses for the official number of accelerators.
      host_peak_gb: peak use of host memory.
      version: ruleset version.

    Raises:
      DoesNotFit: some memory is too small, or the run used more accelerators than there are.
      spec.clauses.UnknownVersion: no such version.
    """
    machine = OFFICIAL[check_version(version)]
    peaks = list(peak_gb_by_accelerator)
    if len(peaks) > machine.num_accelerators:
        raise DoesNotFit(f"the run used {len(peaks)} accelerators, {machine.accelerators} exist")
    for peak in peaks:
        # Written as "not within" so that an unknown use (NaN) does not pass.
        if not peak <= machine.accelerator_memory_gb:
            raise DoesNotFit(
                f"an accelerator needs {peak:g} GB of {machine.accelerator_memory_gb:g} GB"
            )
    if not host_peak_gb <= machine.host_memory_gb:
        raise DoesNotFit(f"the host needs {host_peak_gb:g} GB of {machine.host_memory_gb:g} GB")


def _difference(first: Machine, second: Machine) -> str:
    """The first attribute in which two machines differ, in words; empty if there is none."""
    for field in fields(Machine):
        ours, theirs = getattr(first, field.name), getattr(second, field.name)
        if ours != theirs:
            return f"{field.name} is {ours} and {theirs}"
    return ""
