"""``python -m algoperf_ref.quickstart``: data, training to target, score, picture; one command.

Prepares the mini molecules, trains the NadamW reference submission on the ``ogbg`` workload of the
mini tier until it reaches its targets, scores the run, draws the learning curve, and says what to
try next.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from algoperf_ref.errors import UserError
from algoperf_ref.harness.results import TrialResult
from spec import tiers
from spec.workloads import Direction

WORKLOAD, TIER, NAME = "ogbg", "mini", "nadamw"
SUBMISSION = Path(__file__).parents[1] / "reference_submissions" / "external_tuning" / NAME
SPACE = SUBMISSION / "tuning_search_space.json"
PICTURE = "learning_curve.png"


@dataclass(frozen=True)
class Places:
    """What the commands of a quickstart need to know.

    Attributes:
      framework: ``"jax"`` or ``"pytorch"``.
      data_dir: directory of the data sets.
      output: directory of the logs.
    """

    framework: str
    data_dir: Path
    output: Path


def prepare_data(data_dir: Path) -> None:
    """Makes the mini molecules, if they are not there.

    Raises:
      UserError: they cannot be made.
    """
    try:
        from algoperf_ref.data.ogbg.prepare import prepare
    except ImportError as error:
        raise UserError(
            f"{error.name} is not installed: pip install 'algoperf-ref[all]'"
        ) from error
    prepare(data_dir, TIER)


def train(places: Places, seed: int) -> TrialResult:
    """Trains on the first point of the search space, with a progress display.

    Raises:
      UserError: the run could not start, or failed.
    """
    from algoperf_ref.harness.console import Console
    from algoperf_ref.harness.options import RunOptions
    from algoperf_ref.run import run_study

    options = RunOptions(
        submission_path=str(SUBMISSION),
        workload=WORKLOAD,
        framework=places.framework,
        tier=TIER,
        tuning_search_space=str(SPACE),
        data_dir=str(places.data_dir),
        rng_seed=seed,
        experiment_dir=str(places.output),
        experiment_name=NAME,
        overwrite=True,
    )
    result = run_study(options, observer=Console()).trials[0]
    if result.status.is_failure:
        reason = result.message or result.status.value
        raise UserError(f"the training run failed: {reason}; its log is in {result.directory}")
    return result


def learning_curve(result: TrialResult, path: Path) -> None:
    """Draws the validation metric against submission time, with the target.

    Args:
      result: a run with at least one evaluation.
      path: PNG file to write.

    Raises:
      UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("the picture needs matplotlib: pip install matplotlib") from error
    row = tiers.get(result.workload, result.tier, result.rules)
    metric = result.target_metric
    seconds = [metrics["accumulated_submission_time"] for _, metrics in result.eval_results]
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for split, style in (("train", ":"), ("validation", "-"), ("test", "--")):
        values = [metrics[f"{split}/{metric}"] for _, metrics in result.eval_results]
        axes.plot(seconds, values, style, marker="." if split == "validation" else "", label=split)
    axes.axhline(row.validation_target_value, color="0.4", linewidth=1.0, label="validation target")
    if result.reached_validation_target:
        axes.axvline(result.validation_time_seconds, color="0.4", linewidth=1.0, linestyle="-.")
    unit = "simulated " if result.clock == "steps" else ""
    axes.set_xlabel(f"submission time [{unit}s]")
    axes.set_ylabel(metric.replace("_", " "))
    axes.set_title(f"{result.workload}, {result.tier} tier, {result.framework}: NadamW")
    axes.legend(loc="lower right" if row.direction is Direction.MAXIMIZE else "upper right")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def score(places: Places) -> str:
    """Scores the run like a submission with one study, and returns the report as text.

    Raises:
      UserError: the logs cannot be scored.
    """
    from algoperf_ref.score import report, score_logs

    scored = score_logs(
        places.output,
        tier=TIER,
        workloads=WORKLOAD,
        num_studies=1,
        framework=places.framework,
    )
    return report.text(scored)


def next_commands(places: Places) -> list[tuple[str, str]]:
    """Returns what to try next: a purpose and a command for each."""
    python = _short(Path(sys.executable))
    other = "jax" if places.framework == "pytorch" else "pytorch"
    run = [
        *(python, "-m", "algoperf_ref.run", "--workload", WORKLOAD, "--tier", TIER),
        *("--data_dir", str(places.data_dir), "--experiment_dir", str(places.output)),
    ]
    tuned = ["--submission_path", _short(SUBMISSION), "--tuning_search_space", _short(SPACE)]
    own = ["--submission_path", _short(SUBMISSION.parents[1] / "self_tuning" / NAME)]
    commands = {
        f"the same in {'JAX' if other == 'jax' else 'PyTorch'}": [
            *(python, "-m", "algoperf_ref.quickstart", "--framework", other),
            *("--data_dir", str(places.data_dir), "--output", str(places.output)),
        ],
        "all five points of the search space": [
            *run,
            *("--framework", places.framework, "--experiment_name", "nadamw_5_trials"),
            *tuned,
            *("--num_tuning_trials", "5"),
        ],
        "the self-tuning ruleset": [
            *run,
            *("--framework", places.framework, "--experiment_name", "self_nadamw"),
            *own,
            *("--tuning_ruleset", "self"),
        ],
        "score everything found there": [
            *(python, "-m", "algoperf_ref.score", str(places.output)),
            *("--tier", TIER, "--workloads", WORKLOAD, "--num-studies", "1"),
            *("--framework", places.framework),
        ],
        "read a rule": [python, "-m", "spec", "show", "TIM-1"],
    }
    return [(purpose, shlex.join(command)) for purpose, command in commands.items()]


def _short(path: Path) -> str:
    """Returns the path, relative to the current directory if it lies below."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def quickstart(places: Places, seed: int) -> TrialResult:
    """Does it all, and prints what it does.

    Args:
      places: framework and directories.
      seed: seed of the run.

    Returns:
      The result of the training run.

    Raises:
      UserError: a step failed; the message says which and how to mend it.
    """
    begin = time.monotonic()
    print(f"[1/3] the {TIER} molecules in {places.data_dir}", flush=True)
    prepare_data(places.data_dir)
    prepared = time.monotonic()
    print(f"[2/3] NadamW ({places.framework}) on {WORKLOAD}", flush=True)
    result = train(places, seed)
    trained = time.monotonic()
    assert result.directory is not None, "a run with an experiment directory has one"
    picture = result.directory / PICTURE
    learning_curve(result, picture)
    print("[3/3] score\n", flush=True)
    print(score(places))
    print(
        f"preparing the data: {prepared - begin:.0f} s\n"
        f"training: {trained - prepared:.0f} s, of which the submission's "
        f"{result.submission_seconds:.1f} s count, evaluations {result.evaluation_seconds:.1f} s\n"
        f"logs: {result.directory}\n"
        f"learning curve: {picture}\n\n"
        "What to try next:"
    )
    for purpose, command in next_commands(places):
        print(f"\n  # {purpose}\n  {command}")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Args:
      arguments: without the program name; None takes ``sys.argv``.

    Returns:
      Exit code: 0 if the validation target was reached, 1 if not, 2 if a step could not be done,
      130 if interrupted.
    """
    parsed = _parser().parse_args(arguments)
    places = Places(parsed.framework, parsed.data_dir.expanduser(), parsed.output.expanduser())
    try:
        result = quickstart(places, parsed.seed)
    except (UserError, OSError) as error:
        # A full disk or a missing permission: a traceback would explain it no better.
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command starts again", file=sys.stderr)
        return 130
    if not result.reached_validation_target:
        print(
            f"error: the run ended ({result.status.value}) without reaching the validation target; "
            "on a slow or busy machine the time budget may be too short, try again",
            file=sys.stderr,
        )
        return 1
    print(f"\nvalidation target reached after {result.validation_time_seconds:.1f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m algoperf_ref.quickstart",
        description="Train a reference submission on real molecules to its target, and score it.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--framework", default="jax", choices=("jax", "pytorch"), help="(%(default)s)")
    add(
        *("--data_dir", "--data-dir"),
        type=Path,
        default=Path("~/data"),
        help="directory of the data sets (%(default)s)",
    )
    add(
        "--output",
        type=Path,
        default=Path("experiments/quickstart"),
        help="directory of the logs (%(default)s); an earlier quickstart there is replaced",
    )
    add("--seed", type=int, default=0, help="seed of the run (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
