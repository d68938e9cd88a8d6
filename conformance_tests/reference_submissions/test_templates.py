"""The templates: small, alike, standing on their own, and a training algorithm all the same.

As submissions they are covered by the contract tests of all reference submissions.
"""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref.submission_info import INFO_FILE, TO_FILL_IN, check_info, read_info
from conformance_tests.reference_submissions.quadratic import as_hyperparameters
from conformance_tests.reference_submissions.test_contract_workloads import _learns
from conformance_tests.reference_submissions.training import FRAMEWORKS, ROOT, external_point
from reference_submissions._common.batch_sizes import BATCH_SIZES
from spec.clauses import load_all
from spec.rulesets import Tuning
from spec.submission import check_submission
from spec.validity import check_requirements

TEMPLATE = ROOT / "template"
FOLDERS = [f"{tuning.value}_tuning" for tuning in Tuning]
FILES = [TEMPLATE / folder / f"submission_{fw}.py" for folder in FOLDERS for fw in FRAMEWORKS]
OFFERED = {"jax": {"jax", "optax"}, "pytorch": {"torch"}}
"""What a submission may import besides the standard library and the submission API."""
API = {"algoperf_ref.jax_sharding_utils", "algoperf_ref.pytorch_utils", "spec.submission"}
IDS = re.compile(r"\b[A-Z]{2,5}-[0-9]+\b")

by_file = pytest.mark.parametrize("file", FILES, ids=lambda f: f"{f.parent.name}-{f.stem}")


def _functions(file: Path) -> dict[str, str]:
    """Function -> its code, without documentation."""
    functions = {}
    for part in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(part, ast.FunctionDef):
            assert ast.get_docstring(part), part.name
            part.body = part.body[1:]
            functions[part.name] = ast.unparse(part)
    return functions


def _imported(file: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import is lost when the file is copied"
            here = node.module or ""
            many = here in {"algoperf_ref", "spec"}
            modules |= {f"{here}.{a.name}" for a in node.names} if many else {here}
    return modules


@by_file
def test_a_template_imports_its_framework_and_the_submission_api_only(file: Path) -> None:
    framework = file.stem.removeprefix("submission_")
    standard = {"__future__", "collections", "functools", "math", "typing"}
    for module in _imported(file):
        root = module.split(".")[0]
        assert root in standard | OFFERED[framework] or module in API, module


@pytest.mark.clause("SUB-7", "SUB-8")
@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_template_has_the_functions_of_the_api(
    folder: str, framework: str, submission: Any
) -> None:
    assert check_submission(submission(f"template.{folder}", framework)) == []


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_rulesets_differ_in_where_the_settings_come_from(framework: str) -> None:
    external, own = (
        _functions(TEMPLATE / folder / f"submission_{framework}.py") for folder in FOLDERS
    )
    different = {name for name in external if external[name] != own[name]}
    assert (different, external.keys()) == ({"init_optimizer_state"}, own.keys())


@by_file
def test_the_rules_that_are_cited_exist(file: Path) -> None:
    known = set(load_all())
    texts = [file.read_text(encoding="utf-8")]
    texts += [
        (file.parent / other).read_text(encoding="utf-8")
        for other in ("README.md", "requirements.txt")
    ]
    cited = {found for text in texts for found in IDS.findall(text)}
    assert len(cited) > 10
    assert cited <= known, cited - known


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_batch_sizes_are_those_of_the_reference_submissions(
    folder: str, framework: str, submission: Any
) -> None:
    module = submission(f"template.{folder}", framework)
    assert {name: module.get_batch_size(name) for name in BATCH_SIZES} == BATCH_SIZES
    assert module.BATCH_SIZES.keys() == BATCH_SIZES.keys()
    with pytest.raises(ValueError, match="ogbg_gelu"):
        module.get_batch_size("ogbg_gelu")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_template_computes_what_the_reference_adamw_computes(
    framework: str, make_workload: Any, submission: Any, drive: Any
) -> None:
    point = {"learning_rate": 0.03, "weight_decay": 0.2, "warmup_factor": 0.2}
    trajectories = [
        drive(submission(path, framework), make_workload(framework), point, num_steps=20)
        for path in ("template.external_tuning", "external_tuning.adamw")
    ]
    for ours, expected in zip(*trajectories, strict=True):
        for k in "abc":
            np.testing.assert_allclose(ours[k], expected[k], rtol=5e-6, atol=5e-6)


def test_both_frameworks_take_the_same_steps(
    make_workload: Any, submission: Any, drive: Any
) -> None:
    jax, torch = (
        drive(submission("template.self_tuning", fw), make_workload(fw), None, num_steps=20)
        for fw in FRAMEWORKS
    )
    for ours, expected in zip(jax, torch, strict=True):
        for k in "abc":
            np.testing.assert_allclose(ours[k], expected[k], rtol=5e-6, atol=5e-6)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_template_learns_digits(folder: str, framework: str, submission: Any) -> None:
    _learns("mnist", f"template.{folder}", framework, submission)


@pytest.mark.parametrize("name", ["ogbg", "imagenet_resnet"])
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_template_learns_with_batch_normalisation_and_without(
    folder: str, name: str, submission: Any
) -> None:
    """In JAX, which compiles for half a minute, the contract test of every workload shows it."""
    _learns(name, f"template.{folder}", "pytorch", submission)


class _Regression:
    """Weighted squared error of a linear model, in PyTorch."""

    step_hint = 10

    def model_fn(self, params, batch, model_state, mode, rng, update_batch_norm):
        return params(batch["inputs"]).squeeze(1), None

    def loss_fn(self, label_batch, logits_batch, mask_batch=None, label_smoothing=0.0):
        errors = mask_batch * (logits_batch - label_batch) ** 2
        return {"summed": errors.sum(), "n_valid_examples": mask_batch.sum(), "per_example": errors}


def _gradient(folder: str, wrap: Any, rows: slice) -> np.ndarray:
    """The gradient that one step leaves, on some of four examples of which three count."""
    import torch

    module = importlib.import_module(f"reference_submissions.template.{folder}.submission_pytorch")
    inputs = torch.tensor([[1.0, 2.0], [-1.0, 0.5], [3.0, -2.0], [0.1, 0.7]])
    batch = {
        "inputs": inputs[rows],
        "targets": torch.tensor([1.0, -2.0, 0.5, 3.0])[rows],
        "weights": torch.tensor([1.0, 1.0, 1.0, 0.0])[rows],
    }
    network = torch.nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.3, -0.2]]))
        network.bias.fill_(0.1)
    model, workload = wrap(network), _Regression()
    point = as_hyperparameters(external_point(f"template.{folder}"))
    state = module.init_optimizer_state(workload, model, None, point, None)
    module.update_params(workload, model, None, None, point, batch, None, state, [], 0, None)
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.cat([grad.ravel() for grad in grads]).numpy()


def _process(rank: int, place: str) -> None:
    import torch

    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{place}/rendezvous", rank=rank, world_size=2
    )
    wrap = torch.nn.parallel.DistributedDataParallel
    rows = slice(2 * rank, 2 * rank + 2)
    np.savez(
        Path(place) / f"{rank}.npz", **{folder: _gradient(folder, wrap, rows) for folder in FOLDERS}
    )
    torch.distributed.destroy_process_group()


@pytest.mark.clause("SUB-15")
def test_two_processes_take_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    import torch.multiprocessing

    torch.multiprocessing.spawn(_process, (str(tmp_path),), nprocs=2)
    for folder in FOLDERS:
        expected = _gradient(folder, lambda model: model, slice(0, 4))
        for rank in range(2):
            ours = np.load(tmp_path / f"{rank}.npz")[folder]
            np.testing.assert_allclose(ours, expected, rtol=1e-6)
        half = _gradient(folder, lambda model: model, slice(0, 2))
        assert np.abs(half - expected).max() > 0.1  # a process alone has another one


@pytest.mark.clause("VALID-21", "VALID-22")
@pytest.mark.parametrize("folder", FOLDERS)
def test_the_requirements_say_how_to_add_a_package(folder: str) -> None:
    text = (TEMPLATE / folder / "requirements.txt").read_text(encoding="utf-8")
    assert check_requirements(text, {}) == []
    example = next(line for line in text.splitlines() if "==" in line)
    assert check_requirements(example.removeprefix("#").strip(), {}) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_metadata_of_a_template_are_to_be_filled_in(folder: str) -> None:
    info = read_info(TEMPLATE / folder / INFO_FILE)
    assert info["ruleset"] == folder.removesuffix("_tuning")
    problems = check_info(info)
    assert {problem.split("'")[1] for problem in problems} == {
        "framework",
        "authors",
        "affiliations",
        "description",
    }
    assert str(info).count(TO_FILL_IN) == 4
