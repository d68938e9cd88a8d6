"""A workload, a backend, a submission and a clock small enough to see through.

The model is one number that every step raises by 1; nothing needs a framework. Everything that
the harness does to them is written down in ``events``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from algoperf_ref.frameworks import numpy_random
from algoperf_ref.harness.console import Quiet
from algoperf_ref.harness.files import NoFiles
from algoperf_ref.harness.loading import Submission
from algoperf_ref.harness.trial import Trial
from algoperf_ref.harness.trial_parts import TrialSettings
from spec import tiers
from spec.evaluation import Goal
from spec.submission import LossType
from spec.timing import Event
from spec.workloads import WorkloadSpec

ROW: WorkloadSpec = replace(
    tiers.get("ogbg", "mini"),
    validation_target_value=0.5,
    test_target_value=0.5,
    max_allowed_runtime_sec=100,
    eval_period_time_sec=10,
    simulated_step_seconds=1.0,
    batch_size_divisor=4,
    eval_batch_size=8,
)
METRIC = ROW.target_metric_name


class FakeBackend:
    """Keys of the numpy emulation; synchronising is an event, optionally with a cost."""

    name = "pytorch"
    batches_are_global = False
    process_index = 0
    process_count = 1

    def __init__(self, num_devices: int = 1) -> None:
        self.num_devices = num_devices
        self.events: list[str] = []
        self.on_synchronize: Callable[[], None] = lambda: None

    def seed_key(self, seed: int) -> Any:
        return numpy_random.prng_key(seed)

    def split(self, key: Any, num: int = 2) -> Any:
        return list(numpy_random.split(key, num))

    def fold_in(self, key: Any, data: int) -> Any:
        return numpy_random.fold_in(key, data)

    def step_keys(self, key: Any, global_step: int) -> Any:
        return self.split(self.fold_in(key, global_step), 4)[:2]

    def evaluation_keys(self, key: Any, global_step: int) -> Any:
        return self.split(self.fold_in(key, global_step), 4)[2:]

    def key_to_seed(self, key: Any) -> int:
        return int(key[0])

    def agree(self, values: Any) -> Any:
        return values

    def broadcast(self, value: Any) -> Any:
        return value

    def announce_failure(self, error: BaseException, status: str) -> None:
        self.events.append(f"announce {status}")

    def seed_global_generators(self, key: Any, *, is_shared: bool = False) -> None:
        np.random.seed(int(key[0]))

    def place_batch(self, batch: Any) -> Any:
        return batch

    def fetch(self, outputs: Any) -> Any:
        return outputs

    def replicate(self, tree: Any) -> Any:
        return tree

    def synchronize(self, *trees: Any) -> None:
        self.events.append("synchronize")
        self.on_synchronize()

    def free_memory(self) -> None:
        self.events.append("free_memory")

    def peak_memory_bytes(self) -> int | None:
        return None

    def reset_peak_memory(self) -> None:
        self.events.append("reset_peak_memory")

    def compile_workload(self, workload: Any, params: Any) -> Any:
        return params

    def structure(self, params: Any) -> Any:
        return [(name, "()") for name in params]

    def first_non_finite(self, params: Any) -> str | None:
        return next((name for name, value in params.items() if not math.isfinite(value)), None)

    def trace(self, directory: Path) -> Any:
        self.events.append(f"trace to {directory.name}")
        return nullcontext()

    def export_state(self, params: Any, optimizer_state: Any, model_state: Any) -> dict[str, Any]:
        return {
            "params": dict(params),
            "optimizer_state": dict(optimizer_state),
            "model_state": model_state,
        }

    def import_state(self, exported: Any, *fresh: Any) -> tuple[Any, Any, Any]:
        return exported["params"], exported["optimizer_state"], exported["model_state"]


class FakeWorkload:
    """Evaluates to what ``evaluate`` says of the parameters."""

    loss_type = LossType.SIGMOID_CROSS_ENTROPY
    step_hint = 20
    target_metric_name = METRIC
    model_params_types: Mapping[str, Any] = {"w": "weight"}

    def __init__(
        self, row: WorkloadSpec = ROW, evaluate: Callable[[int], float] = lambda step: step / 100
    ) -> None:
        self.spec = row
        self.name = row.name
        self.eval_period_time_sec = row.eval_period_time_sec
        self.backend = FakeBackend()
        self.metrics_logger: Any = None
        self.evaluate = evaluate
        self.events = self.backend.events
        self.keys: dict[str, Any] = {}
        self.on_evaluate: Callable[[], None] = lambda: None

    def check_data(self, data_dir: Any) -> None:
        self.events.append("check data")

    def build_input_queue(
        self,
        data_rng: Any,
        split: str,
        data_dir: Any,
        global_batch_size: int,
        start_step: int = 0,
    ) -> Iterator[dict[str, Any]]:
        self.keys["data"] = data_rng
        self.events.append(f"queue {split} {global_batch_size} from {start_step}")
        position = start_step
        while True:
            yield {"inputs": np.full((2,), position), "targets": np.zeros(2), "weights": np.ones(2)}
            position += 1

    def init_model_fn(self, rng: Any) -> tuple[Any, Any]:
        self.keys["model"] = rng
        return {"w": 0.0}, None

    def eval_model(
        self,
        global_batch_size: int,
        params: Any,
        model_state: Any,
        rng: Any,
        data_dir: Any,
        imagenet_v2_data_dir: Any = None,
        global_step: int = 0,
    ) -> dict[str, float]:
        self.events.append(f"evaluate {global_step}")
        self.keys[f"eval {global_step}"] = rng
        self.on_evaluate()
        value = self.evaluate(global_step)
        return {f"{split}/{METRIC}": value for split in ("train", "validation", "test")}

    def attach_metrics_logger(self, metrics_logger: Any) -> None:
        self.metrics_logger = metrics_logger


@dataclass
class FakeTime:
    """A clock that tests set by hand: ``now`` is the reading."""

    now: float = 1000.0
    kind: str = "fake"
    readings: list[tuple[Event | None, float]] = field(default_factory=list)

    def start(self, global_step: int = 0) -> float:
        self.readings.append((None, self.now))
        return self.now

    def read(self, event: Event) -> float:
        self.readings.append((event, self.now))
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


def fake_functions(**overrides: Any) -> SimpleNamespace:
    """A submission's functions: each step adds 1 to ``w`` and the batch's position to a sum."""

    def get_batch_size(workload_name: str) -> int:
        return 32

    def init_optimizer_state(
        workload: Any, model_params: Any, model_state: Any, hyperparameters: Any, rng: Any
    ) -> Any:
        return {"positions": 0.0, "random": 0.0}

    def data_selection(
        workload: Any,
        input_queue: Any,
        optimizer_state: Any,
        current_param_container: Any,
        model_state: Any,
        hyperparameters: Any,
        global_step: int,
        rng: Any,
    ) -> Any:
        return next(input_queue)

    def update_params(
        workload: Any,
        current_param_container: Any,
        current_params_types: Any,
        model_state: Any,
        hyperparameters: Any,
        batch: Any,
        loss_type: Any,
        optimizer_state: Any,
        eval_results: Any,
        global_step: int,
        rng: Any,
        train_state: Any = None,
    ) -> Any:
        optimizer_state["positions"] += float(batch["inputs"][0]) * (global_step + 1)
        optimizer_state["random"] += float(np.random.random())
        return optimizer_state, {"w": current_param_container["w"] + 1}, model_state

    functions = {
        "get_batch_size": get_batch_size,
        "init_optimizer_state": init_optimizer_state,
        "data_selection": data_selection,
        "update_params": update_params,
    }
    return SimpleNamespace(**{**functions, **overrides})


def fake_submission(takes_train_state: bool = True, **overrides: Any) -> Submission:
    """A loaded submission with :func:`fake_functions`."""
    functions: Any = fake_functions(**overrides)
    module: ModuleType = functions
    return Submission(
        module=module,
        path=Path("submission.py"),
        takes_train_state=takes_train_state,
        has_prepare_for_eval="prepare_for_eval" in overrides,
    )


def fake_trial(
    workload: FakeWorkload | None = None,
    submission: Submission | None = None,
    time_source: Any = None,
    recorder: Any = None,
    observer: Any = None,
    **settings: Any,
) -> Trial:
    """A trial of the fakes, by default on a clock of one second per step."""
    from algoperf_ref.harness.time_source import StepTime

    workload = workload or FakeWorkload()
    row = workload.spec
    defaults: dict[str, Any] = {
        "hyperparameters": None,
        "key": numpy_random.prng_key(3),
        "budget_seconds": float(row.max_allowed_runtime_sec),
        "goal": Goal(METRIC, row.direction, row.validation_target_value, row.test_target_value),
        "global_batch_size": 8,
        "eval_batch_size": 8,
        "data_dir": "nowhere",
    }
    return Trial(
        workload=workload,
        submission=submission or fake_submission(),
        backend=workload.backend,
        settings=TrialSettings(**{**defaults, **settings}),
        time_source=time_source or StepTime(1.0),
        recorder=recorder or NoFiles(),
        observer=observer or Quiet(),
    )
