"""Submissions written for the official package are loaded as they are."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import spec.submission
from algoperf_ref import run
from algoperf_ref.compat import COLLECTIONS, MODULES, ROOTS, official_names
from algoperf_ref.errors import UserError
from algoperf_ref.flags import normalised
from algoperf_ref.harness.loading import loaded_submission
from conformance_tests.harness.test_loading import FUNCTIONS, write

# The imports and annotations that real submissions have, in all their forms.
HEADER = """
from typing import Any, Dict, Iterator, List, Optional, Tuple

from {root} import spec
import {root}.spec
from {root}.spec import ForwardPassMode, TrainingCompleteError
from {root} import {helper}

_GRAD_CLIP_EPS = 1e-6


def annotated(workload: spec.Workload,
              params: spec.ParameterContainer,
              types: spec.ParameterTypeTree,
              state: spec.ModelAuxiliaryState,
              hyperparameters: spec.Hyperparameters,
              batch: Dict[str, spec.Tensor],
              loss_type: spec.LossType,
              optimizer_state: spec.OptimizerState,
              rng: spec.RandomState) -> spec.UpdateReturn:
  return spec.ForwardPassMode.TRAIN
"""
JAX = (
    HEADER
    + """
REPLICATED = jax_sharding_utils.get_replicate_sharding()
SHARDED = jax_sharding_utils.get_batch_dim_sharding()
"""
)
TORCH = (
    HEADER
    + """
USE_PYTORCH_DDP = {root}.pytorch_utils.pytorch_setup()[0]
"""
)
FRAMEWORK = {
    "jax": (JAX, "jax_sharding_utils"),
    "pytorch": (TORCH, "pytorch_utils"),
}


def written_for(root: str, framework: str) -> str:
    """A submission that imports the official package."""
    text, helper = FRAMEWORK[framework]
    return text.format(root=root, helper=helper) + FUNCTIONS


@pytest.mark.parametrize("framework", FRAMEWORK)
@pytest.mark.parametrize("root", ROOTS)
def test_an_unmodified_file_finds_the_official_package(
    root: str, framework: str, tmp_path: Path
) -> None:
    file = write(tmp_path / "submission.py", written_for(root, framework))
    with loaded_submission(file, framework) as submission:
        module = submission.module
        assert module.ForwardPassMode is spec.submission.ForwardPassMode
        assert module.TrainingCompleteError is spec.submission.TrainingCompleteError
        assert module.annotated(*[None] * 9) is spec.submission.ForwardPassMode.TRAIN
        if framework == "jax":
            from algoperf_ref import jax_sharding_utils

            assert jax_sharding_utils.get_replicate_sharding() == module.REPLICATED
            assert jax_sharding_utils.get_batch_dim_sharding() == module.SHARDED
        else:
            assert module.USE_PYTORCH_DDP is False


def test_both_names_lead_to_the_same_objects(tmp_path: Path) -> None:
    with official_names(tmp_path / "submission.py", "jax"):
        first, second = (importlib.import_module(root) for root in ROOTS)
        assert first is not second
        for name in MODULES:
            modules = [importlib.import_module(f"{root}.{name}") for root in ROOTS]
            assert modules[0] is modules[1]
            assert getattr(first, name) is getattr(second, name) is modules[0]
        assert importlib.import_module("algoperf.spec") is spec.submission


@pytest.mark.parametrize("framework", FRAMEWORK)
def test_random_utils_makes_the_keys_of_a_run(framework: str, tmp_path: Path) -> None:
    from algoperf_ref import frameworks

    backend = frameworks.create(framework)
    with official_names(tmp_path / "submission.py", framework):
        random_utils = importlib.import_module("algoperf.random_utils")
        key = random_utils.PRNGKey(3)
        np.testing.assert_array_equal(key, backend.seed_key(3))
        np.testing.assert_array_equal(random_utils.split(key, 4), backend.split(key, 4))
        np.testing.assert_array_equal(random_utils.fold_in(key, 7), backend.fold_in(key, 7))
    if framework == "pytorch":  # source: harness contract, 1.4
        np.testing.assert_array_equal(key, [218175338, 303761048])


def test_modules_of_ours_keep_their_own_names(tmp_path: Path) -> None:
    with official_names(tmp_path / "submission.py", "jax"):
        importlib.import_module("algorithmic_efficiency.spec")
    assert spec.submission.__name__ == "spec.submission"
    assert spec.submission.__spec__.name == "spec.submission"
    assert sys.modules["spec.submission"] is spec.submission


def test_afterwards_the_names_are_gone_or_mean_what_they_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / "installed" / "algoperf"
    write(installed / "__init__.py", "WHO = 'installed'\n")
    write(installed / "spec.py", "WHO = 'installed'\n")
    monkeypatch.syspath_prepend(str(installed.parent))
    official = importlib.import_module("algoperf.spec")
    try:
        finders = list(sys.meta_path)
        with official_names(tmp_path / "submission.py", "jax"):
            assert importlib.import_module("algoperf.spec") is spec.submission
            assert not hasattr(importlib.import_module("algoperf"), "WHO")
        assert sys.meta_path == finders
        assert importlib.import_module("algoperf.spec") is official
        assert "algorithmic_efficiency" not in sys.modules
        with official_names(tmp_path / "submission.py", "jax", enabled=False):
            assert importlib.import_module("algoperf.spec").WHO == "installed"
    finally:
        for name in ("algoperf", "algoperf.spec"):
            sys.modules.pop(name, None)


def test_without_compat_the_official_names_are_left_alone(tmp_path: Path) -> None:
    if importlib.util.find_spec("algoperf") is not None:
        pytest.fail("this test needs an environment without the official package")
    file = write(tmp_path / "submission.py", written_for("algoperf", "jax"))
    with (
        pytest.raises(UserError, match="No module named 'algoperf'"),
        loaded_submission(file, "jax", compat=False),
    ):
        pass


@pytest.mark.parametrize("flag", ["--no-compat", "--no_compat", "--nocompat", "--compat=false"])
def test_a_run_can_leave_them_alone(flag: str) -> None:
    base = ["--submission_path=s.py", "--workload=ogbg", "--framework=jax"]
    assert run.parse(base)[0].compat
    assert not run.parse([*base, flag])[0].compat


def test_a_switch_is_turned_off_in_either_spelling() -> None:
    assert normalised(["--no-profile", "--noprofile", "--no_such"], {"profile"}) == [
        "--profile=false",
        "--profile=false",
        "--no_such",
    ]


def test_a_module_that_no_submission_needs_is_named_with_those_there_are(tmp_path: Path) -> None:
    file = write(tmp_path / "submission.py", "from algoperf import halton\n" + FUNCTIONS)
    with (
        pytest.raises(UserError, match=r"algoperf\.halton is not there.*algoperf\.pytorch_utils"),
        loaded_submission(file, "jax"),
    ):
        pass


def test_a_misspelt_attribute_is_an_attribute_error(tmp_path: Path) -> None:
    with official_names(tmp_path / "submission.py", "jax"):
        root = importlib.import_module("algoperf")
        with pytest.raises(AttributeError, match="no attribute 'speck'"):
            root.speck  # noqa: B018


PREFIXES = [
    "submissions.self_tuning.mine",
    "submissions.submissions_algorithms_v0_5.AlgoPerf_Team_7.external_tuning.mine",
    "submissions_algorithms.leaderboard.external_tuning.mine",
    "algorithms.mine",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_helpers_are_found_under_the_names_of_the_leaderboards(prefix: str, tmp_path: Path) -> None:
    """Only the submission's own directory was copied."""
    directory = tmp_path / "somewhere" / "mine"
    write(directory / "helper.py", "VALUE = 5\n")
    write(directory / "inner" / "__init__.py", "WHERE = __name__\n")
    write(directory / "inner" / "deep.py", "VALUE = 6\n")
    text = (
        f"from {prefix}.helper import VALUE as a\n"
        f"import {prefix}.inner.deep as deep\n"
        f"from {prefix} import helper\n"
        f"from {prefix}.inner import WHERE\n"
    )
    file = write(directory / "submission.py", text + FUNCTIONS)
    with loaded_submission(file, "jax") as submission:
        module = submission.module
        assert (module.a, module.deep.VALUE, module.helper.VALUE) == (5, 6, 5)
        assert f"{prefix}.inner" == module.WHERE
    assert not any(name.partition(".")[0] in COLLECTIONS for name in sys.modules)


def test_helpers_of_helpers_are_found_and_other_directories_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment beside a submission has ten thousands of files."""
    directory = tmp_path / "mine"
    far = "submissions.team.external_tuning.mine"
    write(directory / "inner" / "first.py", f"from {far}.other.second import VALUE\n")
    write(directory / "other" / "second.py", "VALUE = 8\n")
    stranger = write(directory / ".venv" / "lib" / "stranger.py", "VALUE = 1\n")
    text = "from submissions.self_tuning.mine.inner.first import VALUE\n"
    file = write(directory / "submission.py", text + FUNCTIONS)
    read: list[Path] = []
    plain = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or plain(path))
    with loaded_submission(file, "jax") as submission:
        assert submission.module.VALUE == 8
    assert directory / "other" / "second.py" in read
    assert stranger not in read


def test_a_repository_in_its_own_place_is_imported_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "submissions" / "self_tuning" / "mine"
    for place in (directory, directory.parent, directory.parent.parent):
        write(place / "__init__.py", f"PLACE = {str(place)!r}\n")
    write(directory / "helper.py", "VALUE = 7\n")
    text = "from submissions.self_tuning.mine.helper import VALUE\nimport submissions\n"
    monkeypatch.chdir(tmp_path)
    with loaded_submission(write(directory / "submission.py", text + FUNCTIONS), "jax") as loaded:
        assert loaded.module.VALUE == 7
        assert str(tmp_path / "submissions") == loaded.module.submissions.PLACE


def test_a_helper_that_is_nowhere_is_an_import_error(tmp_path: Path) -> None:
    text = "from submissions.external_tuning.mine.missing import VALUE\n"
    file = write(tmp_path / "mine" / "submission.py", text + FUNCTIONS)
    with (
        pytest.raises(UserError, match="No module named 'submissions'"),
        loaded_submission(file, "jax"),
    ):
        pass


def test_a_submission_may_import_while_it_trains(tmp_path: Path) -> None:
    text = FUNCTIONS.replace("    return 8", "    from algoperf import spec\n    return spec", 1)
    with loaded_submission(write(tmp_path / "submission.py", text), "jax") as submission:
        assert submission.module.get_batch_size("ogbg") is spec.submission
