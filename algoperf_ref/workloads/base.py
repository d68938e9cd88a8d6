"""What all workloads have in common; source: harness contract, section 2."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import Any, ClassVar

from algoperf_ref.data.batches import Part
from algoperf_ref.frameworks.base import Backend, Key
from algoperf_ref.frameworks.model import InitialModel, Model
from algoperf_ref.frameworks.twins import load_twin
from algoperf_ref.workloads.constants import WorkloadConstants
from spec.evaluation import target_reached
from spec.submission import ForwardPassMode
from spec.tiers import Tier
from spec.workloads import WorkloadSpec

Path = str | PathLike[str]


class BaseWorkload(WorkloadConstants, abc.ABC):
    """A workload of one tier in one framework.

    Constants come from the specification. What differs between the frameworks sits in the backend
    and in the model; a workload class is written once. An object is hashed by identity and serves
    all trials of a run.

    Args:
      spec: the workload's row.
      tier: where the row is from; tells the data apart on disk.
      backend: the framework's devices.

    Attributes:
      twins: dotted name of the model's modules, with ``{}`` for ``jax`` or ``torch``. They have
        ``build(sizes, backend)`` and ``output_parameters(sizes)``.
      sizes: what ``build`` needs, with ``of(spec)`` to read it from the workload's row.
      spec, tier, backend: as given.
      metrics_logger: None, or the logger that submissions may write to.
      has_rows: whether an example has rows of its own in a batch that all devices share (JAX), so
        that the rows can be divided.
      torch_compile_model: whether the PyTorch harness compiles the model on CUDA.
      torch_compile_loss: whether it compiles the loss.
    """

    twins: ClassVar[str]
    sizes: ClassVar[Any]
    has_rows: ClassVar[bool] = True
    torch_compile_model = True
    torch_compile_loss = False

    def __init__(self, spec: WorkloadSpec, tier: Tier | str, backend: Backend) -> None:
        self.spec = spec
        self.tier = Tier(tier)
        self.backend = backend
        self.metrics_logger: Any = None
        self._sizes = self.sizes.of(spec)
        self._twin = load_twin(self.twins, self.framework)
        self._losses = load_twin("algoperf_ref.frameworks.{}_losses", self.framework)
        self._model: Model = self._twin.build(self._sizes, backend)
        self._initial: InitialModel | None = None
        self._splits: dict[tuple[str, str], Any] = {}
        self._evaluation_step = self._model.evaluation_step(self.evaluation_outputs)

    # What a workload must define.

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
    def _open_split(self, data_dir: Path, split: str, expected_examples: int) -> Any:
        """Opens the examples of a split.

        Args:
          data_dir: directory of the prepared data.
          split: ``train``, ``eval_train``, ``validation`` or ``test``.
          expected_examples: how many it must have.

        Raises:
          algoperf_ref.errors.MissingDataError: names the command that prepares the data.
        """

    @abc.abstractmethod
    def synthetic_batch(self, global_batch_size: int, seed: int = 0) -> Any:
        """Makes random numbers in the shapes of a batch, for checks that need no data.

        Args:
          global_batch_size: examples of the batch.
          seed: not negative.

        Returns:
          A numpy batch with the structure, shapes and types of an evaluation batch without
          padding; its values are plausible, and mean nothing.
        """

    # The model.

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
            may trace; None stands for the workload's documented default (decision 12). A model
            without dropout takes any rate and does not read it.

        Returns:
          ``(logits, new_model_state)``.

        Raises:
          ValueError: a model state is given to a model that has none, or none to one that has.
        """
        if (model_state is not None) != self._model.has_model_state:
            has = "a" if self._model.has_model_state else "no"
            must = "must not be None" if self._model.has_model_state else "must be None"
            raise ValueError(f"{self.name} has {has} model state: model_state {must}")
        return self._model.forward_with_state(
            params,
            model_state,
            self._model_inputs(augmented_and_preprocessed_input_batch),
            training=mode == ForwardPassMode.TRAIN,
            key=rng,
            update_batch_norm=update_batch_norm,
            dropout_rate=self._dropout_rate(dropout_rate),
        )

    def is_output_params(self, param_key: str) -> bool:
        """Tells whether a key of the parameter tree belongs to the output layer."""
        return param_key in self._twin.output_parameters(self._sizes)

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

    def check_data(self, data_dir: Path) -> None:
        """Opens the three splits, without reading much.

        Raises:
          algoperf_ref.errors.MissingDataError: names the command that prepares the data.
        """
        for split in ("train", "validation", "test"):
            self._split(data_dir, split)

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

    def _split(self, data_dir: Path, split: str) -> Any:
        """Returns an open split; it is opened once for all trials of a run."""
        sizes = {
            "train": self.num_train_examples,
            "eval_train": self.num_train_examples,
            "validation": self.num_validation_examples,
            "test": self.num_test_examples,
        }
        if split not in sizes:
            raise ValueError(f"unknown split {split!r}: choose one of {', '.join(sizes)}")
        key = (str(data_dir), split)
        if key not in self._splits:
            self._splits[key] = self._open_split(data_dir, split, sizes[split])
        return self._splits[key]

    def _model_inputs(self, batch: Any) -> Any:
        """Returns what the model reads of a batch."""
        return batch["inputs"]

    def _part(self) -> Part:
        """Returns the part of every batch that this process makes."""
        return Part(self.backend.process_index, self.backend.process_count)

    def _eval_logits(self, params: Any, batch: Any, model_state: Any, rng: Key) -> Any:
        """Returns the logits of an evaluation batch."""
        logits, _ = self.model_fn(params, batch, model_state, ForwardPassMode.EVAL, rng, False)
        return logits

    def _dropout_rate(self, dropout_rate: Any) -> Any:
        """Returns the rate, or the documented default for None; 0 if the model has no dropout."""
        if self.spec.dropout_rate is None:
            return 0.0
        return self.spec.dropout_rate if dropout_rate is None else dropout_rate

    def _reached(self, eval_result: Mapping[str, float], split: str, target: float) -> bool:
        value = eval_result[f"{split}/{self.target_metric_name}"]
        return target_reached(value, target, self.spec.direction)

    def _described(self, name: str) -> InitialModel:
        if self._initial is None:
            raise ValueError(f"{name} is known after init_model_fn was called")
        return self._initial
