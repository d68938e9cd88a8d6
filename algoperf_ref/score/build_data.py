"""Makes the data files of this package from the logs of a published leaderboard.

``python -m algoperf_ref.score.build_data published LOGS OUT.json --name v0.5-self --rules v0.5
--ruleset self --origin "..."`` writes published times (:mod:`.published`);

``python -m algoperf_ref.score.build_data compact LOGS OUT.tar.xz`` writes logs in the official
layout that are small enough to ship, and that score the same: of every log the columns that
scoring needs, and of its rows the first, the last, the best, the first that reach a target, and
every :data:`KEEP_EVERY`-th.
"""

from __future__ import annotations

import argparse
import io
import json
import lzma
import math
import re
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from algoperf_ref.errors import UserError
from algoperf_ref.score.computing import score_logs
from algoperf_ref.score.logs import find_trials
from algoperf_ref.score.options import Options, TimeAxis
from algoperf_ref.score.outputs import write_file
from algoperf_ref.score.published import SCHEMA
from algoperf_ref.score.result import ScoreReport
from algoperf_ref.score.rows import read_rows
from algoperf_ref.score.sources import Reader, open_source
from algoperf_ref.score.trials import PREEMPTION_COUNT, PUBLISHED_SECONDS, SECONDS, STEP
from spec import hits, workloads
from spec.evaluation import target_reached
from spec.rulesets import Split, Tuning
from spec.workloads import Direction

KEEP_EVERY = 5
METRIC_DIGITS = 6
"""Digits of the metric in rows that reach no target first; those rows keep all digits."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m algoperf_ref.score.build_data")
    commands = parser.add_subparsers(dest="command", required=True)
    published = commands.add_parser("published", help="times to target as JSON")
    compact = commands.add_parser("compact", help="logs with few rows and columns as .tar.xz")
    for command in (published, compact):
        command.add_argument("logs", type=Path)
        command.add_argument("output", type=Path)
    published.add_argument("--name", required=True)
    published.add_argument("--rules", required=True)
    published.add_argument("--ruleset", required=True, choices=[t.value for t in Tuning])
    published.add_argument("--origin", required=True, help="where the logs come from")
    options = parser.parse_args(arguments)
    try:
        if options.command == "compact":
            content = compact_logs(options.logs)
        else:
            content = published_times(
                options.logs, options.name, options.rules, options.ruleset, options.origin
            )
        write_file(options.output, content)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(content)} bytes")
    return 0


def published_times(logs: Path, name: str, rules: str, ruleset: str, origin: str) -> bytes:
    """Returns the content of a file of published times.

    Raises:
      UserError: the logs cannot be scored.
    """
    asked = Options(rules=rules, tuning=ruleset)
    reports = {
        "seconds": score_logs(logs, asked),
        "steps": score_logs(logs, asked, time_axis=TimeAxis.STEPS),
        "as_published_seconds": score_logs(logs, asked, as_published=True),
    }
    plan = reports["seconds"].settings.plan
    content = {
        "schema": SCHEMA,
        "name": name,
        "rules": rules,
        "ruleset": ruleset,
        "origin": origin,
        "made_by": "python -m algoperf_ref.score.build_data published",
        "submissions": {
            submission: {
                workload: {
                    kind: _series(report, submission, workload) for kind, report in reports.items()
                }
                for workload in (*plan.workloads, *plan.held_out)
                if workload in reports["seconds"].study_times[submission]
            }
            for submission in sorted(reports["seconds"].study_times)
        },
    }
    return _one_line_lists(json.dumps(content, indent=1, allow_nan=False)).encode()


def _series(report: ScoreReport, submission: str, workload: str) -> list[float | int | None]:
    times = report.study_times[submission][workload].values()
    whole = report.settings.time_axis is TimeAxis.STEPS
    return [None if time == math.inf else int(time) if whole else time for time in times]


def _one_line_lists(text: str) -> str:
    """Puts every list of numbers on one line."""
    return re.sub(r"\[[^\[\]{}\"]*\]", _joined, text) + "\n"


def _joined(found: re.Match[str]) -> str:
    return "[" + " ".join(found[0].strip("[]").split()) + "]"


def compact_logs(logs: Path) -> bytes:
    """Returns a .tar.xz of logs with fewer rows and columns.

    Raises:
      UserError: there are no logs.
      algoperf_ref.score.rows.UnusableFile: a log is damaged.
    """
    source = open_source(logs)
    trials = {trial.csv_path: trial for trial in find_trials(source).trials}
    texts: dict[str, bytes] = {}
    for path, opener in source.each(trials):
        trial = trials[path]
        name = f"{trial.workload}_{trial.framework}/trial_{trial.trial}/eval_measurements.csv"
        with opener() as file:
            texts[f"{trial.submission}/study_{trial.study}/{name}"] = _compact(file, trial.workload)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        # By workload: files that resemble each other lie together, and compress better.
        for name in sorted(texts, key=lambda name: name.split("/")[2::-1]):
            member = tarfile.TarInfo(name)  # with no time, no owner: the same bytes every time
            member.size = len(texts[name])
            tar.addfile(member, io.BytesIO(texts[name]))
    return lzma.compress(archive.getvalue(), preset=9 | lzma.PRESET_EXTREME)


def _compact(file: Reader, workload: str) -> bytes:
    row = workloads.get(workload)
    metrics = {split: f"{split.value}/{row.target_metric_name}" for split in Split}
    columns = (SECONDS, STEP, PREEMPTION_COUNT, PUBLISHED_SECONDS, *sorted(metrics.values()))
    rows = read_rows(file, columns)
    number = len(rows)
    exact, kept = set[int](), {*range(0, number, KEEP_EVERY), number - 1}
    sign = 1 if row.direction is Direction.MINIMIZE else -1
    for split, target in (
        (Split.VALIDATION, row.validation_target_value),
        (Split.TEST, row.test_target_value),
    ):
        values = rows.columns[metrics[split]]
        hit = hits.published_hit(values, target, row.direction)
        exact |= set() if hit is None else {hit}
        if np.isfinite(values).any():
            exact.add(int(np.nanargmin(np.where(np.isfinite(values), sign * values, np.nan))))
    targets = {
        metrics[Split.VALIDATION]: row.validation_target_value,
        metrics[Split.TEST]: row.test_target_value,
    }

    def cell(name: str, index: int) -> str:
        value = float(rows.columns[name][index])
        if name in (STEP, PREEMPTION_COUNT):
            return str(int(value))
        if index in exact:
            return repr(value)
        if name not in targets:
            return f"{value:.3f}"
        rounded = f"{value:.{METRIC_DIGITS}g}"
        reached, still = (
            target_reached(number, targets[name], row.direction)
            for number in (value, float(rounded))
        )
        return rounded if reached == still else repr(value)

    lines = [",".join(columns)]
    lines += [",".join(cell(name, i) for name in columns) for i in sorted(kept | exact)]
    return ("\n".join(lines) + "\n").encode()


if __name__ == "__main__":
    sys.exit(main())
