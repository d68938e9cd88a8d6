"""What a workload's row of the specification says, under the names that submissions know."""

from __future__ import annotations

from algoperf_ref.frameworks.base import Backend
from spec.submission import LossType
from spec.workloads import WorkloadSpec


class WorkloadConstants:
    """Read-only properties of a workload.

    Attributes:
      spec: the workload's row.
      backend: the framework's devices.
    """

    spec: WorkloadSpec
    backend: Backend

    @property
    def name(self) -> str:
        """Workload name, for example ``ogbg_gelu``."""
        return self.spec.name

    @property
    def base_name(self) -> str:
        """Name of the workload that this one varies, or its own."""
        return self.spec.base_name

    @property
    def framework(self) -> str:
        """``"jax"`` or ``"pytorch"``."""
        return self.backend.name

    @property
    def loss_type(self) -> LossType:
        """Type of the loss, as told to submissions."""
        return self.spec.loss_type

    @property
    def target_metric_name(self) -> str:
        """Metric of the targets, without the prefix of a split."""
        return self.spec.target_metric_name

    @property
    def validation_target_value(self) -> float:
        """Target on the validation split."""
        return self.spec.validation_target_value

    @property
    def test_target_value(self) -> float:
        """Target on the test split."""
        return self.spec.test_target_value

    @property
    def max_allowed_runtime_sec(self) -> int:
        """Submission time budget of an external-tuning trial, in seconds."""
        return self.spec.max_allowed_runtime_sec

    @property
    def eval_period_time_sec(self) -> int:
        """Least time from the end of an evaluation to the next, in seconds."""
        return self.spec.eval_period_time_sec

    @property
    def step_hint(self) -> int:
        """Steps that the baseline does within the budget."""
        return self.spec.step_hint

    @property
    def num_train_examples(self) -> int:
        """Size of the training split."""
        return self.spec.num_train_examples

    @property
    def num_eval_train_examples(self) -> int:
        """How many training examples an evaluation covers."""
        return self.spec.num_eval_train_examples

    @property
    def num_validation_examples(self) -> int:
        """Size of the validation split."""
        return self.spec.num_validation_examples

    @property
    def num_test_examples(self) -> int:
        """Size of the test split."""
        return self.spec.num_test_examples

    @property
    def eval_batch_size(self) -> int:
        """Global evaluation batch size."""
        return self.spec.eval_batch_size

    @property
    def batch_size_divisor(self) -> int:
        """What a submission's batch size is divided by in this tier."""
        return self.spec.batch_size_divisor

    @property
    def train_mean(self) -> tuple[float, ...]:
        """Per-channel mean of the inputs; NotImplementedError where it is undefined."""
        return self._defined(self.spec.train_mean, "train_mean")

    @property
    def train_stddev(self) -> tuple[float, ...]:
        """Per-channel standard deviation; NotImplementedError where it is undefined."""
        return self._defined(self.spec.train_stddev, "train_stddev")

    def _defined(self, value: tuple[float, ...] | None, name: str) -> tuple[float, ...]:
        if value is None:
            raise NotImplementedError(f"{self.name} has no {name}")
        return value
