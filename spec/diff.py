"""What changed between two versions of the rules: ``python -m spec diff v0.5 v0.6``.

Nothing is written down twice here. Every version is flattened into a mapping from *places* (kind,
subject, field) to values: the fields of its ruleset, its rows of the workload table, its budgets,
which argument sets which dropout rate, the integers of the parameter types, the pools of held-out
workloads, the budgets of target setting, its hardware, and the clauses that hold in it. Two
versions differ where these mappings differ.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

from spec import dropout, hardware, heldout, rulesets, submission, target_budget, workloads
from spec.clauses import check_version, load_all
from spec.rulesets import Tuning

Place: TypeAlias = tuple[str, str, str]
"""(kind, subject, field) of a value; see :class:`Change`."""

KINDS: tuple[str, ...] = (
    "rules",
    "workloads",
    "variants",
    "dropout",
    "parameter types",
    "held-out workloads",
    "target setting",
    "hardware",
    "clauses",
)
"""Kinds of places, in the order in which changes are listed."""


class Absence(enum.Enum):
    """The value of a place that a version does not have."""

    ABSENT = "absent"

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absence.ABSENT

CLAUSES_OF_FIELDS: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("rules", "num_trials"): ("RULE-2",),
        ("rules", "num_studies"): ("RULE-2",),
        ("rules", "self_tuning_budget_factor"): ("RULE-1",),
        ("rules", "r_max"): ("RULE-3",),
        ("rules", "stop_splits"): ("RULE-6",),
        ("rules", "trial_choice_split"): ("RULE-4", "RULE-5"),
        ("rules", "external_time_splits"): ("RULE-4", "RULE-5", "SCORE-1"),
        ("rules", "self_tuning_time_splits"): ("RULE-4", "RULE-5", "SCORE-1"),
        ("rules", "credit_conditions"): ("HELD-6",),
        ("rules", "credit_splits"): ("HELD-7",),
        ("rules", "held_out"): ("RULE-7",),
        ("rules", "held_out_workloads"): ("RULE-7",),
        ("rules", "qualification_workloads"): ("RULE-8",),
        ("rules", "dropout_per_call"): ("DROP-5", "DROP-6"),
        ("rules", "hardware"): ("RULE-9",),
        ("workloads", "max_allowed_runtime_sec"): ("WORK-2",),
        ("workloads", "step_hint"): ("WORK-2",),
        ("workloads", "self_tuning_budget_seconds"): ("RULE-1", "WORK-2"),
        ("variants", "max_allowed_runtime_sec"): ("WORK-2", "WORK-11"),
        ("variants", "step_hint"): ("WORK-2", "WORK-11"),
        ("variants", "self_tuning_budget_seconds"): ("RULE-1", "WORK-11"),
        ("dropout", "argument"): ("DROP-5", "DROP-6"),
        ("parameter types", "value"): ("SUB-3", "SUB-4"),
        ("held-out workloads", "drawn from"): ("HELD-2",),
        ("target setting", "runtime_ratio"): ("TGT-10",),
        ("target setting", "steps_ratio"): ("TGT-10",),
    }
)
"""Which clauses speak of a field, by kind and first part of the field's name."""


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs between two versions.

    Attributes:
      kind: one of :data:`KINDS`.
      subject: what the value belongs to: a version's rules, a workload, a clause.
      field: name of the value; parts of nested values are joined by dots.
      before: the value in the first version, :data:`ABSENT` if it has none.
      after: the value in the second version, likewise.
      clauses: ids of the clauses that speak of the field; may be empty.
    """

    kind: str
    subject: str
    field: str
    before: Any
    after: Any
    clauses: tuple[str, ...] = ()

    @property
    def place(self) -> Place:
        """Where the value stands."""
        return self.kind, self.subject, self.field


def flatten(value: object, name: str = "") -> Iterator[tuple[str, Any]]:
    """Takes a value apart into named parts that are compared as they are.

    Args:
      value: a dataclass, a mapping, or anything else, which is one part.
      name: name of the whole.

    Yields:
      (name, value) of every part; the names of nested parts are joined by dots.
    """
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, part in value.items():
        yield from flatten(part, f"{name}.{key}" if name else str(key))


def values(version: str) -> Mapping[Place, Any]:
    """Everything that a version of the rules states, by place.

    Args:
      version: ruleset version.

    Returns:
      The values; a place that another version has may be missing.

    Raises:
      spec.clauses.UnknownVersion: no ruleset has this version.
    """
    check_version(version)
    result: dict[Place, Any] = {}
    for kind, subject, whole in _subjects(version):
        for name, part in flatten(whole):
            result[kind, subject, name] = part
    return result


def _subjects(version: str) -> Iterator[tuple[str, str, Any]]:
    ruleset = rulesets.get(version)
    # The version's name is not something that changed.
    yield "rules", "ruleset", {k: v for k, v in flatten(ruleset) if k != "version"}
    for name in workloads.names():
        row = workloads.get(name, version)
        kind = "variants" if row.is_variant else "workloads"
        yield kind, name, row
        seconds = ruleset.budget_seconds(row.max_allowed_runtime_sec, Tuning.SELF)
        yield kind, name, {"self_tuning_budget_seconds": seconds}
    for name in workloads.names("base"):
        yield "dropout", name, {"rate": dropout.default_rates(name)}
        yield "dropout", name, {"argument": _dropout_arguments(name, version)}
        yield "target setting", name, target_budget.target_budget(name, version)
    for name, number in submission.parameter_type_values(version).items():
        yield "parameter types", name, {"value": number}
    for pool, variants in heldout.pools(version).items():
        yield "held-out workloads", pool, {"drawn from": variants}
    yield "hardware", "machine", hardware.OFFICIAL[version]
    for rule in load_all().values():
        if version in rule.versions:
            yield "clauses", rule.id, {"statement": rule.statement}


def _dropout_arguments(workload: str, version: str) -> Mapping[str, str]:
    """Which argument sets the rate of each kind of dropout, found by setting both."""
    # Before v0.6 both are arguments of `init_model_fn`, since then one is of `model_fn`.
    per_call = rulesets.get(version).dropout_per_call
    function = "model_fn" if per_call else "init_model_fn"
    main, auxiliary = 0.25, 0.75  # two rates that are nobody's default
    rates = dropout.rates(workload, main, None if per_call else auxiliary, version=version)
    names = {main: f"{function}: dropout_rate", auxiliary: f"{function}: aux_dropout_rate"}
    return {kind.value: names.get(rate, "none") for kind, rate in rates.items()}


def compare(before: Mapping[Place, Any], after: Mapping[Place, Any]) -> tuple[Change, ...]:
    """Compares the values of two versions.

    Args:
      before: values by place.
      after: values by place.

    Returns:
      One change per place with different values, by kind, then in the order of the places.
    """
    places = sorted(
        dict.fromkeys((*before, *after)), key=lambda place: KINDS.index(place[0])
    )  # a stable sort
    return tuple(
        Change(*place, before.get(place, ABSENT), after.get(place, ABSENT), _clauses(place))
        for place in places
        if not _same(before.get(place, ABSENT), after.get(place, ABSENT))
    )


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


def _clauses(place: Place) -> tuple[str, ...]:
    kind, subject, name = place
    if kind == "clauses":
        return (subject,)
    return CLAUSES_OF_FIELDS.get((kind, name.split(".")[0]), ())


def apply(before: Mapping[Place, Any], changes: Iterable[Change]) -> dict[Place, Any]:
    """Applies changes to the values that they start from.

    Args:
      before: values by place.
      changes: what :func:`compare` returned for ``before`` and other values.

    Returns:
      The other values.
    """
    result = dict(before)
    for change in changes:
        if change.after is ABSENT:
            del result[change.place]
        else:
            result[change.place] = change.after
    return result


def diff(old: str, new: str) -> tuple[Change, ...]:
    """Compares two versions of the rules.

    Args:
      old: ruleset version.
      new: ruleset version, older or newer.

    Returns:
      Every value that differs.

    Raises:
      spec.clauses.UnknownVersion: no ruleset has this version.
    """
    return compare(values(old), values(new))
