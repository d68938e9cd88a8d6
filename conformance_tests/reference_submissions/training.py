"""Steps of a submission on one batch, with the calls of the harness."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Any

from conformance_tests.reference_submissions.quadratic import as_hyperparameters

ROOT = Path(__file__).parents[2] / "reference_submissions"
PATHS = sorted(
    ".".join(file.parent.relative_to(ROOT).parts) for file in ROOT.rglob("submission_jax.py")
)
FRAMEWORKS = ("jax", "pytorch")


class Training:
    """A submission at work.

    Args:
      module: of the submission.
      workload: quadratic, or of the package.
      values: hyperparameters; None under the self-tuning ruleset.
      params: fresh parameters.
      model_state: fresh model state.
      batch: on the device, the same in every step.
      key: of every step.
    """

    def __init__(
        self,
        module: Any,
        workload: Any,
        values: dict[str, Any] | None,
        params: Any,
        model_state: Any,
        batch: Any,
        key: Any,
    ) -> None:
        self.module, self.workload, self.batch, self.key = module, workload, batch, key
        self.hyperparameters = as_hyperparameters(values)
        self.params, self.model_state, self.global_step = params, model_state, 0
        self.state = module.init_optimizer_state(
            workload, params, model_state, self.hyperparameters, key
        )

    def _common(self) -> dict[str, Any]:
        return {
            "workload": self.workload,
            "current_param_container": self.params,
            "current_params_types": None,
            "model_state": self.model_state,
            "hyperparameters": self.hyperparameters,
            "loss_type": self.workload.loss_type,
            "optimizer_state": self.state,
            "eval_results": [],
            "global_step": self.global_step,
            "rng": self.key,
        }

    def steps(self, count: int) -> None:
        """Trains."""
        for _ in range(count):
            self.state, self.params, self.model_state = self.module.update_params(
                **self._common(), batch=self.batch, train_state=MappingProxyType({})
            )
            self.global_step += 1

    def prepare_for_eval(self) -> None:
        """Does what the harness does before an evaluation."""
        self.state, self.params, self.model_state = self.module.prepare_for_eval(**self._common())


def is_self_tuning(path: str) -> bool:
    """Whether a submission has no hyperparameters; ``template`` has one of either ruleset."""
    return "self_tuning" in path.split(".")


def external_point(path: str) -> dict[str, Any] | None:
    """Hyperparameters that every externally tuned submission can train the quadratic with."""
    if is_self_tuning(path):
        return None
    if path.startswith("template"):  # knows one spelling of the warm-up, and needs all its fields
        return {"learning_rate": 0.02, "warmup_factor": 0.0, "weight_decay": 0.01}
    return {
        "learning_rate": 0.02,
        "warmup_steps": 0,
        "weight_decay": 0.01,
        "preconditioner_interval": 2,
    }
