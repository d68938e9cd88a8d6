"""What all workloads have in common; source: harness contract, section 2."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any

from algoperf_ref.frameworks.base import Backend, Key
from algoperf_ref.frameworks.model import InitialModel, Model
from algoperf_ref.frameworks.twins import load_twin
from spec.evaluation import target_reached
from spec.submission import ForwardPassMode, LossType
from spec.tiers import Tier
from spec.workloads import WorkloadSpec

Path = str | PathLike[str]


class BaseWorkload(abc.ABC):
    """A workload of one tier in one framework.

    Constants come from the specification. What differs between the frameworks sits in the backend
    and in the model; a workload class is written once. An object is hashed by identity and serves
    all trials of a run.

    Args:
      spec: the workload's row.
      tier: where the row is from; tells the data apart on disk.
      backend: the framework's devices.

    Attributes:
      spec, tier, backend: as given.
      metrics_logger: None, or the logger that submissions may write to.
      torch_compile_model: whether the PyTorch harness compiles the model on CUDA.
      torch_compile_loss: whether it compiles the loss.
    """

    torch_compile_model = True
    torch_compile_loss = False

    def __init__(self, spec: WorkloadSpec, tier: Tier | str, backend: Backend) -> None:
        self.spec = spec
        self.tier = Tier(tier)
        self.backend = backend
        self.metrics_logger: Any = None
        self._model = self._build_model()
        self._initial: InitialModel | None = None
        self._evaluation_step = self._model.evaluation_step(self.evaluation_outputs)

    # What a workload must define.

    @abc.abstractmethod
    def _build_model(self) -> Model:
        """Returns the model of this workload's framework and sizes."""

    @abc.abstractmethod
    def model_fn(
        self,
        params: Any,
        augmented_and_preprocessed_input_batch: Any,
        model_state: Any,
        mode: ForwardPassMode,
        rng: Key,
        update_batch_norm: bool,
        dropout_rate: Any = None,
    ) -> tuple[Any, Any]:
        """Runs the model on a batch.

        Args:
          params: parameter tree (JAX) or module (PyTorch).
          augmented_and_preprocessed_input_batch: a batch of the input queue, on the device.
          model_state: as :meth:`init_model_fn` returned it, or its update.
          mode: TRAIN, or EVAL: no dropout, no gradients in PyTorch.
          rng: random key of this call; PyTorch draws dropout from its global generator instead.
          update_batch_norm: whether running statistics are updated.
          dropout_rate: rate of every dropout layer, a Python float or a scalar array, which JAX
            may trace; None stands for the workload's documented default (decision 12).

        Returns:
          ``(logits, new_model_state)``.
        """

    @abc.abstractmethod
    def loss_fn(
        self,
        label_batch: Any,
        logits_batch: Any,
        mask_batch: Any = None,
        label_smoothing: Any = 0.0,
    ) -> dict[str, Any]:
        """Computes the loss of a batch; nothing is averaged.

        Returns:
          ``summed`` (scalar), ``n_valid_examples`` (scalar) and ``per_example``.
        """

    @abc.abstractmethod
    def is_output_params(self, param_key: str) -> bool:
        """Tells whether a key of the parameter tree belongs to the output layer."""

    @abc.abstractmethod
    def evaluation_outputs(
        self, params: Any, batch: Any, model_state: Any, rng: Key
    ) -> dict[str, Any]:
        """Computes on the device what the metrics need of one batch: a dict of arrays."""

    @abc.abstractmethod
    def _metrics(self, outputs: Iterator[dict[str, Any]]) -> dict[str, float]:
        """Computes the metrics of a split from the numpy outputs of its batches."""

    @abc.abstractmethod
    def _numpy_batches(
        self, data_seed: int, split: str, data_dir: Path, global_batch_size: int, start_step: int
    ) -> Iterator[Any]:
        """Yields this process's parts of numpy batches, as many on every process of the run.

        Without end for ``train``, else every example exactly once over all processes. The global
        batches do not depend on the number of devices or processes.
        """

    @abc.abstractmethod
    def check_data(self, data_dir: Path) -> None:
        """Checks, without reading much, that every split is there and of this tier.

        Raises:
          algoperf_ref.errors.MissingDataError: names the command that prepares the data.
        """

    # Names and constants.

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

    # The model.

    def init_model_fn(self, rng: Key) -> tuple[Any, Any]:
        """Returns new ``(params, model_state)`` on the device(s), a pure function of ``rng``."""
        initial = self._model.initialise(rng)
        # Only the description is kept: submissions may donate or change the parameters.
        self._initial = initial._replace(params=None, model_state=None)
        return initial.params, initial.model_state

    @property
    def param_shapes(self) -> Any:
        """Tree of parameters with ``ShapeTuple`` leaves; ValueError before ``init_model_fn``."""
        return self._described("param_shapes").shapes

    @property
    def model_params_types(self) -> Any:
        """The same tree with ``ParameterType`` leaves; ValueError before ``init_model_fn``."""
        return self._described("model_params_types").types

    def output_activation_fn(self, logits_batch: Any, framework: str) -> Any:
        """Turns logits into predictions, by the type of the loss.

        Raises:
          ValueError: unknown framework.
        """
        losses = load_twin("algoperf_ref.frameworks.{}_losses", framework)
        return losses.output_activation(logits_batch, self.loss_type)

    # Goals.

    def has_reached_validation_target(self, eval_result: Mapping[str, float]) -> bool:
        """Whether ``eval_result["validation/<metric>"]`` reaches the target."""
        return self._reached(eval_result, "validation", self.validation_target_value)

    def has_reached_test_target(self, eval_result: Mapping[str, float]) -> bool:
        """Whether ``eval_result["test/<metric>"]`` reaches the target."""
        return self._reached(eval_result, "test", self.test_target_value)

    def attach_metrics_logger(self, metrics_logger: Any) -> None:
        """Sets the logger that submissions find as ``metrics_logger``."""
        self.metrics_logger = metrics_logger

    # Data and evaluation.

    def build_input_queue(
        self,
        data_rng: Key,
        split: str,
        data_dir: Path,
        global_batch_size: int,
        start_step: int = 0,
    ) -> Iterator[Any]:
        """Yields batches on the device(s).

        Args:
          data_rng: random key; the training stream is a function of it and of the position.
          split: ``train`` (endless), ``eval_train``, ``validation`` or ``test`` (once through).
          data_dir: directory of the prepared data.
          global_batch_size: examples of a batch, over all devices.
          start_step: number of training batches to skip.

        Raises:
          algoperf_ref.errors.UserError: missing data, or a batch size that does not fit.
        """
        seed = self.backend.key_to_seed(data_rng)
        batches = self._numpy_batches(seed, split, data_dir, global_batch_size, start_step)
        return map(self.backend.place_batch, batches)

    _build_input_queue = build_input_queue

    def eval_model(
        self,
        global_batch_size: int,
        params: Any,
        model_state: Any,
        rng: Key,
        data_dir: Path,
        imagenet_v2_data_dir: Path | None = None,
        global_step: int = 0,
    ) -> dict[str, float]:
        """Evaluates a sample of the training split, the validation split and the test split.

        Args:
          global_batch_size: examples of an evaluation batch, over all devices.
          params, model_state: the model.
          rng: random key; the same for the three splits.
          data_dir: directory of the prepared data.
          imagenet_v2_data_dir: the test data of ImageNet; other workloads do not read it.
          global_step: not used.

        Returns:
          Every metric as ``train/<m>``, ``validation/<m>``, ``test/<m>``, and
          ``validation/num_examples`` and ``test/num_examples``.
        """
        del imagenet_v2_data_dir, global_step
        result: dict[str, float] = {}
        splits = {
            "eval_train": ("train", None),
            "validation": ("validation", self.num_validation_examples),
            "test": ("test", self.num_test_examples),
        }
        for split, (prefix, num_examples) in splits.items():
            # Made anew for every evaluation: an iterator keeps no batches alive after it.
            batches = self.build_input_queue(rng, split, data_dir, global_batch_size)
            outputs = (self._evaluation_step(params, batch, model_state, rng) for batch in batches)
            for metric, value in self._metrics(outputs).items():
                result[f"{prefix}/{metric}"] = value
            if num_examples is not None:
                result[f"{prefix}/num_examples"] = num_examples
        return result

    def _dropout_rate(self, dropout_rate: Any) -> Any:
        """Returns the rate, or the documented default for None."""
        return self.spec.dropout_rate if dropout_rate is None else dropout_rate

    def _reached(self, eval_result: Mapping[str, float], split: str, target: float) -> bool:
        value = eval_result[f"{split}/{self.target_metric_name}"]
        return target_reached(value, target, self.spec.direction)

    def _described(self, name: str) -> InitialModel:
        if self._initial is None:
            raise ValueError(f"{name} is known after init_model_fn was called")
        return self._initial

    def _defined(self, value: tuple[float, ...] | None, name: str) -> tuple[float, ...]:
        if value is None:
            raise NotImplementedError(f"{self.name} has no {name}")
        return value
