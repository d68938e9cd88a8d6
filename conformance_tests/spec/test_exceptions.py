"""Every rule that a caller can break has an exception of its own, which names the clause."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from spec import (
    calls,
    clauses,
    costs,
    data_order,
    dropout,
    evaluation,
    halton,
    hardware,
    heldout,
    profiles,
    records,
    rulesets,
    schedules,
    scoring,
    search_space,
    target_budget,
    target_setting,
    tiers,
    timing,
    tuning,
    variant_testing,
    versions,
    workloads,
)
from spec.clauses import BrokenRule
from spec.rulesets import Split, Tuning
from spec.timing import Clock, Event
from spec.workloads import Direction

LINEAR = {"min": 1.0, "max": 2.0, "scaling": "linear"}
GOAL = evaluation.Goal("wer", Direction.MINIMIZE, 0.1, 0.05)

MACHINES = (hardware.V100_MACHINE, replace(hardware.V100_MACHINE, storage_gb=1))


def report(tuned_on: Any, scored_on: Any) -> Callable[[], Any]:
    made = hardware.Report(tuned_on, scored_on)
    return lambda: hardware.check_report(made, against_published=True)


def space(**dimensions: Any) -> Callable[[], Any]:
    return lambda: search_space.validate_search_space(dimensions)


def trials(**changes: Any) -> Callable[[], Any]:
    arguments = {"num_trials": 5, "seed": 0, "study": 0, "num_studies": 3, **changes}
    return lambda: tuning.trial_points({"x": LINEAR}, **arguments)


def directory(**changes: Any) -> Callable[[], Any]:
    arguments: dict[str, Any] = {
        "experiment_dir": "runs",
        "experiment_name": "one",
        "workload": "ogbg",
        "framework": "jax",
        "trial": 1,
        **changes,
    }
    return lambda: records.trial_directory(**arguments)


def targets(*pairs: tuple[float, float]) -> Callable[[], Any]:
    reruns = [target_setting.Rerun(validation, test) for validation, test in pairs]
    return lambda: target_setting.targets(reruns, Direction.MINIMIZE)


# The class, what breaks the rule, and a part of the message.
BROKEN: list[tuple[type[BrokenRule], Callable[[], Any], str]] = [
    (clauses.UnknownVersion, lambda: rulesets.get("v0.7"), "unknown ruleset version 'v0.7'"),
    (clauses.UnknownVersion, lambda: tiers.get("ogbg", "mini", "v7"), "known: paper2023, v0.5"),
    (workloads.UnknownWorkload, lambda: workloads.get("wtm"), "did you mean wmt?"),
    (workloads.UnknownWorkload, lambda: tiers.get("none", "mini"), "unknown workload 'none'"),
    (timing.InvalidReading, lambda: Clock.start(math.nan), "not a finite number of seconds"),
    (timing.InvalidReading, lambda: Clock.start(0.0, -1.0), "carried seconds are 0 or more"),
    (
        timing.InvalidReading,
        lambda: Clock.start(0.0).advance(Event.STEP_ENDED, math.inf),
        "a reading is a finite number",
    ),
    (
        timing.ClockWentBackwards,
        lambda: Clock.start(1.0).advance(Event.STEP_ENDED, 0.5),
        "went back by 500000000 ns",
    ),
    (
        timing.IllegalEvent,
        lambda: Clock.start(1.0).advance(Event.EVALUATED, 2.0),
        "'evaluated' cannot come directly after the start",
    ),
    (
        evaluation.MissingMetric,
        lambda: evaluation.evaluation_problem({"validation/wer": 0.2}, GOAL),
        "has no 'test/wer', only ['validation/wer']",
    ),
    (halton.NoDimensions, lambda: halton.halton_points(3, 0), "at least 1 dimension, not 0"),
    (halton.NegativeNumberOfPoints, lambda: halton.halton_points(-1, 1), "points is -1"),
    (
        halton.NegativeNumberOfPoints,
        lambda: tuning.quasi_random_points([{"x": 1}], -2),
        "points is -2; it cannot be negative",
    ),
    (tuning.NoTrials, trials(num_trials=0), "the number of trials is 0"),
    (tuning.NoSuchStudy, trials(study=3), "study 3 does not exist; there are 3, from 0"),
    (tuning.IllegalRunSeed, trials(seed=2**32), "the seed is 4294967296; it lies between 0 and"),
    (tuning.IllegalRunSeed, lambda: tuning.trial_seed(-1, 0, 0), "the seed is -1"),
    (tuning.IllegalIndex, lambda: tuning.trial_seed(0, 0, 2**16), "trial is 65536"),
    (search_space.NotASearchSpace, space(), "names no hyperparameter"),
    (
        search_space.NotASearchSpace,
        lambda: search_space.validate_search_space([]),
        "the list of points is empty",
    ),
    (
        search_space.NotASearchSpace,
        lambda: search_space.validate_search_space("x"),
        "the search space is a str",
    ),
    (search_space.IllegalName, space(**{"learning-rate": LINEAR}), "'learning-rate' cannot be"),
    (search_space.IllegalDimension, space(x={"min": 1.0, "max": 2.0}), "'x' lacks 'scaling'"),
    (search_space.IllegalDimension, space(x={"feasible_points": []}), "is empty"),
    (search_space.IllegalRange, space(x={**LINEAR, "scaling": "logarithmic"}), "'linear' or 'log'"),
    (search_space.IllegalRange, space(x={**LINEAR, "max": 1.0}), "'min' 1.0 is not below 'max'"),
    (search_space.IllegalRange, space(x={**LINEAR, "min": math.nan}), "finite number"),
    (search_space.IllegalValue, space(x={"feasible_points": [{}]}), "'feasible_points'[0] is a"),
    (
        search_space.UnequalPoints,
        lambda: search_space.validate_search_space([{"x": 1}, {"y": 1}]),
        "point 1 lacks ['x'] and adds ['y']",
    ),
    (dropout.NoDropoutDefaults, lambda: dropout.default_rate("mnist"), "for workload 'mnist'"),
    (
        dropout.AuxiliaryRateRemoved,
        lambda: dropout.rates("wmt", aux_dropout_rate=0.1),
        "does not exist in v0.6",
    ),
    (dropout.IllegalDropoutRate, lambda: dropout.rates("wmt", 1.0), "dropout_rate is 1.0"),
    (records.IllegalWorkloadDirectory, directory(framework="tf"), "framework is 'tf'"),
    (records.IllegalWorkloadDirectory, directory(workload="a/b"), "'a/b' cannot be part"),
    (
        records.IllegalWorkloadDirectory,
        lambda: records.parse_workload_directory("ogbg"),
        "directory 'ogbg' is not <workload>_<framework>",
    ),
    (records.IllegalTrialNumber, directory(trial=0), "trials are counted from 1"),
    (records.IllegalStudyNumber, directory(study=-1), "studies are counted from 0"),
    (records.OutsideExperiments, directory(experiment_name="../x"), "must stay inside"),
    (records.NotNumbered, lambda: records.parse_numbered("trial_01", "trial"), "'trial_01' is not"),
    (records.NegativeCount, lambda: records.checkpoint_name(-1), "global step is -1"),
    (scoring.IllegalTime, lambda: scoring.study_time([0.0]), "a time is 0.0 s"),
    (
        scoring.IllegalTime,
        lambda: scoring.first_hit([(-1.0, 0.1)], 0.1, Direction.MINIMIZE, 9.0),
        "reached after -1.0 s",
    ),
    (scoring.UnpairedTimes, lambda: scoring.study_time([1.0], []), "1 selection times and 0"),
    (
        scoring.TooManyTrials,
        lambda: scoring.ruleset_study_time(
            rulesets.get("v0.6"), Tuning.SELF, [{Split.VALIDATION: 1.0}] * 2
        ),
        "2 trials where v0.6 has 1",
    ),
    (scoring.TooManyStudies, lambda: scoring.workload_time([1.0], 0), "1 studies where 0"),
    (scoring.NothingToScore, lambda: scoring.all_ratios({}, []), "no workloads to score"),
    (profiles.NoRatios, lambda: profiles.score([]), "there are no ratios"),
    (profiles.IllegalRatio, lambda: profiles.score([0.5]), "a performance ratio is 0.5"),
    (profiles.IllegalLimit, lambda: profiles.score([1.0], 1.0), "r_max is 1.0"),
    (profiles.TooFewGridPoints, lambda: profiles.grid_score([1.0], 4.0, 1), "a grid of 1 points"),
    (
        target_setting.NoBestTrial,
        lambda: target_setting.best_trial([math.nan], Direction.MINIMIZE),
        "none of 1 trials has a finite value",
    ),
    (target_setting.NoValidationTarget, targets(), "at least one rerun"),
    (target_setting.NoValidationTarget, targets((math.inf, 0.1)), "half or more of 1 reruns"),
    (target_setting.NoTestTarget, targets((0.1, math.inf)), "without a test value"),
    (
        target_setting.UnknownAlgorithm,
        lambda: target_setting.best_configuration({"sgd": [0.1]}, Direction.MINIMIZE),
        "sgd is no target-setting algorithm; these are adamw,",
    ),
    (target_budget.IllegalStepTime, lambda: target_budget.steps_within(1.0, 0.0), "0.0 s; a"),
    (
        schedules.IllegalSchedule,
        lambda: schedules.warmup_cosine_decay(0, 1.0, 10, 11),
        "10 steps with 11 of warm-up",
    ),
    (heldout.NotAVariant, lambda: heldout.base_of("ogbg"), "ogbg is no variant"),
    (heldout.IllegalSeed, lambda: heldout.draw("v0.5", -1), "the seed is -1"),
    (heldout.WrongDraw, lambda: heldout.check_draw("v0.5", []), "one held-out workload for Crit"),
    (heldout.WrongDraw, lambda: heldout.check_draw("v0.6", ["ogbg_gelu"]), "v0.6 has no held-out"),
    (heldout.NotDrawnYet, lambda: heldout.held_out_workloads("paper2023"), "give a seed"),
    (
        variant_testing.UnpairedSettings,
        lambda: variant_testing.transfer([0.1], [], Direction.MINIMIZE),
        "1 settings on the base, 0",
    ),
    (
        variant_testing.IllegalMetric,
        lambda: variant_testing.is_trainable(0.0, 0.1, Direction.MINIMIZE),
        "the base workload's value is 0.0",
    ),
    (data_order.EmptySplit, lambda: data_order.epoch_and_position(0, 0), "0 examples"),
    (data_order.NegativePosition, lambda: data_order.epoch_and_position(-1, 5), "position -1"),
    (data_order.NegativeDataSeed, lambda: data_order.epoch_order(3, -1, 0), "data seed is -1"),
    (data_order.NegativePosition, lambda: data_order.epoch_parts(2, 1, 3), "are not a range"),
    (data_order.NegativePosition, lambda: data_order.epoch_order(3, 0, -1), "epoch -1 lies"),
    (data_order.NoSuchBatch, lambda: data_order.evaluation_batch(3, 9, 3), "batch 3 of 3"),
    (data_order.UnevenShards, lambda: data_order.shard_of(5, 0, 2), "5 is not a multiple"),
    (data_order.NoSuchShard, lambda: data_order.shard_of(0, 2, 2), "shard 2 of 2"),
    (calls.CallOutOfPlace, lambda: calls.check_call("f", calls.Phase.STEP), "f is not called in"),
    (calls.WrongReturn, lambda: calls.check_update_return(None), "got NoneType"),
    (calls.WrongLossKeys, lambda: calls.check_loss_result({"mean": 1.0}), "not ['mean']"),
    (calls.UnknownFramework, lambda: calls.batch_shape("tf", 1, 1, ()), "framework is 'tf'"),
    (hardware.IncomparableHardware, lambda: hardware.check_comparable(MACHINES), "storage_gb"),
    (hardware.InconsistentTuning, report(MACHINES, MACHINES[:1]), "are not consistent"),
    (hardware.NotOnBenchmarkingHardware, report((), MACHINES[1:]), "repeat the fastest trials"),
    (hardware.NotOnBenchmarkingHardware, report((), ()), "no run was scored"),
    (hardware.DoesNotFit, lambda: hardware.check_fits([17.0], 1.0), "needs 17 GB of 16 GB"),
    (versions.MalformedVersion, lambda: versions.Version.parse("6"), "'6' is not a version"),
    (
        versions.IncomparableVersions,
        lambda: versions.check_comparable({"code": "0.5.0", "rules": "0.6.0"}),
        "code 0.5.0, rules 0.6.0",
    ),
    (versions.PinError, lambda: versions.frozen_packages("jax>=1"), "line 1: 'jax>=1'"),
    (costs.NoSuchSet, lambda: costs.cost("v0.6", "self", "held_out"), "no held-out workloads"),
]


def case(index: int) -> Any:
    kind, trigger, part = BROKEN[index]
    mark = pytest.mark.clause(kind.clause)
    return pytest.param(kind, trigger, part, marks=mark, id=f"{kind.__name__}-{index}")


@pytest.mark.parametrize(("kind", "trigger", "part"), [case(i) for i in range(len(BROKEN))])
def test_a_broken_rule_raises_its_own_error_and_the_message_ends_with_the_clause(
    kind: type[BrokenRule], trigger: Callable[[], Any], part: str
) -> None:
    with pytest.raises(BrokenRule) as caught:
        trigger()
    assert type(caught.value) is kind
    message = str(caught.value)
    assert part in message
    assert message.endswith(f" [{kind.clause}]")
    assert "\n" not in message
    assert isinstance(caught.value, ValueError)


def leaves(kind: type[BrokenRule] = BrokenRule) -> list[type[BrokenRule]]:
    """The classes of `spec` below a class that have no class below them."""
    below = [c for c in kind.__subclasses__() if c.__module__.split(".")[0] == "spec"]
    return [leaf for child in below for leaf in leaves(child)] if below else [kind]


def bases() -> set[type[BrokenRule]]:
    return {base for leaf in leaves() for base in leaf.__mro__[1:] if issubclass(base, BrokenRule)}


def test_every_rule_that_can_be_broken_is_broken_in_the_table_above() -> None:
    book = clauses.load_all()
    assert len(leaves()) >= 40
    assert {leaf.clause for leaf in leaves()} <= set(book)
    missing = {leaf.__name__ for leaf in leaves()} - {kind.__name__ for kind, *_ in BROKEN}
    assert not missing, f"no case breaks the rule of {sorted(missing)}"


def test_names_tell_the_errors_apart() -> None:
    names = [leaf.__name__ for leaf in leaves()]
    assert len(set(names)) == len(names)
    texts = [leaf.__doc__ for leaf in leaves()]
    assert all(texts)
    assert len(set(texts)) == len(texts)


def test_a_base_class_names_no_clause_and_is_never_raised() -> None:
    for base in bases():
        assert base.clause == ""
    assert not bases() & {kind for kind, *_ in BROKEN}


@pytest.mark.parametrize(
    ("kind", "base"),
    [
        (search_space.IllegalRange, tuning.SearchSpaceError),
        (halton.NoDimensions, tuning.TuningError),
        (tuning.IllegalRunSeed, tuning.TuningError),
        (scoring.TooManyTrials, scoring.ScoringError),
        (profiles.IllegalTime, scoring.ScoringError),
        (target_setting.NoTestTarget, target_setting.TargetSettingError),
        (dropout.IllegalDropoutRate, dropout.DropoutError),
        (records.NotNumbered, records.RecordNameError),
        (timing.ClockWentBackwards, timing.ClockError),
    ],
)
def test_the_errors_of_a_subject_can_be_caught_as_one_kind(
    kind: type[BrokenRule], base: type[BrokenRule]
) -> None:
    assert issubclass(kind, base)
