"""A workload small enough to follow by hand: the quadratic of the golden optimizer trajectories."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from spec.submission import LossType

STEP_HINT = 20
"""The golden runs used this step hint (``problem`` in ``optimizer.json``)."""

Tree = dict[str, np.ndarray]


class Logger:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def append_scalar_metrics(self, metrics: dict[str, float], global_step: int) -> None:
        self.rows.append((global_step, dict(metrics)))


class _Quadratic:
    """loss = sum_k sum(curv_k (p_k - target_k)^2) / 2, "summed" over 4 examples."""

    step_hint = STEP_HINT
    loss_type = LossType.MEAN_SQUARED_ERROR

    def __init__(self, problem: dict[str, Tree]) -> None:
        self.problem = problem
        self.metrics_logger: Logger | None = None
        self.model_calls: list[dict[str, Any]] = []
        self.label_smoothings: list[float] = []

    def batch(self) -> dict[str, Any]:
        """The same batch for every step; the loss does not depend on it."""
        return {"inputs": np.zeros((4, 1), "f"), "targets": np.zeros(4, "f")}

    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: float = 0.0,
    ) -> dict[str, Any]:
        self.label_smoothings.append(label_smoothing)
        loss = sum(
            (self.curv[k] * (logits_batch[k] - self.target[k]) ** 2).sum() / 2 for k in "abc"
        )
        return {"summed": 4 * loss, "n_valid_examples": self.count(4), "per_example": None}


class JaxQuadratic(_Quadratic):
    framework = "jax"

    def __init__(self, problem: dict[str, Tree]) -> None:
        import jax

        super().__init__(problem)
        self.curv = jax.tree.map(jax.numpy.asarray, problem["curv"])
        self.target = jax.tree.map(jax.numpy.asarray, problem["target"])

    def init(self) -> tuple[Any, Any]:
        import jax

        return jax.tree.map(jax.numpy.array, self.problem["init"]), None

    def key(self) -> Any:
        import jax

        return jax.random.PRNGKey(0)

    def count(self, n: int) -> int:
        return n

    def model_fn(self, params: Any, batch: Any, model_state: Any, mode: Any, rng: Any, **options):
        self.model_calls.append({"mode": mode, **options})
        return params, model_state

    def values(self, params: Any) -> Tree:
        return {k: np.array(v) for k, v in params.items()}


class TorchQuadratic(_Quadratic):
    framework = "pytorch"

    def __init__(self, problem: dict[str, Tree]) -> None:
        import torch

        super().__init__(problem)
        self.curv = {k: torch.from_numpy(v) for k, v in problem["curv"].items()}
        self.target = {k: torch.from_numpy(v) for k, v in problem["target"].items()}

    def init(self) -> tuple[Any, Any]:
        import torch

        params = {k: torch.nn.Parameter(torch.tensor(v)) for k, v in self.problem["init"].items()}
        module = torch.nn.Module()
        for name, parameter in params.items():
            module.register_parameter(name, parameter)
        return module, None

    def key(self) -> Any:
        return np.array([1, 2], np.int32)

    def batch(self) -> dict[str, Any]:
        import torch

        return {k: torch.from_numpy(v) for k, v in super().batch().items()}

    def count(self, n: int) -> Any:
        import torch

        return torch.tensor(float(n))

    def model_fn(self, params: Any, batch: Any, model_state: Any, mode: Any, rng: Any, **options):
        self.model_calls.append({"mode": mode, **options})
        return dict(params.named_parameters()), None

    def values(self, params: Any) -> Tree:
        return {k: v.detach().numpy().copy() for k, v in params.named_parameters()}


def as_hyperparameters(values: dict[str, Any] | None) -> Any:
    """A named tuple as the harness makes it, None under the self-tuning ruleset."""
    return None if values is None else namedtuple("Hyperparameters", values)(**values)
