"""What can be asked of the scorer: the options as given, and the settings that follow."""

from __future__ import annotations

import difflib
import enum
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from algoperf_ref.errors import UserError
from spec import rulesets, tiers, workloads
from spec.clauses import BrokenRule, UnknownVersion
from spec.heldout import base_of
from spec.leaderboard import Plan
from spec.rulesets import HeldOut, Ruleset, Tuning
from spec.tiers import Tier
from spec.uncertainty import DEFAULT_RESAMPLES, DEFAULT_SEED

DEFAULT_RULES = "v0.6"
DEFAULT_TUNING = Tuning.EXTERNAL
PUBLISHED = "published"
NONE = "none"
QUALIFICATION = "qualification"
MAX_RESAMPLES = 1_000_000

_E = TypeVar("_E", bound=enum.StrEnum)


class Timestamped(enum.StrEnum):
    """What a directory ``<name>-<year>-<month>-<day>-<hour>-<minute>-<second>`` is."""

    MERGE = "merge"
    SEPARATE = "separate"
    IGNORE = "ignore"


class TimeAxis(enum.StrEnum):
    """What is counted up to the target: submission seconds, or global steps."""

    TIME = "time"
    STEPS = "steps"


@dataclass(frozen=True)
class Options:
    """Options as a user gives them; None stands for the default.

    Attributes:
      rules: ruleset version; default v0.6, or that of ``against``.
      tuning: ``external`` or ``self``; default external, or that of ``against``.
      tier: ``full`` or ``mini``.
      num_studies: planned studies instead of the ruleset's.
      framework: take only runs of this framework; also that of directories that do not say it.
      held_out: names separated by commas, a file of names, ``published`` or ``none``; default:
        those of the version, and the published ones where the version names none.
      as_published: compute as the published leaderboards were.
      strict: findings that matter for official eligibility are errors.
      include: names of submissions to take, separated by commas; default all.
      exclude: names of submissions to leave out.
      reference: submission that speedups are relative to; default ``baseline``, or the first.
      against: published times to score together with: a name, or a file of the same schema.
      workloads: base workloads of the score, separated by commas, or ``qualification``.
      time_axis: see :class:`TimeAxis`.
      timestamped: see :class:`Timestamped`.
      both_targets: paper2023: the conditions look at validation and test target together.
      bootstrap: how often the studies are resampled for the intervals; 0 for none.
      bootstrap_seed: of the draws.
    """

    rules: str | None = None
    tuning: Tuning | str | None = None
    tier: Tier | str = Tier.FULL
    num_studies: int | None = None
    framework: str | None = None
    held_out: str | None = None
    as_published: bool = False
    strict: bool = False
    include: str | None = None
    exclude: str | None = None
    reference: str | None = None
    against: str | None = None
    workloads: str | None = None
    time_axis: TimeAxis | str = TimeAxis.TIME
    timestamped: Timestamped | str = Timestamped.MERGE
    both_targets: bool = False
    bootstrap: int = DEFAULT_RESAMPLES
    bootstrap_seed: int = DEFAULT_SEED


@dataclass(frozen=True)
class Settings:
    """Checked options.

    Attributes:
      options: as given.
      ruleset: version of the rules.
      tuning: tuning ruleset.
      tier: workload tier.
      time_axis: what is counted.
      timestamped: what a directory with a time in its name is.
      plan: what is scored.
    """

    options: Options
    ruleset: Ruleset
    tuning: Tuning
    tier: Tier
    time_axis: TimeAxis
    timestamped: Timestamped
    plan: Plan

    @property
    def wanted_workloads(self) -> frozenset[str] | None:
        """Workloads to read: None for all, else the scored and the held-out ones."""
        if self.options.workloads is None:
            return None
        return frozenset((*self.plan.workloads, *self.plan.held_out))


def resolve(options: Options) -> Settings:
    """Checks options and works out what is scored.

    Raises:
      UserError: an option names something that does not exist or does not go with another one;
        the message names the flag.
    """
    try:
        ruleset = rulesets.get(options.rules or DEFAULT_RULES)
    except UnknownVersion as error:
        raise UserError(f"--rules: {error}") from error
    tuning = _member(Tuning, options.tuning or DEFAULT_TUNING, "--ruleset")
    tier = _member(Tier, options.tier, "--tier")
    time_axis = _member(TimeAxis, options.time_axis, "--time_axis")
    timestamped = _member(Timestamped, options.timestamped, "--timestamped")
    if options.as_published and ruleset.held_out is HeldOut.ONE_PER_WORKLOAD:
        raise UserError(f"--as_published: no leaderboard was published by {ruleset.version}")
    if options.as_published and time_axis is TimeAxis.STEPS:
        raise UserError("--as_published: no leaderboard was published in steps")
    if options.both_targets and len(ruleset.credit_splits) < 2:
        raise UserError(f"--both_targets: {ruleset.version} looks at the validation target only")
    planned = ruleset.num_studies[tuning] if options.num_studies is None else options.num_studies
    if planned < 1:
        raise UserError(f"--num_studies must be at least 1, not {planned}")
    if not 0 <= options.bootstrap <= MAX_RESAMPLES:
        raise UserError(f"--bootstrap is 0 to {MAX_RESAMPLES}, not {options.bootstrap}")
    if options.bootstrap_seed < 0:
        raise UserError(f"--bootstrap_seed must not be negative, as {options.bootstrap_seed} is")
    scored = _workloads(options.workloads, ruleset, tier)
    plan = Plan(
        ruleset=ruleset,
        workloads=scored,
        held_out=_held_out(options.held_out, ruleset, tier, scored),
        num_studies=planned,
        as_published=options.as_published,
    )
    return Settings(options, ruleset, tuning, tier, time_axis, timestamped, plan)


def split_names(text: str | None) -> tuple[str, ...]:
    """Splits names at commas; empty ones are left out."""
    return tuple(dict.fromkeys(n.strip() for n in (text or "").split(",") if n.strip()))


def check_names(wanted: Iterable[str], known: Collection[str], flag: str) -> None:
    """Raises a :class:`UserError` that names the flag and near names for an unknown name."""
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
            raise UserError(f"{flag}: there is no {name!r}; {hint}")


def _member(kind: type[_E], value: str, flag: str) -> _E:
    try:
        return kind(value)
    except ValueError:
        known = " or ".join(", ".join(kind).rsplit(", ", 1))
        raise UserError(f"{flag} is {known}, not {value!r}") from None


def _workloads(given: str | None, ruleset: Ruleset, tier: Tier) -> tuple[str, ...]:
    known = tiers.names(tier)
    bases = tuple(name for name in workloads.names("base") if name in known)
    if given is None:
        return bases
    if given == QUALIFICATION:
        wanted = ruleset.qualification_workloads
        if not wanted:
            raise UserError(f"--workloads: {ruleset.version} has no qualification set")
    else:
        wanted = split_names(given)
    check_names(wanted, bases, "--workloads")
    if not wanted:
        raise UserError("--workloads names no workload")
    return tuple(name for name in bases if name in wanted)


def _held_out(
    given: str | None, ruleset: Ruleset, tier: Tier, scored: Sequence[str]
) -> tuple[str, ...]:
    if given in (None, PUBLISHED):
        names = published_held_out(ruleset)
    elif given == NONE:
        names = ()
    else:
        names = _named_held_out(given or "")
        if ruleset.held_out is HeldOut.NONE and names:
            raise UserError(f"--held_out: {ruleset.version} has no held-out workloads")
    known = tiers.names(tier)
    return tuple(name for name in names if base_of(name) in scored and name in known)


def published_held_out(ruleset: Ruleset) -> tuple[str, ...]:
    """The draw of a version, or the only published one where a version does not name its own."""
    if ruleset.held_out_workloads or ruleset.held_out is HeldOut.NONE:
        return ruleset.held_out_workloads
    return rulesets.V0_5.held_out_workloads


def _named_held_out(given: str) -> tuple[str, ...]:
    path = Path(given).expanduser()
    if not path.is_file():
        names = split_names(given)
    else:
        try:
            text = path.read_text(encoding="utf-8")
            content = json.loads(text) if text.lstrip().startswith("[") else text.split()
        except (OSError, ValueError) as error:
            raise UserError(f"--held_out: {path} cannot be read as a list of names") from error
        if not all(isinstance(name, str) for name in content):
            raise UserError(f"--held_out: {path} holds something else than names of workloads")
        names = tuple(dict.fromkeys(name.strip(",") for name in content))
    if not names:
        raise UserError(f"--held_out: {given!r} names no workload; to leave them out give none")
    for name in names:
        try:
            base_of(name)
        except BrokenRule as error:
            near = difflib.get_close_matches(name, workloads.names("variant"), n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else ""
            raise UserError(f"--held_out: {error}{hint}") from error
    return names
