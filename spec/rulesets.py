"""The versions of the rules as data: a difference between versions is a difference of values."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from spec.clauses import Source, check_version, clause, rule
from spec.hardware import V100_MACHINE

_VERSIONS = Source("Scoring semantics", "1")


class Tuning(enum.StrEnum):
    """The two competitions."""

    EXTERNAL = "external"
    SELF = "self"


class Split(enum.StrEnum):
    """A split that a target is defined on."""

    VALIDATION = "validation"
    TEST = "test"


class HeldOut(enum.StrEnum):
    """Which held-out workloads a version scores beside the base workloads."""

    NONE = "none"
    ONE_PER_DATASET = "one_per_dataset"
    ONE_PER_WORKLOAD = "one_per_workload"


class Condition(enum.StrEnum):
    """What a submission must meet on a base workload for its time there to count."""

    BASE_REACHED = "base_reached"
    BASE_NEAR_FASTEST = "base_near_fastest"
    HELD_OUT_REACHED = "held_out_reached"
    HELD_OUT_NEAR_FASTEST = "held_out_near_fastest"


@dataclass(frozen=True)
class Ruleset:
    """One version of the rules.

    Attributes:
      version: ruleset version.
      num_trials: trials of a study, by tuning ruleset.
      num_studies: independent studies, by tuning ruleset.
      self_tuning_budget_factor: what a workload's budget is multiplied by in self-tuning.
      r_max: performance ratio at which a submission's credit on a workload ends.
      stop_splits: a run may stop once its targets on all these splits have been reached.
      trial_choice_split: the fastest trial to the target on this split stands for its study.
      external_time_splits: external tuning: the score's time is when all these targets were met.
      self_tuning_time_splits: the same in self-tuning.
      credit_conditions: what a time on a base workload must meet to count.
      credit_splits: these conditions are on the time when all these targets were met.
      held_out: which held-out workloads are scored.
      held_out_workloads: the drawn ones, where the draw is part of the published version.
      qualification_workloads: the recommended cheaper subset; empty if the version has none.
      dropout_per_call: the dropout rate is an argument of ``model_fn`` (else of
        ``init_model_fn``).
      hardware: the machine that official times refer to.
    """

    version: str
    num_trials: Mapping[Tuning, int] = field(hash=False)
    num_studies: Mapping[Tuning, int] = field(hash=False)
    self_tuning_budget_factor: float
    r_max: float
    stop_splits: tuple[Split, ...]
    trial_choice_split: Split
    external_time_splits: tuple[Split, ...]
    self_tuning_time_splits: tuple[Split, ...]
    credit_conditions: tuple[Condition, ...]
    credit_splits: tuple[Split, ...]
    held_out: HeldOut
    held_out_workloads: tuple[str, ...]
    qualification_workloads: tuple[str, ...]
    dropout_per_call: bool
    hardware: str

    @clause(
        "RULE-1",
        "A trial of the external tuning ruleset may use the workload's maximum runtime; a "
        "self-tuning run may use a multiple of it, 1.5 in v0.6 and 3 before.",
        source=(
            Source("Rules v0.6", "Self-tuning ruleset"),
            Source("Kasimbeg et al. 2025", "Table 2"),
            _VERSIONS,
        ),
    )
    def budget_seconds(self, max_allowed_runtime_sec: float, tuning: Tuning | str) -> float:
        """Submission time that a run may use, in seconds.

        Args:
          max_allowed_runtime_sec: the workload's maximum runtime in this version, seconds.
          tuning: tuning ruleset or its name.

        Returns:
          The budget in seconds.

        Raises:
          ValueError: no such tuning ruleset.
        """
        factor = self.self_tuning_budget_factor if Tuning(tuning) is Tuning.SELF else 1.0
        return factor * max_allowed_runtime_sec


def _per_tuning(external: int, self_tuning: int) -> Mapping[Tuning, int]:
    return MappingProxyType({Tuning.EXTERNAL: external, Tuning.SELF: self_tuning})


rule(
    "RULE-2",
    "External tuning: five studies of twenty trials in the paper, five of five in v0.5, three of "
    "five in v0.6. Self-tuning: one run in each of as many studies.",
    source=(
        Source("Rules v0.6", "External tuning ruleset"),
        Source("Kasimbeg et al. 2025", "Experiment setup"),
        Source("Dahl et al. 2023", "4.4.1"),
        _VERSIONS,
    ),
    implementation="spec.rulesets.RULESETS",
)
rule(
    "RULE-3",
    "A submission four or more times slower than the fastest gets no credit on a workload: the "
    "performance profile is integrated up to the ratio 4.",
    source=(Source("Rules v0.6", "AlgoPerf Benchmark Score"), Source("Dahl et al. 2023", "4.5.2")),
    implementation="spec.rulesets.RULESETS",
)
rule(
    "RULE-4",
    "Since v0.5 the score uses the time to the validation target.",
    source=(Source("Rules v0.6", "Scoring"), _VERSIONS),
    implementation="spec.rulesets.RULESETS",
    versions=("v0.5", "v0.6"),
)
rule(
    "RULE-5",
    "The paper chooses the trial of a study by its time to the validation target and scores its "
    "time to the test target; in self-tuning only the test target counts.",
    source=(Source("Dahl et al. 2023", "4.4.1"), _VERSIONS),
    implementation="spec.rulesets.PAPER_2023",
    versions=("paper2023",),
)
rule(
    "RULE-6",
    "A run stops when both its validation and its test target have been reached, in every "
    "version; scoring reads from the log what it needs.",
    source=(Source("Harness contract", "5"), Source("Decisions", "5")),
    implementation="spec.rulesets.RULESETS",
)
rule(
    "RULE-7",
    "Held-out workloads: one drawn per base workload in the paper, the six that were drawn (one "
    "per data set) in v0.5, none in v0.6.",
    source=(Source("Dahl et al. 2023", "4.3.1"), _VERSIONS),
    implementation="spec.rulesets.RULESETS",
)
rule(
    "RULE-8",
    "The qualification set, criteo1tb, ogbg and wmt, is a recommended cheaper estimate.",
    source=Source("Rules v0.6", "Qualification set"),
    implementation="spec.rulesets.V0_6",
    versions=("v0.5", "v0.6"),
)
rule(
    "RULE-9",
    "Official times are measured on eight NVIDIA V100 GPUs with 16 GB each.",
    source=Source("Rules v0.6", "Benchmarking hardware"),
    implementation="spec.rulesets.RULESETS",
)

V0_6 = Ruleset(
    version="v0.6",
    num_trials=_per_tuning(external=5, self_tuning=1),
    num_studies=_per_tuning(external=3, self_tuning=3),
    self_tuning_budget_factor=1.5,
    r_max=4.0,
    stop_splits=(Split.VALIDATION, Split.TEST),
    trial_choice_split=Split.VALIDATION,
    external_time_splits=(Split.VALIDATION,),
    self_tuning_time_splits=(Split.VALIDATION,),
    credit_conditions=(Condition.BASE_REACHED, Condition.BASE_NEAR_FASTEST),
    credit_splits=(Split.VALIDATION,),
    held_out=HeldOut.NONE,
    held_out_workloads=(),
    qualification_workloads=("criteo1tb", "ogbg", "wmt"),
    dropout_per_call=True,
    hardware=V100_MACHINE.accelerators,
)
"""The current rules."""

V0_5 = replace(
    V0_6,
    version="v0.5",
    num_studies=_per_tuning(external=5, self_tuning=5),
    self_tuning_budget_factor=3.0,
    credit_conditions=tuple(Condition),
    held_out=HeldOut.ONE_PER_DATASET,
    held_out_workloads=(
        "criteo1tb_embed_init",
        "fastmri_tanh",
        "imagenet_resnet_large_bn_init",
        "librispeech_conformer_layernorm",
        "ogbg_model_size",
        "wmt_glu_tanh",
    ),
    dropout_per_call=False,
)
"""The first competition, as it was scored."""

PAPER_2023 = replace(
    V0_5,
    version="paper2023",
    num_trials=_per_tuning(external=20, self_tuning=1),
    external_time_splits=(Split.TEST,),
    # The paper's held-out section asks for both targets, its self-tuning section for this one.
    self_tuning_time_splits=(Split.TEST,),
    credit_splits=(Split.VALIDATION, Split.TEST),
    held_out=HeldOut.ONE_PER_WORKLOAD,
    held_out_workloads=(),  # drawn after the submissions are frozen; the paper draws none
    qualification_workloads=(),
)
"""The benchmark paper."""

rule(
    "RULE-10",
    "The rules exist in three versions, which are named exactly: the paper of 2023, the first "
    "competition (v0.5) and v0.6.",
    source=(Source("Rules v0.6", "Versioning Policy"), _VERSIONS),
    implementation="spec.rulesets.RULESETS",
)
RULESETS: Mapping[str, Ruleset] = MappingProxyType(
    {ruleset.version: ruleset for ruleset in (PAPER_2023, V0_5, V0_6)}
)
"""Rulesets by version, oldest first."""


def get(version: str = "v0.6") -> Ruleset:
    """The ruleset of a version.

    Args:
      version: one of :data:`spec.clauses.VERSIONS`.

    Returns:
      The ruleset.

    Raises:
      spec.clauses.UnknownVersion: no ruleset has this version.
    """
    return RULESETS[check_version(version)]
