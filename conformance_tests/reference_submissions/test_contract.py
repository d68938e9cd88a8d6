"""Every reference submission obeys the submission API."""

from __future__ import annotations

import numpy as np
import pytest

from conformance_tests.reference_submissions.quadratic import Logger, as_hyperparameters
from conformance_tests.reference_submissions.training import FRAMEWORKS, PATHS, ROOT, is_self_tuning
from reference_submissions._common.batch_sizes import BATCH_SIZES
from reference_submissions._common.settings import tuned
from spec import workloads
from spec.submission import ForwardPassMode, check_submission

POINT = {"learning_rate": 0.01, "warmup_steps": 0, "dropout_rate": 0.3, "label_smoothing": 0.2}


def test_every_submission_exists_in_both_frameworks():
    assert len(PATHS) >= 16
    assert all((ROOT.joinpath(*p.split(".")) / "submission_pytorch.py").is_file() for p in PATHS)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("path", PATHS)
def test_a_submission_has_the_five_functions_with_their_signatures(path, framework, submission):
    module = submission(path, framework)
    assert check_submission(module) == []
    assert callable(module.prepare_for_eval)


@pytest.mark.parametrize("path", PATHS)
def test_only_an_external_submission_has_a_search_space(path):
    has_space = (ROOT.joinpath(*path.split(".")) / "tuning_search_space.json").is_file()
    assert has_space != is_self_tuning(path)


def test_every_base_workload_has_a_batch_size():
    assert set(workloads.names("base")) <= set(BATCH_SIZES)


def test_an_unknown_name_is_a_value_error_so_that_the_harness_asks_for_the_base_workload(
    submission,
):
    module = submission("external_tuning.nadamw", "jax")
    assert module.get_batch_size("ogbg") == 512
    with pytest.raises(ValueError, match="ogbg_gelu"):
        module.get_batch_size("ogbg_gelu")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_dropout_and_label_smoothing_reach_the_workload(
    framework, make_workload, submission, drive
):
    workload = make_workload(framework)
    drive(submission("external_tuning.nadamw", framework), workload, POINT, num_steps=1)
    assert workload.model_calls[0] == {
        "mode": ForwardPassMode.TRAIN,
        "update_batch_norm": True,
        "dropout_rate": 0.3,
    }
    assert workload.label_smoothings[0] == 0.2


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_without_a_dropout_rate_the_workload_keeps_its_default(
    framework, make_workload, submission, drive
):
    workload = make_workload(framework)
    point = {"learning_rate": 0.01, "warmup_factor": 0.1}
    drive(submission("external_tuning.nadamw", framework), workload, point, num_steps=1)
    assert "dropout_rate" not in workload.model_calls[0]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("grad_clip", [None, 0.7])
def test_loss_gradient_norm_and_rate_are_logged_every_hundred_steps(
    framework, grad_clip, make_workload, submission, drive
):
    workload = make_workload(framework)
    workload.metrics_logger = Logger()
    point = {"learning_rate": 0.001, "warmup_steps": 0}
    if grad_clip is not None:
        point["grad_clip"] = grad_clip
    drive(submission("external_tuning.nadamw", framework), workload, point, num_steps=101)
    assert [step for step, _ in workload.metrics_logger.rows] == [0, 100]
    init, target, curv = (workload.problem[part] for part in ("init", "target", "curv"))
    grads = {k: curv[k] * (init[k] - target[k]) for k in init}
    first = workload.metrics_logger.rows[0][1]
    assert first.keys() == {"loss", "grad_norm", "lr"}
    np.testing.assert_allclose(
        first["loss"], sum((curv[k] * (init[k] - target[k]) ** 2).sum() / 2 for k in init), 1e-5
    )
    # The norm is that of the gradient before clipping.
    np.testing.assert_allclose(
        first["grad_norm"], np.sqrt(sum((g**2).sum() for g in grads.values())), 1e-5
    )
    assert first["lr"] == 0.001
    assert workload.metrics_logger.rows[1][1]["lr"] == 0.0


def test_jax_parameters_and_optimizer_state_are_donated(make_workload, submission):
    import jax

    module, workload = submission("external_tuning.nadamw", "jax"), make_workload("jax")
    hyperparameters = as_hyperparameters(POINT)
    params, model_state = workload.init()
    state = module.init_optimizer_state(
        workload, params, model_state, hyperparameters, workload.key()
    )
    old = [*jax.tree.leaves(params), *jax.tree.leaves(state[0])]
    module.update_params(
        workload, params, None, model_state, hyperparameters, workload.batch(), None, state, [], 0,
        workload.key(),
    )  # fmt: skip
    assert all(array.is_deleted() for array in old)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"warmup_factor": 0.1}, "learning_rate"),
        ({"learning_rate": 0.1}, "warmup_factor"),
        ({"learning_rate": 0.1, "warmup_steps": 3, "warmup_factor": 0.1}, "warmup_steps"),
        ({"learning_rate": 0.1, "warmup_steps": 3, "beta1": 0.9, "one_minus_beta1": 0.1}, "beta1"),
    ],
)
def test_a_search_space_that_does_not_fit_is_told_which_field_is_wrong(values, message):
    with pytest.raises(ValueError, match=message):
        tuned(as_hyperparameters(values), 100)
