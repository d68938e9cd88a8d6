"""Keys, placement, synchronising and state export of the two backends."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest

from algoperf_ref import frameworks
from algoperf_ref.errors import UserError
from algoperf_ref.frameworks import numpy_random
from algoperf_ref.records import codec


@pytest.fixture(params=["jax", "pytorch"])
def backend(request: pytest.FixtureRequest) -> Any:
    return frameworks.create(request.param)


def test_the_numpy_keys_are_those_of_the_contract() -> None:
    key = numpy_random.prng_key(3)
    assert key.tolist() == [218175338, 303761048]
    rows = numpy_random.split(key, 4)
    assert rows.dtype == np.int32
    assert rows.tolist() == [
        [1614595314, 1527278291],
        [907380247, 1812834100],
        [1664333607, 680415948],
        [905869197, 377290283],
    ]
    folded = numpy_random.fold_in(rows[-1], 0)
    assert folded == [87856574, 0]
    assert numpy_random.split(folded, 4)[0].tolist() == [1614673564, 942335468]


def test_step_keys_are_the_split_of_the_folded_key(backend: Any) -> None:
    key = backend.seed_key(17)
    for step in (0, 1, 15, 16, 12345, 3):
        expected = backend.split(backend.fold_in(key, step), 4)
        keys = [*backend.step_keys(key, step), *backend.evaluation_keys(key, step)]
        for ours, theirs in zip(keys, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_step_keys_belong_to_their_key(backend: Any) -> None:
    first, second = backend.seed_key(1), backend.seed_key(2)
    for key in (first, second, first):
        expected = backend.split(backend.fold_in(key, 5), 4)[:2]
        for ours, theirs in zip(backend.step_keys(key, 5), expected, strict=True):
            np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_keys_become_different_seeds_below_2_to_the_64(backend: Any) -> None:
    seeds = [backend.key_to_seed(key) for key in backend.split(backend.seed_key(0), 50)]
    assert len(set(seeds)) == 50
    assert all(0 <= seed < 2**64 for seed in seeds)


class Graph(NamedTuple):
    nodes: Any
    globals: Any


def test_placing_a_batch_keeps_structure_dtypes_and_values(backend: Any) -> None:
    batch = {
        "inputs": Graph(np.arange(6, dtype=np.float32).reshape(3, 2), {}),
        "targets": np.array([1, 2, 3], dtype=np.int32),
    }
    placed = backend.place_batch(batch)
    assert isinstance(placed["inputs"], Graph)
    assert placed["inputs"].globals == {}
    assert not isinstance(placed["targets"], np.ndarray)
    np.testing.assert_array_equal(np.asarray(placed["inputs"].nodes), batch["inputs"].nodes)
    assert np.asarray(placed["targets"]).dtype == np.int32


def test_jax_batches_are_sharded_on_axis_0_by_the_mesh_batch() -> None:
    backend: Any = frameworks.create("jax")
    placed = backend.place_batch(np.zeros((4, 2), np.float32))
    assert placed.sharding.mesh.axis_names == ("batch",)
    assert tuple(placed.sharding.spec) == ("batch",)


def test_pytorch_dropout_repeats_after_the_same_key() -> None:
    import torch

    backend: Any = frameworks.create("pytorch")
    draws = []
    for key in (5, 5, 6):
        backend.seed_global_generators(backend.seed_key(key))
        draws.append(torch.rand(4).tolist())
    assert draws[0] == draws[1] != draws[2]


def jax_states() -> Any:
    import jax
    import jax.numpy as jnp
    import optax

    params = {"Dense_0": {"kernel": jnp.ones((3, 2)), "bias": jnp.zeros((2,), jnp.bfloat16)}}
    optimizer = optax.adamw(1e-3)
    state = optimizer.init(params)
    updates, state = optimizer.update(jax.tree.map(jnp.ones_like, params), state, params)
    return optax.apply_updates(params, updates), (state, optimizer.update), {"count": (1, None)}


def torch_states() -> Any:
    import torch

    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    schedule.step()
    state = {
        "optimizer": optimizer,
        "scheduler": schedule,
        "best": 3,
        "history": (1.5, None, [True]),
        "average": torch.full((2,), 0.5, dtype=torch.bfloat16),
    }
    return model, state, None


def fresh_torch_states() -> Any:
    import torch

    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
    state = {
        "optimizer": optimizer,
        "scheduler": schedule,
        "best": 0,
        "history": (),
        "average": torch.zeros(2),
    }
    return model, state, None


def through_a_file(exported: Any) -> Any:
    structure, arrays = codec.encode(exported)
    return codec.decode(structure, arrays)


def test_the_jax_state_survives_export_and_import() -> None:
    import jax
    import jax.numpy as jnp

    backend: Any = frameworks.create("jax")
    params, optimizer_state, model_state = jax_states()
    exported = through_a_file(backend.export_state(params, optimizer_state, model_state))
    zeros = jax.tree.map(jnp.zeros_like, params)
    fresh = jax.tree.map(jnp.zeros_like, optimizer_state[0]), optimizer_state[1]
    restored = backend.import_state(exported, zeros, fresh, {"count": (0, None)})
    assert jax.tree.structure(restored[0]) == jax.tree.structure(params)
    assert jax.tree.structure(restored[1][0]) == jax.tree.structure(optimizer_state[0])
    for ours, theirs in zip(
        jax.tree.leaves((restored[0], restored[1][0])),
        jax.tree.leaves((params, optimizer_state[0])),
        strict=True,
    ):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))
    assert restored[1][1] is optimizer_state[1]
    assert restored[2] == {"count": (1, None)}


def test_a_jax_state_of_another_structure_is_told() -> None:
    backend: Any = frameworks.create("jax")
    params, optimizer_state, model_state = jax_states()
    exported = backend.export_state(params, optimizer_state, model_state)
    with pytest.raises(UserError, match=r"checkpoint: params has another structure.*--overwrite"):
        backend.import_state(exported, {"other": params}, optimizer_state, model_state)


def test_the_pytorch_state_survives_export_and_import() -> None:
    import torch

    backend: Any = frameworks.create("pytorch")
    model, state, _ = torch_states()
    exported = through_a_file(backend.export_state(model, state, None))
    restored, new, model_state = backend.import_state(exported, *fresh_torch_states())
    assert model_state is None
    for ours, theirs in zip(restored.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert new["best"] == 3
    assert new["history"] == (1.5, None, [True])
    assert new["average"].dtype == torch.bfloat16
    assert torch.equal(new["average"], state["average"])
    assert new["scheduler"].get_last_lr() == state["scheduler"].get_last_lr()
    # Both go on to the same parameters.
    for module, states in ((model, state), (restored, new)):
        states["optimizer"].zero_grad()
        module(torch.ones(1, 3)).sum().backward()
        states["optimizer"].step()
    for ours, theirs in zip(restored.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_pytorch_state_of_another_structure_is_told() -> None:
    import torch

    backend: Any = frameworks.create("pytorch")
    model, state, _ = torch_states()
    exported = backend.export_state(model, state, None)
    with pytest.raises(UserError, match="checkpoint: params do not fit"):
        backend.import_state(exported, torch.nn.Linear(4, 2), state, None)
    with pytest.raises(UserError, match=r"optimizer_state\['scheduler'\] is stored"):
        backend.import_state(exported, model, {"optimizer": state["optimizer"]}, None)


def test_an_unknown_framework_is_told() -> None:
    with pytest.raises(UserError, match="choose one of jax, pytorch"):
        frameworks.create("tensorflow")


@pytest.mark.parametrize(("framework", "other"), [("jax", "torch"), ("pytorch", "jax")])
def test_a_backend_does_not_import_the_other_framework(framework: str, other: str) -> None:
    code = (
        "import sys; from algoperf_ref import frameworks; "
        f"frameworks.create({framework!r}); sys.exit({other!r} in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
