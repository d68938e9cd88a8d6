"""What a user asks of a study, and the command line of each of its trials."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from algoperf_ref.errors import UserError
from algoperf_ref.harness.hyperparameters import read_search_space
from algoperf_ref.harness.loading import find_submission_file
from algoperf_ref.harness.options import CLOCKS
from algoperf_ref.studies import plan as plans
from algoperf_ref.studies.plan import Task
from spec import rulesets
from spec.clauses import VERSIONS
from spec.costs import Cost
from spec.records import RecordNameError, trial_directory
from spec.rulesets import Tuning
from spec.tiers import Tier

OWN_FLAGS = frozenset(
    {
        *("submission_path", "workload", "framework", "tier", "rules", "tuning_ruleset"),
        *("tuning_search_space", "num_tuning_trials", "hparam_start_index", "hparam_end_index"),
        *("study", "rng_seed", "data_dir", "experiment_dir", "experiment_name", "clock"),
        *("step_seconds", "max_global_steps", "resume_last_run", "overwrite", "append_timestamp"),
        "quiet",
    }
)
"""Flags of a run that the study decides on, so that they cannot be handed through."""


@dataclass(frozen=True)
class StudyOptions:
    """The flags of ``python -m algoperf_ref.study`` that say what is run; see its ``--help``.

    Attributes:
      workloads: names or words, see :func:`algoperf_ref.studies.plan.chosen_workloads`.
      studies: None takes the ruleset's.
      num_tuning_trials: None takes the ruleset's.
      rng_seed: the one seed of all trials; None for one that is recorded or still to be drawn.
      run_flags: further flags of ``python -m algoperf_ref.run``, normalised.
    """

    submission_path: str
    workloads: str
    framework: str
    tier: str = Tier.FULL.value
    rules: str = VERSIONS[-1]
    tuning_ruleset: str = Tuning.EXTERNAL.value
    tuning_search_space: str | None = None
    studies: int | None = None
    num_tuning_trials: int | None = None
    rng_seed: int | None = None
    data_dir: str = "~/data"
    experiment_dir: str = "experiments"
    experiment_name: str | None = None
    clock: str = CLOCKS[0]
    step_seconds: float | None = None
    max_global_steps: int | None = None
    nproc_per_node: int | None = None
    run_flags: tuple[str, ...] = ()

    def check(self) -> None:
        """Checks what a run does not check itself.

        Raises:
          UserError: names the flag and the mend.
        """
        for flag, value in (
            ("--studies", self.studies),
            ("--num_tuning_trials", self.num_tuning_trials),
            ("--nproc_per_node", self.nproc_per_node),
        ):
            if value is not None and value < 1:
                raise UserError(f"{flag} is {value}; it must be at least 1")
        if self.nproc_per_node is not None and self.framework != "pytorch":
            raise UserError(
                "--nproc_per_node starts PyTorch's processes: JAX uses all local devices in one"
            )
        for flag in self.run_flags:
            name = flag.removeprefix("--").partition("=")[0]
            if flag.startswith("--") and name in OWN_FLAGS:
                raise UserError(
                    f"--{name} stands after --, but the study decides on it for every trial: "
                    "see --help"
                )

    @property
    def name(self) -> str:
        """Name of the experiment; by default that of the submission."""
        if self.experiment_name is not None:
            return self.experiment_name
        path = Path(self.submission_path).expanduser().resolve()
        if path.is_file():
            path = path.parent if path.stem.startswith("submission") else path.with_suffix("")
        return path.name

    @property
    def directory(self) -> Path:
        """Directory of the experiment: of ``study.json``, and what is scored as one submission.

        Raises:
          UserError: the name leads out of the directory of experiments.
        """
        return self.trial_directory(Task("ogbg", 0, 1, 0.0)).parents[2]

    def trial_directory(self, task: Task) -> Path:
        """Directory of a trial.

        Raises:
          UserError: the name leads out of the directory of experiments.
        """
        root = PurePath(Path(self.experiment_dir).expanduser())
        try:
            return Path(
                trial_directory(
                    root, self.name, task.workload, self.framework, task.trial, task.study
                )
            )
        except RecordNameError as error:
            raise UserError(str(error)) from error

    @property
    def trials_per_study(self) -> int:
        """Trials of a study; a list of points may be shorter than what is asked for.

        Raises:
          UserError: the search space cannot be read.
        """
        asked = self.asked_trials
        if self.tuning_search_space is None:
            return asked
        points = read_search_space(self.tuning_search_space).points
        return asked if points is None else min(asked, len(points))

    @property
    def asked_trials(self) -> int:
        """``--num_tuning_trials``, or the ruleset's number."""
        if self.num_tuning_trials is not None:
            return self.num_tuning_trials
        return rulesets.get(self.rules).num_trials[Tuning(self.tuning_ruleset)]

    def plan(self) -> Cost:
        """Returns what has to be run.

        Raises:
          UserError: an unknown workload, or a search space that cannot be read.
        """
        return plans.plan(
            self.workloads,
            rules=self.rules,
            tuning=self.tuning_ruleset,
            tier=self.tier,
            num_studies=self.studies,
            num_trials=self.trials_per_study,
        )

    def configuration(self) -> dict[str, Any]:
        """Returns what must stay the same while a study goes on, as JSON values.

        Raises:
          UserError: a file is missing.
        """
        submission = find_submission_file(self.submission_path, self.framework)
        return {
            "framework": self.framework,
            "tier": self.tier,
            "rules": self.rules,
            "tuning_ruleset": self.tuning_ruleset,
            "num_tuning_trials": self.asked_trials,
            "rng_seed": self.rng_seed,
            "clock": self.clock,
            "step_seconds": self.step_seconds,
            "submission_sha256": _sha256(submission.read_bytes()),
            "tuning_search_space_sha256": self._search_space_sha256(),
        }

    def _search_space_sha256(self) -> str | None:
        """Hash of the content: layout does not matter, the order of the hyperparameters does."""
        if self.tuning_search_space is None:
            return None
        read_search_space(self.tuning_search_space)
        text = Path(self.tuning_search_space).expanduser().read_text(encoding="utf-8")
        return _sha256(json.dumps(json.loads(text), separators=(",", ":")).encode())

    def run_arguments(self, task: Task) -> list[str]:
        """Returns the arguments of ``python -m algoperf_ref.run`` for one trial."""
        flags: Mapping[str, Any] = {
            "submission_path": self.submission_path,
            "workload": task.workload,
            "framework": self.framework,
            "tier": self.tier,
            "rules": self.rules,
            "tuning_ruleset": self.tuning_ruleset,
            "tuning_search_space": self.tuning_search_space,
            "num_tuning_trials": self.asked_trials,
            "hparam_start_index": task.trial - 1,
            "hparam_end_index": task.trial,
            "study": task.study,
            "rng_seed": self.rng_seed,
            "data_dir": self.data_dir,
            "experiment_dir": self.experiment_dir,
            "experiment_name": self.name,
            "clock": self.clock,
            "step_seconds": self.step_seconds,
            "max_global_steps": self.max_global_steps,
        }
        given = [f"--{name}={value}" for name, value in flags.items() if value is not None]
        return [*given, "--resume_last_run", *self.run_flags]

    def launcher(self, python: str) -> list[str]:
        """Returns the beginning of a trial's command, before the program and its arguments."""
        if self.nproc_per_node is None:
            return [python]
        processes = f"--nproc_per_node={self.nproc_per_node}"
        return [python, "-m", "torch.distributed.run", "--standalone", processes]


def check_same(recorded: Mapping[str, Any], now: Mapping[str, Any], where: str) -> None:
    """Raises unless a study goes on as it was begun.

    Args:
      recorded: its configuration.
      now: what is asked for.
      where: what the message calls the record.

    Raises:
      UserError: names the first field that differs.
    """
    for name, new in now.items():
        old = recorded.get(name)
        if old != new:
            what = _FILES.get(name)
            if what is not None:
                raise UserError(
                    f"{what} has another content than when the study in {where} began: give it as "
                    "it was, or another --experiment_name"
                )
            given = "is not given" if new is None else f"is {new}"
            raise UserError(
                f"--{name} {given}, but the study in {where} has {old}: give the same, or another "
                "--experiment_name"
            )


_FILES = {
    "submission_sha256": "--submission_path",
    "tuning_search_space_sha256": "--tuning_search_space",
}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
