"""A program that behaves like ``python -m algoperf_ref.run`` for one trial, without training.

The environment variable ``FAKE_RUN`` is JSON: ``"<workload> <study> <trial>"`` -> what the trial
does, a status or a way to die; ``complete`` otherwise. Every start is a line of ``starts.jsonl``
beside the directory of experiments.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


def result(flags: dict[str, str], directory: Path, status: str) -> dict[str, Any]:
    """What a trial writes to ``result.json``."""
    is_hit = status == "targets_reached"
    return {
        "workload": flags["workload"],
        "framework": flags["framework"],
        "tier": flags["tier"],
        "rules": flags["rules"],
        "tuning": flags["tuning_ruleset"],
        "study": int(flags["study"]),
        "trial": int(flags["hparam_end_index"]),
        "run_seed": int(flags["rng_seed"]),
        "trial_seed": 1,
        "clock": flags["clock"],
        "hyperparameters": None,
        "status": status,
        "message": "" if is_hit else f"it was {status}",
        "global_step": 10,
        "submission_seconds": 5.0,
        "evaluation_seconds": 1.0,
        "logging_seconds": 0.0,
        "validation_time_seconds": 4.0 if is_hit else None,
        "test_time_seconds": None,
        "target_metric": "mean_average_precision",
        "eval_results": [],
        "directory": str(directory),
    }


def main() -> int:
    """Does what it is told."""
    flags = {}
    for argument in sys.argv[1:]:
        name, _, value = argument.removeprefix("--").partition("=")
        flags[name] = value
    root = Path(flags["experiment_dir"])
    names = (flags["workload"], flags["study"], flags["hparam_end_index"])
    directory = (
        root
        / flags["experiment_name"]
        / f"study_{flags['study']}"
        / f"{flags['workload']}_{flags['framework']}"
        / f"trial_{flags['hparam_end_index']}"
    )
    with (root.parent / "starts.jsonl").open("a") as file:
        file.write(json.dumps({"task": " ".join(names), "flags": flags}) + "\n")
    what = json.loads(os.environ.get("FAKE_RUN", "{}")).get(" ".join(names), "targets_reached")
    print("step 10 of", *names, flush=True)
    if what == "refuse":
        print("error: the data are missing", file=sys.stderr)
        return 2
    directory.mkdir(parents=True, exist_ok=True)
    if what.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, what))
    if what == "sleep":
        (root.parent / "asleep").touch()
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            what = "interrupted"
    if what == "traceback":
        raise RuntimeError("a bug")
    (directory / "result.json.new").write_text(json.dumps(result(flags, directory, what)))
    (directory / "result.json.new").replace(directory / "result.json")
    return {"targets_reached": 0, "interrupted": 130}.get(what, 1)


if __name__ == "__main__":
    sys.exit(main())
