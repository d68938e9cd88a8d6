"""JAX submissions from before v0.6 find an axis of devices in front of everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref import run, workloads
from algoperf_ref.compat import calls_pmap
from algoperf_ref.errors import UserError
from algoperf_ref.harness.options import RunOptions
from conformance_tests.distributed.runs import CUSTOM, Runs
from conformance_tests.workloads.samples import backend

SUPPORT = Path(__file__).parents[1] / "support"
SUBMISSION = SUPPORT / "per_device_submission.py"
TWO_DEVICES = SUPPORT / "per_device_steps.py"
TOLERANCES = {"parameters": 1e-5, "loss": 1e-5, "metrics": 2e-3}


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("per_device"))


def test_a_pmap_submission_trains_as_one_in_the_layout_of_today(runs: Runs) -> None:
    shared: dict[str, Any] = {"steps": 4}
    flags = ("--clock=steps", "--rng_seed=3")
    expected = runs("today", "jax", submission=CUSTOM["jax"], flags=flags, **shared)
    ours = runs(
        "before",
        "jax",
        submission=SUBMISSION,
        flags=(*flags, "--per_device_layout"),
        **shared,
    )
    assert (expected.code, ours.code) == (0, 0), ours.output
    first = {name: np.asarray(array)[0] for name, array in ours.params().items()}
    largest = max(
        np.abs(first[name] - np.asarray(v)).max() for name, v in expected.params().items()
    )
    assert largest <= TOLERANCES["parameters"]
    mine, theirs = ours.evaluations(), expected.evaluations()
    assert [step for step, _ in mine] == [step for step, _ in theirs]
    for (_, a), (_, b) in zip(mine, theirs, strict=True):
        assert a["validation/loss"] == pytest.approx(b["validation/loss"], rel=1e-4)


def test_two_devices_take_the_steps_of_the_layout_of_today() -> None:
    """In a process of its own, which has two devices."""
    result = subprocess.run(
        [sys.executable, str(TWO_DEVICES)],
        env={**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["devices"] == 2
    assert found["copies_differ_by"] == 0.0
    assert found["moved_by"] > 1e-3
    assert found["layouts_differ_by"] <= TOLERANCES["parameters"]
    assert "one graph of all devices" in found["ogbg"]


def test_a_run_is_resumed_in_this_layout(runs: Runs) -> None:
    flags = ("--clock=steps", "--rng_seed=3", "--per_device_layout")
    straight = runs("straight", "jax", submission=SUBMISSION, steps=6, flags=flags)
    runs("resumed", "jax", submission=SUBMISSION, steps=3, flags=flags)
    resumed = runs(
        "resumed", "jax", submission=SUBMISSION, steps=6, flags=(*flags, "--resume_last_run")
    )
    assert (straight.code, resumed.code) == (0, 0), resumed.output
    expected = straight.params()
    for name, array in resumed.params().items():
        np.testing.assert_array_equal(array, expected[name])


def test_batches_and_state_have_the_axis_and_evaluations_do_not_see_it() -> None:
    from algoperf_ref.frameworks.jax_per_device import PerDeviceWorkload

    plain: Any = workloads.load("imagenet_resnet", "jax", "mini", backend=backend("jax"))
    ours = PerDeviceWorkload(plain)
    key = plain.backend.seed_key(0)
    (params, state), (new_params, new_state) = plain.init_model_fn(key), ours.init_model_fn(key)
    import jax

    for old, new in ((params, new_params), (state, new_state)):
        shapes = jax.tree.map(lambda a, b: (b.shape, (1, *a.shape)), old, new)
        pairs = jax.tree.leaves(shapes, is_leaf=lambda x: isinstance(x, tuple) and len(x) == 2)
        assert pairs
        assert all(got == wanted for got, wanted in pairs)
    batch = plain.backend.place_batch(plain.synthetic_batch(4))
    divided = ours._divided(batch)
    assert divided["inputs"].shape == (1, *batch["inputs"].shape)
    seen: dict[str, Any] = {}

    def eval_model(size: int, params: Any, state: Any, *args: Any) -> dict[str, float]:
        seen.update(params=params, state=state, rest=args)
        return {}

    plain.eval_model = eval_model
    try:
        doubled = jax.tree.map(lambda a: jax.numpy.concatenate([a, a + 2]), new_state)
        ours.eval_model(4, new_params, doubled, key, "nowhere")
    finally:
        del plain.eval_model
    for got, wanted in zip(jax.tree.leaves(seen["params"]), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(got, wanted)
    for got, wanted in zip(jax.tree.leaves(seen["state"]), jax.tree.leaves(state), strict=True):
        np.testing.assert_allclose(got, np.asarray(wanted) + 1)
    assert ours.step_hint == plain.step_hint
    assert hash(ours) == hash(ours)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import jax\nstep = jax.pmap(f)\n", True),
        ("from jax import pmap\n\n@pmap\ndef step(): ...\n", True),
        ("import jax\nstep = jax.jit(f)  # not jax.pmap\n", False),
        ("'jax.pmap'\n", False),
        ("def broken(:\n", False),
    ],
)
def test_pmap_is_seen_in_code_only(text: str, expected: bool, tmp_path: Path) -> None:
    file = tmp_path / "submission.py"
    file.write_text(text)
    assert calls_pmap(file) is expected
    assert not calls_pmap(tmp_path / "missing.py")


def test_a_note_says_which_flag_a_pmap_submission_may_need(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error_of(*flags: str) -> str:
        run.main(
            [
                *(f"--submission_path={SUBMISSION}", "--workload=ogbg", "--framework=jax"),
                *("--tier=mini", "--tuning_ruleset=self", f"--data_dir={tmp_path}", *flags),
            ]
        )
        return capsys.readouterr().err

    assert "per_device_submission.py calls jax.pmap" in error_of()
    assert "--per_device_layout" in error_of()
    assert "note:" not in error_of("--per_device_layout")


def test_the_layout_is_one_of_jax() -> None:
    options = RunOptions("s.py", "ogbg", "pytorch", tuning_ruleset="self", per_device_layout=True)
    with pytest.raises(UserError, match="--per_device_layout is a layout of JAX"):
        options.check()


def test_several_processes_cannot_have_it() -> None:
    from algoperf_ref.frameworks.jax_per_device import PerDeviceWorkload

    class Two:
        class backend:
            process_count = 2

    with pytest.raises(UserError, match="start one process only"):
        PerDeviceWorkload(Two())
