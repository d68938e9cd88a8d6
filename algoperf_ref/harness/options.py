"""What a user can ask of a run, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from algoperf_ref.errors import UserError
from spec.clauses import VERSIONS
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.tiers import Tier

CLOCKS: tuple[str, ...] = ("wall", "steps")
"""``wall``: the machine's monotonic clock. ``steps``: every step costs a fixed time."""

MAX_SEED = 2**32 - 1


@dataclass(frozen=True)
class RunOptions:
    """The flags of ``python -m algoperf_ref.run``, by the same names; see its ``--help``.

    Attributes:
      hyperparameters: one point to use instead of a search space (Python only).
      rng_seed: the one seed of the run; None draws one from the system, which is recorded.
    """

    submission_path: str
    workload: str
    framework: str
    tier: str = Tier.FULL.value
    rules: str = VERSIONS[-1]
    tuning_ruleset: str = Tuning.EXTERNAL.value
    tuning_search_space: str | None = None
    hyperparameters: Mapping[str, Any] | None = field(default=None, hash=False)
    num_tuning_trials: int = 1
    hparam_start_index: int | None = None
    hparam_end_index: int | None = None
    study: int | None = None
    clock: str = CLOCKS[0]
    step_seconds: float | None = None
    data_dir: str = "~/data"
    imagenet_v2_data_dir: str | None = None
    max_global_steps: int | None = None
    rng_seed: int | None = None
    torch_compile: bool = True
    compat: bool = True
    per_device_layout: bool = False
    skip_evals: bool = False
    experiment_dir: str | None = None
    experiment_name: str | None = None
    save_checkpoints: bool = True
    save_intermediate_checkpoints: bool = False
    resume_last_run: bool = False
    overwrite: bool = False
    append_timestamp: bool = False
    checkpoint_every_steps: int = 0
    checkpoint_every_minutes: float = 0.0
    step_timeout_seconds: float = 3600.0
    tensorboard: bool = True
    use_wandb: bool = False
    profile: bool = False
    trace_steps: int = 0
    coordinator_address: str | None = None
    num_processes: int | None = None
    process_id: int | None = None
    process_timeout_seconds: float = 1800.0

    def check(self) -> None:
        """Checks every option that needs no file.

        Raises:
          UserError: names the flag, the value and the mend.
        """
        _one_of("--framework", self.framework, FRAMEWORKS)
        _one_of("--tier", self.tier, [tier.value for tier in Tier])
        _one_of("--rules", self.rules, VERSIONS)
        _one_of("--tuning_ruleset", self.tuning_ruleset, [t.value for t in Tuning])
        _one_of("--clock", self.clock, CLOCKS)
        for flag, value, least in (
            ("--num_tuning_trials", self.num_tuning_trials, 1),
            ("--max_global_steps", self.max_global_steps, 1),
            ("--study", self.study, 0),
            ("--hparam_start_index", self.hparam_start_index, 0),
            ("--hparam_end_index", self.hparam_end_index, 1),
            ("--rng_seed", self.rng_seed, 0),
            ("--checkpoint_every_steps", self.checkpoint_every_steps, 0),
            ("--checkpoint_every_minutes", self.checkpoint_every_minutes, 0),
            ("--step_timeout_seconds", self.step_timeout_seconds, 0),
            ("--trace_steps", self.trace_steps, 0),
            ("--num_processes", self.num_processes, 1),
            ("--process_id", self.process_id, 0),
            ("--process_timeout_seconds", self.process_timeout_seconds, 1),
        ):
            if value is not None and not value >= least:
                raise UserError(f"{flag} is {value}; it must be at least {least}")
        if self.rng_seed is not None and self.rng_seed > MAX_SEED:
            raise UserError(f"--rng_seed is {self.rng_seed}; it must be at most {MAX_SEED}")
        if self.step_seconds is not None:
            if self.clock != "steps":
                raise UserError("--step_seconds is given: it needs --clock=steps")
            if not 0 < self.step_seconds < float("inf"):
                raise UserError(f"--step_seconds is {self.step_seconds}; it must be positive")
        if self.per_device_layout and self.framework != "jax":
            raise UserError("--per_device_layout is a layout of JAX; --framework is pytorch")
        self._check_tuning()

    def _check_tuning(self) -> None:
        start, end = self.trial_slice
        if start >= end:
            raise UserError(
                f"--hparam_start_index {start} and --hparam_end_index {end} leave no trial; "
                "the end must be larger"
            )
        has_point = self.tuning_search_space is not None or self.hyperparameters is not None
        if self.tuning_ruleset == Tuning.SELF.value:
            if has_point:
                raise UserError(
                    "--tuning_search_space is given, but the self-tuning ruleset has no search "
                    "space: leave it out, or use --tuning_ruleset=external"
                )
            if self.num_tuning_trials != 1:
                raise UserError(
                    f"--num_tuning_trials is {self.num_tuning_trials}: a self-tuning study is one "
                    "run; repeat it with --study=0, 1, 2"
                )
        elif not has_point:
            raise UserError(
                "--tuning_search_space is missing: the external tuning ruleset needs a JSON file "
                "(or use --tuning_ruleset=self)"
            )

    @property
    def trial_slice(self) -> tuple[int, int]:
        """First and end index, from 0, of the trials to run."""
        start = 0 if self.hparam_start_index is None else self.hparam_start_index
        end = self.num_tuning_trials if self.hparam_end_index is None else self.hparam_end_index
        return start, min(end, self.num_tuning_trials)


def _one_of(flag: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise UserError(f"{flag} is {value!r}: choose one of {', '.join(allowed)}")
