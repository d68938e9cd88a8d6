"""Published times to target, to score a submission against; the data ships with the package.

A file of published times is JSON::

    {"schema": "algoperf-ref/published-times/1", "name": "v0.5-self", "rules": "v0.5",
     "ruleset": "self", "origin": "...", "made_by": "...",
     "submissions": {"<name>": {"<workload>": {"seconds": [...], "steps": [...],
                                               "as_published_seconds": [...]}}}}

with one element per study, null where the target was not reached. ``seconds`` and ``steps`` are by
the written rule (fastest trial, budget enforced), ``as_published_seconds`` as the leaderboard was
computed then. ``python -m algoperf_ref.score.build_data published`` makes such a file from logs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.score.options import TimeAxis
from spec import rulesets, workloads
from spec.clauses import UnknownVersion
from spec.rulesets import Ruleset, Tuning

SCHEMA = "algoperf-ref/published-times/1"
_PREFIX = "published_"
_SERIES = ("seconds", "steps", "as_published_seconds")


@dataclass(frozen=True)
class PublishedTimes:
    """Times to the validation target of a published leaderboard.

    Attributes:
      name: for example ``v0.5-self``.
      ruleset: version of the rules that it was run by.
      tuning: tuning ruleset.
      origin: where the numbers come from.
      series: ``seconds``, ``steps`` or ``as_published_seconds`` -> submission -> workload ->
        one number per study, infinity where the target was not reached.
    """

    name: str
    ruleset: Ruleset
    tuning: Tuning
    origin: str
    series: Mapping[str, Mapping[str, Mapping[str, tuple[float, ...]]]]

    @property
    def submissions(self) -> tuple[str, ...]:
        """Names of the submissions."""
        return tuple(self.series["seconds"])

    def study_times(
        self, axis: TimeAxis = TimeAxis.TIME, *, as_published: bool = False
    ) -> Mapping[str, Mapping[str, tuple[float, ...]]]:
        """Times of the studies: submission -> workload -> one per study."""
        if as_published:
            return self.series["as_published_seconds"]
        return self.series["steps" if axis is TimeAxis.STEPS else "seconds"]


def known() -> tuple[str, ...]:
    """Names of the published times that this installation has."""
    folder = resources.files("algoperf_ref.score") / "data"
    files = (entry.name for entry in folder.iterdir())
    return tuple(
        sorted(
            name.removeprefix(_PREFIX).removesuffix(".json")
            for name in files
            if name.startswith(_PREFIX) and name.endswith(".json")
        )
    )


def load(name: str) -> PublishedTimes:
    """Loads published times.

    Args:
      name: one of :func:`known`, or a file of the same schema.

    Returns:
      The times.

    Raises:
      UserError: there is no such thing, or the file is not of the schema.
    """
    path = Path(name).expanduser()
    try:
        if name in known():
            file = resources.files("algoperf_ref.score") / "data" / f"{_PREFIX}{name}.json"
            return parse(json.loads(file.read_text(encoding="utf-8")))
        if path.is_file():
            return parse(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"--against: {name} is no file of the schema {SCHEMA} ({reason})"
        ) from error
    raise UserError(
        f"--against: there are no published times {name!r}; this installation has "
        f"{', '.join(known())}, and a file of the schema {SCHEMA} may be given"
    )


def parse(content: Mapping[str, Any]) -> PublishedTimes:
    """Checks the content of a file of published times.

    Raises:
      ValueError: it is not of the schema; the message says where.
    """
    if content["schema"] != SCHEMA:
        raise ValueError(f"schema is {content['schema']!r}")
    try:
        ruleset = rulesets.get(content["rules"])
    except UnknownVersion as error:
        raise ValueError(str(error)) from error
    tuning = Tuning(content["ruleset"])
    series: dict[str, dict[str, dict[str, tuple[float, ...]]]] = {s: {} for s in _SERIES}
    for submission, own in content["submissions"].items():
        for kind in _SERIES:
            series[kind][submission] = {
                workload: _times(values[kind], ruleset.num_studies[tuning], workload)
                for workload, values in own.items()
            }
    if not series["seconds"]:
        raise ValueError("no submissions")
    return PublishedTimes(str(content["name"]), ruleset, tuning, str(content["origin"]), series)


def _times(values: list[float | None], num_studies: int, workload: str) -> tuple[float, ...]:
    if workload not in workloads.names():
        raise ValueError(f"unknown workload {workload!r}")
    if len(values) > num_studies:
        raise ValueError(f"{workload} has {len(values)} studies, more than {num_studies}")
    times = tuple(math.inf if value is None else float(value) for value in values)
    if not all(time > 0 for time in times):
        raise ValueError(f"{workload} has a time that is not positive")
    return times
