"""Held-out workloads: what may be drawn, how it is drawn, and what it does to a score.

A *randomized* workload is a set of hand-made variants of which one, the *held-out* workload, is
drawn when all submissions are frozen. It is never part of the score itself: a submission that
cannot handle it loses its time on the base workload, see :mod:`spec.credit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from spec import rulesets, workloads
from spec.clauses import BrokenRule, Source, clause
from spec.rulesets import HeldOut
from spec.tuning import MAX_SEED

_PAPER = Source("Dahl et al. 2023", "4.3.1")


class NotAVariant(BrokenRule, clause="HELD-1"):
    """A held-out workload that is no variant of a base workload."""


class IllegalSeed(BrokenRule, clause="HELD-3"):
    """A seed of the draw that is not an integer from 0 to 2**32 - 1."""


class WrongDraw(BrokenRule, clause="HELD-4"):
    """A set of held-out workloads that the version cannot have drawn."""


class NotDrawnYet(BrokenRule, clause="HELD-4"):
    """The held-out workloads of a version that publishes none were asked for without a seed."""


@clause(
    "HELD-1",
    """The randomized workload of a base workload is the set of its three variants; submitters know
    all of them.""",
    source=_PAPER,
    versions=("paper2023", "v0.5"),
)
def variants(base: str) -> tuple[str, ...]:
    """Returns the variants of a base workload, in the order of the table.

    Raises:
      spec.workloads.UnknownWorkload: no base workload has this name.
    """
    if base not in workloads.names("base"):
        raise workloads.UnknownWorkload(base, workloads.names("base"), "base workload")
    return tuple(v for v in workloads.names("variant") if workloads.base_name(v) == base)


@clause(
    "HELD-2",
    """One held-out workload is drawn per base workload in the paper, and one per data set, from the
    variants of all its base workloads, in v0.5; v0.6 draws none.""",
    source=(_PAPER, Source("Scoring semantics", "1")),
)
def pools(version: str) -> Mapping[str, tuple[str, ...]]:
    """Returns what the held-out workloads are drawn from.

    Args:
      version: ruleset version.

    Returns:
      Base workload (paper) or data set (v0.5) -> the variants of which one is drawn.

    Raises:
      spec.clauses.UnknownVersion: no ruleset has this version.
    """
    held_out = rulesets.get(version).held_out
    if held_out is HeldOut.NONE:
        return {}
    result: dict[str, tuple[str, ...]] = {}
    for base in workloads.names("base"):
        per_base = held_out is HeldOut.ONE_PER_WORKLOAD
        pool = base if per_base else workloads.get(base, version).dataset
        result[pool] = result.get(pool, ()) + variants(base)
    return result


@clause(
    "HELD-3",
    """Once the submissions are frozen, every pool gives one variant, each with the same
    probability; one recorded seed decides all of them.""",
    source=_PAPER,
    versions=("paper2023", "v0.5"),
)
def draw(version: str, seed: int) -> tuple[str, ...]:
    """Draws the held-out workloads of a version.

    How the first competition drew is not published, only what (:func:`held_out_workloads`). Here
    the pools are served in the order of the workload table by one generator, whose stream numpy
    keeps the same for ever.

    Args:
      version: ruleset version.
      seed: 0 to 2**32 - 1, to be chosen after the submissions are frozen.

    Returns:
      One variant per pool; empty for a version without held-out workloads.

    Raises:
      IllegalSeed: the seed is out of range.
      spec.clauses.UnknownVersion: no ruleset has this version.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise IllegalSeed(f"the seed is {seed}; it is an integer between 0 and {MAX_SEED}")
    generator = np.random.RandomState(seed)
    return tuple(pool[int(generator.randint(len(pool)))] for pool in pools(version).values())


@clause(
    "HELD-4",
    """The held-out workloads of v0.5 are the six that were drawn for the first competition; those
    of the paper are a draw that contains exactly one variant of every pool.""",
    source=(_PAPER, Source("Scoring semantics", "1"), Source("Kasimbeg et al. 2025", "Table 3")),
)
def held_out_workloads(version: str, seed: int | None = None) -> tuple[str, ...]:
    """Returns the held-out workloads of a version.

    Args:
      version: ruleset version.
      seed: draws anew (:func:`draw`); None takes the published ones.

    Returns:
      Names of variants; empty if the version scores none.

    Raises:
      NotDrawnYet: the version has held-out workloads but publishes none, and there is no seed.
      IllegalSeed: the seed is out of range.
      spec.clauses.UnknownVersion: no ruleset has this version.
    """
    if seed is not None:
        return draw(version, seed)
    ruleset = rulesets.get(version)
    if ruleset.held_out is not HeldOut.NONE and not ruleset.held_out_workloads:
        raise NotDrawnYet(f"{version} publishes no draw of held-out workloads; give a seed")
    return ruleset.held_out_workloads


def check_draw(version: str, names: Sequence[str]) -> None:
    """Checks that a set of held-out workloads can have been drawn.

    Args:
      version: ruleset version.
      names: the held-out workloads, in any order.

    Raises:
      NotAVariant: a name is not one of the variants.
      WrongDraw: a pool has none or several of them.
    """
    own = pools(version)
    for name in names:
        base_of(name)
    for pool, members in own.items():
        chosen = [name for name in names if name in members]
        if len(chosen) != 1:
            raise WrongDraw(
                f"{version} draws one held-out workload for {pool}, not {len(chosen)}"
                + (f" ({', '.join(chosen)})" if chosen else "")
            )
    if not own and names:
        raise WrongDraw(f"{version} has no held-out workloads, but there is {names[0]}")


@clause(
    "HELD-5",
    """A submission is trained on all fixed workloads and on all held-out workloads of its version
    under the same rules; metric, budget and evaluation period of a held-out workload are those of
    its base workload.""",
    source=(_PAPER, Source("Scoring semantics", "1")),
)
def trained_workloads(version: str, held_out: Sequence[str]) -> tuple[str, ...]:
    """Returns every workload that a submission is run on, base workloads first.

    Args:
      version: ruleset version.
      held_out: the drawn workloads, see :func:`held_out_workloads`.

    Raises:
      NotAVariant, WrongDraw: see :func:`check_draw`.
    """
    check_draw(version, held_out)
    return (*workloads.names("base"), *held_out)


def base_of(variant: str) -> str:
    """Returns the base workload of a variant.

    Raises:
      NotAVariant: there is no such variant.
    """
    if variant not in workloads.names("variant"):
        raise NotAVariant(f"{variant} is no variant of a base workload")
    return workloads.base_name(variant)
