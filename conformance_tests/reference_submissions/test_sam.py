"""Sharpness-aware minimisation: two passes over one batch, one update."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from conformance_tests.reference_submissions.quadratic import as_hyperparameters
from spec.submission import ForwardPassMode

FRAMEWORKS = ("jax", "pytorch")
POINT = {"learning_rate": 0.01, "warmup_steps": 0}


def _run(drive, submission, path, framework, workload, values, num_steps=3) -> Any:
    return drive(submission(path, framework), workload, values, num_steps)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_batch_norm_statistics_are_updated_in_the_first_pass_only(
    framework, make_workload, submission, drive
):
    workload = make_workload(framework)
    values = {**POINT, "dropout_rate": 0.3, "label_smoothing": 0.2}
    _run(drive, submission, "external_tuning.sam", framework, workload, values, 1)
    assert [call["update_batch_norm"] for call in workload.model_calls] == [True, False]
    assert all(call["mode"] is ForwardPassMode.TRAIN for call in workload.model_calls)
    assert all(call["dropout_rate"] == 0.3 for call in workload.model_calls)
    assert workload.label_smoothings == [0.2, 0.2]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_a_radius_it_is_adamw_to_the_bit(framework, make_workload, submission, drive):
    runs = [
        _run(drive, submission, f"external_tuning.{name}", framework, make_workload(framework), v)
        for name, v in (("sam", {**POINT, "rho": 0.0}), ("adamw", POINT))
    ]
    for ours, theirs in zip(*runs, strict=True):
        assert all((ours[k] == theirs[k]).all() for k in theirs)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_radius_is_that_of_the_trial_or_a_twentieth(
    framework, make_workload, submission, drive
):
    def last(values):
        workload = make_workload(framework)
        return _run(drive, submission, "external_tuning.sam", framework, workload, values)[-1]

    default, same, other = last(POINT), last({**POINT, "rho": 0.05}), last({**POINT, "rho": 0.5})
    assert all((default[k] == same[k]).all() for k in same)
    # Little: on this problem the ascent scales the gradients, and Adam takes the scale out again.
    assert any((default[k] != other[k]).any() for k in other)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_parameters_come_back_exactly_from_the_ascent(
    framework, make_workload, submission, drive
):
    # The first step of a warm-up has a learning rate of 0.
    values = {"learning_rate": 0.01, "warmup_steps": 5, "rho": 0.7}
    workload = make_workload(framework)
    after = _run(drive, submission, "external_tuning.sam", framework, workload, values, 1)[0]
    assert all((after[k] == workload.problem["init"][k]).all() for k in after)


def test_both_passes_draw_the_same_random_numbers_in_pytorch(make_workload, submission, drive):
    import torch

    workload, draws = make_workload("pytorch"), []
    plain = workload.model_fn

    def drawing(*args, **options):
        draws.append(torch.rand(3).tolist())
        return plain(*args, **options)

    workload.model_fn = drawing
    torch.manual_seed(3)
    _run(drive, submission, "external_tuning.sam", "pytorch", workload, POINT, 2)
    first, again, second, second_again = draws
    assert first == again
    assert second == second_again
    assert first != second


def test_both_passes_get_the_same_key_in_jax(make_workload, submission, drive):
    workload, keys = make_workload("jax"), []
    plain = workload.model_fn

    def keeping(params, batch, model_state, mode, rng, **options):
        keys.append(rng)
        return plain(params, batch, model_state, mode, rng, **options)

    workload.model_fn = keeping
    _run(drive, submission, "external_tuning.sam", "jax", workload, POINT, 1)
    first, again = keys
    assert first is again


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_running_statistics_of_a_real_batch_norm_move_once(framework, submission):
    """After a step from the same place they are those after a step of AdamW."""
    from algoperf_ref import workloads

    states = []
    for name in ("adamw", "sam"):
        workload: Any = workloads.load("imagenet_resnet", framework, "mini")
        backend, module = workload.backend, submission(f"external_tuning.{name}", framework)
        params, model_state = workload.init_model_fn(backend.seed_key(0))
        point = as_hyperparameters({**POINT, "dropout_rate": 0.0})
        state = module.init_optimizer_state(workload, params, model_state, point, None)
        _, params, model_state = module.update_params(
            workload=workload,
            current_param_container=params,
            current_params_types=None,
            model_state=model_state,
            hyperparameters=point,
            batch=backend.place_batch(workload.synthetic_batch(8)),
            loss_type=workload.loss_type,
            optimizer_state=state,
            eval_results=[],
            global_step=0,
            rng=backend.seed_key(1),
        )
        if framework == "jax":
            import jax

            found = {str(path): np.asarray(leaf) for path, leaf in _leaves(jax, model_state)}
        else:
            found = {key: buffer.numpy().copy() for key, buffer in params.named_buffers()}
        states.append(found)
    adamw, sam = states
    assert adamw.keys() == sam.keys()
    assert len(adamw) > 10
    for key in adamw:
        np.testing.assert_allclose(sam[key], adamw[key], rtol=1e-5, atol=1e-6, err_msg=key)


def _leaves(jax: Any, tree: Any) -> Any:
    return jax.tree_util.tree_leaves_with_path(tree)
