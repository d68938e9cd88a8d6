"""Scoring a leaderboard of the size of the first competition's, in a cold process.

Budget: at most three times the time of reading the same bytes with the fastest CSV reader
(``twins/csv_reader.py``), measured in turn in one run, and less than 400 MB of memory.
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from perf_tests.interleaved import measure
from spec import workloads
from spec.records import eval_columns
from spec.rulesets import V0_5

NUM_TRIALS, NUM_ROWS = 3_700, 70
MAX_RATIO, MAX_MEGABYTES, ROUNDS = 3.0, 400, 5
METRICS = ("accuracy", "loss")


def _write(root: Path) -> list[Path]:
    """Writes the logs: 11 submissions, 14 workloads, 5 studies, up to 5 trials."""
    rng = random.Random(0)
    names = (*workloads.names("base"), *V0_5.held_out_workloads)
    places = [
        root / f"submission_{s}" / f"study_{k}" / f"{name}_jax" / f"trial_{t}"
        for s in range(11)
        for k in range(5)
        for name in names
        for t in range(1, 6)
    ]
    files = []
    for place in places[:NUM_TRIALS]:
        row = workloads.get(place.parent.name.removesuffix("_jax"), "v0.5")
        columns = eval_columns(sorted({*METRICS, row.target_metric_name}))
        lines = [",".join(columns)]
        for index in range(NUM_ROWS):
            values = {name: f"{rng.uniform(0.01, 0.9):.17g}" for name in columns}
            seconds = (index + 1) * row.max_allowed_runtime_sec / NUM_ROWS * rng.uniform(0.8, 1)
            values["accumulated_submission_time"] = values["score"] = repr(seconds)
            values["global_step"], values["preemption_count"] = str(100 * index + 1), "0"
            lines.append(",".join(values[name] for name in columns))
        place.mkdir(parents=True)
        files.append(place / "eval_measurements.csv")
        files[-1].write_text("\n".join(lines) + "\n")
    return files


def _run(*arguments: str) -> float:
    """Runs a cold Python process; returns the most memory it held, in megabytes."""
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs the memory use of a child process")
def test_scoring_costs_at_most_three_times_reading(tmp_path: Path) -> None:
    files = _write(tmp_path / "logs")
    listing = tmp_path / "files.txt"
    listing.write_text("\n".join(map(str, files)))
    needed = ("accumulated_submission_time", "global_step", "preemption_count")
    metrics = ("validation/loss", "test/loss")
    twin = Path(__file__).parent / "twins" / "csv_reader.py"
    megabytes = []

    def ours() -> None:
        out = ("--no_report", "--output", str(tmp_path / "out"))
        logs = str(tmp_path / "logs")
        megabytes.append(_run("-m", "algoperf_ref.score", logs, "--rules", "v0.5", *out))

    pair = measure(ours, lambda: _run(str(twin), str(listing), *needed, *metrics), ROUNDS)
    ratio = 1 / pair.ratio
    size = sum(file.stat().st_size for file in files) / 1e6
    own, reading = statistics.median(pair.ours), statistics.median(pair.twin)
    print(
        f"\nscoring {len(files)} trials x {NUM_ROWS} rows ({size:.0f} MB): "
        f"{own:.2f} s, reading alone {reading:.2f} s: "
        f"{ratio:.2f} times as long; at most {max(megabytes):.0f} MB of memory"
    )
    assert ratio <= MAX_RATIO
    assert max(megabytes) < MAX_MEGABYTES
