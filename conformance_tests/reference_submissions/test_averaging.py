"""Schedule-Free AdamW and LAWA: other weights are evaluated than those that are trained."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from algoperf_ref.records import codec
from conformance_tests.reference_submissions.training import FRAMEWORKS, Training
from conformance_tests.workloads.samples import backend
from reference_submissions._common.averaging import (
    NUM_SNAPSHOTS,
    STATISTICS_PERIOD,
    snapshot_period,
)
from reference_submissions.self_tuning.nadamw import defaults as nadamw_defaults
from reference_submissions.self_tuning.schedule_free_adamw import defaults
from spec.submission import ForwardPassMode

NAMES = ("schedule_free_adamw", "lawa")
TOLERANCE = 5e-6  # of the golden trajectories
each = pytest.mark.parametrize("framework", FRAMEWORKS)
both = pytest.mark.parametrize(("name", "framework"), [(n, f) for n in NAMES for f in FRAMEWORKS])


@pytest.fixture
def start(make_workload, submission):
    """(name, framework) -> a training on the quadratic."""

    def make(name: str, framework: str, step_hint: int = 20) -> Training:
        workload = make_workload(framework)
        workload.step_hint = step_hint
        params, model_state = workload.init()
        module = submission(f"self_tuning.{name}", framework)
        batch, key = workload.batch(), workload.key()
        return Training(module, workload, None, params, model_state, batch, key)

    return make


def _values(training: Training) -> dict[str, np.ndarray]:
    return training.workload.values(training.params)


def _gradient(problem: Any, point: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    curv, target = problem["curv"], problem["target"]
    return {k: curv[k].astype(np.float64) * (point[k] - target[k]) for k in point}


def _schedule_free(problem: Any, num_steps: int, step_hint: int) -> Any:
    """The equations in float64; y and x after every step."""
    chosen = defaults.settings(None, step_hint)
    y = {k: v.astype(np.float64) for k, v in problem["init"].items()}
    x, z = dict(y), dict(y)
    v = {k: np.zeros_like(p) for k, p in y.items()}
    total = 0.0
    for t in range(1, num_steps + 1):
        warm = min((t - 1) / chosen.warmup_steps, 1.0) if chosen.warmup_steps else 1.0
        rate = chosen.learning_rate * warm * math.sqrt(1 - chosen.beta2**t)
        g = _gradient(problem, y)
        total += rate**2
        for k in y:
            v[k] = chosen.beta2 * v[k] + (1 - chosen.beta2) * g[k] ** 2
            direction = g[k] / (np.sqrt(v[k]) + chosen.epsilon) + chosen.weight_decay * y[k]
            z[k] = z[k] - rate * direction
            c = rate**2 / total if total else 1.0
            x[k] = (1 - c) * x[k] + c * z[k]
            y[k] = (1 - chosen.beta1) * z[k] + chosen.beta1 * x[k]
        yield dict(y), dict(x)


@each
def test_schedule_free_adamw_follows_its_equations(framework, start):
    training = start("schedule_free_adamw", framework, step_hint=60)
    steps = list(_schedule_free(training.workload.problem, 10, 60))
    for y, x in steps:
        training.steps(1)
        ours = _values(training)
        assert max(np.abs(ours[k] - y[k]).max() for k in y) < TOLERANCE
        training.prepare_for_eval()
        evaluated = _values(training)
        assert max(np.abs(evaluated[k] - x[k]).max() for k in x) < TOLERANCE
    first, last = steps[0], steps[-1]
    assert max(np.abs(last[0][k] - first[0][k]).max() for k in first[0]) > 1e-2
    assert max(np.abs(last[0][k] - last[1][k]).max() for k in first[0]) > 1e-4


@each
def test_lawa_evaluates_the_mean_of_the_latest_snapshots_of_nadamw(
    framework, start, make_workload, submission, drive
):
    step_hint, num_steps = 250, 14
    assert snapshot_period(step_hint) == 2
    workload = make_workload(framework)
    workload.step_hint = step_hint
    plain = drive(submission("self_tuning.nadamw", framework), workload, None, num_steps)
    training = start("lawa", framework, step_hint)
    for step in range(num_steps):
        training.steps(1)
        ours = _values(training)
        assert all((ours[k] == plain[step][k]).all() for k in ours), "training is that of NadamW"
        training.prepare_for_eval()
        # Before the first snapshot the weights of the training are evaluated.
        snapshots = plain[1 : step + 1 : 2][-NUM_SNAPSHOTS:] or plain[:1]
        assert len(snapshots) == min(max((step + 1) // 2, 1), NUM_SNAPSHOTS)
        evaluated = _values(training)
        for k in evaluated:
            mean = np.mean([snapshot[k] for snapshot in snapshots], axis=0)
            np.testing.assert_allclose(evaluated[k], mean, rtol=1e-6, atol=1e-7)


def test_a_run_has_a_hundred_snapshots_or_one_in_each_step():
    assert [snapshot_period(n) for n in (1, 99, 100, 250, 80_000)] == [1, 1, 1, 2, 800]
    assert nadamw_defaults.settings(None, 80_000).total_steps == 80_000


@pytest.mark.parametrize("name", NAMES)
def test_jax_and_pytorch_take_the_same_steps(name, start):
    trainings = [start(name, framework) for framework in FRAMEWORKS]
    for _ in range(10):
        for training in trainings:
            training.steps(1)
        for training in trainings:
            training.prepare_for_eval()
        in_jax, in_torch = (_values(training) for training in trainings)
        assert max(np.abs(in_jax[k] - in_torch[k]).max() for k in in_jax) < TOLERANCE


@both
def test_training_does_not_see_how_often_it_is_evaluated(name, framework, start):
    rarely, often = start(name, framework), start(name, framework)
    for step in range(9):
        rarely.steps(1)
        if step % 2:
            often.prepare_for_eval()
            often.prepare_for_eval()  # a second call changes nothing
        often.steps(1)
        ours, expected = _values(often), _values(rarely)
        assert all((ours[k] == expected[k]).all() for k in expected)
    rarely.prepare_for_eval()
    assert any((_values(rarely)[k] != expected[k]).any() for k in expected)


@both
def test_a_checkpoint_of_an_evaluation_goes_on_as_if_there_had_been_none(name, framework, start):
    straight, stopped, resumed = (start(name, framework) for _ in range(3))
    straight.steps(9)
    stopped.steps(5)
    stopped.prepare_for_eval()
    exported = backend(framework).export_state(stopped.params, stopped.state, stopped.model_state)
    stored = codec.decode(*codec.encode(copy.deepcopy(exported)))
    if framework == "pytorch":
        # An optimizer has a state for its parameters after a step only.
        assert not resumed.state["optimizer"].state
    resumed.params, resumed.state, resumed.model_state = backend(framework).import_state(
        stored, resumed.params, resumed.state, resumed.model_state
    )
    resumed.global_step = 5
    evaluated, again = _values(stopped), _values(resumed)
    assert all((again[k] == evaluated[k]).all() for k in evaluated)
    resumed.steps(4)
    ours, expected = _values(resumed), _values(straight)
    assert all((ours[k] == expected[k]).all() for k in expected)


class _Real:
    """A submission on the small ResNet, whose running statistics can be looked at."""

    def __init__(self, name: str, framework: str, submission: Any) -> None:
        from algoperf_ref import workloads

        self.workload: Any = workloads.load("imagenet_resnet", framework, "mini")
        backend = self.workload.backend
        params, model_state = self.workload.init_model_fn(backend.seed_key(0))
        batch = backend.place_batch(self.workload.synthetic_batch(8))
        self.training = Training(
            submission(f"self_tuning.{name}", framework),
            self.workload,
            None,
            params,
            model_state,
            batch,
            backend.seed_key(1),
        )
        self.is_jax = framework == "jax"

    def statistics(self) -> dict[str, np.ndarray]:
        """Copies of the running statistics by name."""
        if self.is_jax:
            import jax

            leaves = jax.tree_util.tree_leaves_with_path(self.training.model_state)
            return {str(path): np.array(leaf) for path, leaf in leaves}
        buffers = self.training.params.named_buffers()
        return {name: buffer.detach().numpy().copy() for name, buffer in buffers}

    def pass_at_the_parameters(self) -> None:
        """One training pass, by hand, that updates the statistics."""
        training = self.training
        arguments = (training.params, training.batch, training.model_state)
        options = {"update_batch_norm": True, "dropout_rate": 0.0}
        if self.is_jax:
            _, training.model_state = self.workload.model_fn(
                *arguments, ForwardPassMode.TRAIN, training.key, **options
            )
            return
        import torch

        with torch.no_grad():
            self.workload.model_fn(*arguments, ForwardPassMode.TRAIN, training.key, **options)


@both
def test_batch_norm_has_its_statistics_at_the_weights_of_the_evaluation(
    name, framework, submission
):
    run = _Real(name, framework, submission)
    run.training.steps(STATISTICS_PERIOD)
    before = run.statistics()
    run.training.steps(1)  # in this one they are updated
    found = run.statistics()
    assert any((found[k] != before[k]).any() for k in before)
    run.training.steps(1)
    unchanged = run.statistics()
    assert all((unchanged[k] == found[k]).all() for k in found)

    again = _Real(name, framework, submission)
    again.training.steps(STATISTICS_PERIOD + 1)
    if again.is_jax:
        import jax

        again.training.model_state = jax.tree.map(
            lambda leaf, old: jax.numpy.asarray(old),
            again.training.model_state,
            jax.tree.unflatten(
                jax.tree.structure(again.training.model_state), list(before.values())
            ),
        )
    else:
        for key, buffer in again.training.params.named_buffers():
            buffer.copy_(__import__("torch").tensor(before[key]))
    again.training.prepare_for_eval()
    again.pass_at_the_parameters()
    expected = again.statistics()
    for key in expected:
        np.testing.assert_allclose(found[key], expected[key], rtol=1e-4, atol=1e-5, err_msg=key)


@both
def test_a_pass_for_the_statistics_leaves_training_alone(name, framework, submission, monkeypatch):
    """Random numbers included: PyTorch draws them from one generator."""
    ends = []
    for period in (STATISTICS_PERIOD, 10**9):
        module = f"averaging_{'jax' if framework == 'jax' else 'torch'}"
        monkeypatch.setattr(f"reference_submissions._common.{module}.STATISTICS_PERIOD", period)
        if framework == "pytorch":
            import torch

            torch.manual_seed(0)
        run = _Real(name, framework, submission)
        run.training.steps(2)
        drawn = 0.0 if run.is_jax else float(__import__("torch").rand(()))
        leaves = (
            {str(i): np.asarray(x) for i, x in enumerate(_leaves(run.training.params))}
            if run.is_jax
            else {k: p.detach().numpy() for k, p in run.training.params.named_parameters()}
        )
        ends.append(({k: v.copy() for k, v in leaves.items()}, drawn))
    (ours, drawn), (expected, as_without) = ends
    assert drawn == as_without
    for key in expected:
        np.testing.assert_array_equal(ours[key], expected[key], err_msg=key)


def _leaves(tree: Any) -> list[Any]:
    import jax

    return list(jax.tree.leaves(tree))
