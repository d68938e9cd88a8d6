"""A submission is found, imported and checked, wherever it lies."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.harness.loading import find_submission_file, loaded_submission

FUNCTIONS = """
def get_batch_size(workload_name):
    return 8

def init_optimizer_state(workload, model_params, model_state, hyperparameters, rng):
    return {}

def data_selection(workload, input_queue, optimizer_state, current_param_container, model_state,
                   hyperparameters, global_step, rng):
    return next(input_queue)

def update_params(workload, current_param_container, current_params_types, model_state,
                  hyperparameters, batch, loss_type, optimizer_state, eval_results, global_step,
                  rng):
    return optimizer_state, current_param_container, model_state
"""


def write(path: Path, text: str = FUNCTIONS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_an_absolute_path_outside_any_package_is_loaded(tmp_path: Path) -> None:
    with loaded_submission(write(tmp_path / "mine.py"), "jax") as submission:
        assert submission.module.get_batch_size("ogbg") == 8
        assert not submission.takes_train_state
        assert not submission.has_prepare_for_eval


def test_a_relative_path_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "algorithms" / "mine" / "submission.py")
    monkeypatch.chdir(tmp_path)
    with loaded_submission("./algorithms/mine/submission.py", "jax") as submission:
        assert submission.path == (tmp_path / "algorithms" / "mine" / "submission.py").resolve()


def test_helper_modules_beside_it_can_be_imported_in_all_three_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "my_submissions" / "self_tuning" / "mine"
    for directory in (package, package.parent, package.parent.parent):
        write(directory / "__init__.py", "")
    write(package / "helper.py", "VALUE = 5\n")
    text = (
        "from .helper import VALUE as a\n"
        "from my_submissions.self_tuning.mine.helper import VALUE as b\n"
        "import helper\n"
    )
    monkeypatch.chdir(tmp_path)
    with loaded_submission(write(package / "submission.py", text + FUNCTIONS), "jax") as loaded:
        assert loaded.module.a == loaded.module.b == loaded.module.helper.VALUE == 5
        assert loaded.module.__name__ == "my_submissions.self_tuning.mine.submission"


def test_two_submissions_with_helpers_of_one_name_do_not_mix(tmp_path: Path) -> None:
    for name, value in (("one", 1), ("two", 2)):
        write(tmp_path / name / "shared_helper.py", f"VALUE = {value}\n")
        write(tmp_path / name / "submission.py", "import shared_helper\n" + FUNCTIONS)
    values = []
    for name in ("one", "two"):
        with loaded_submission(tmp_path / name / "submission.py", "jax") as submission:
            values.append(submission.module.shared_helper.VALUE)
    assert values == [1, 2]


def test_nothing_is_left_on_the_path_or_among_the_modules(tmp_path: Path) -> None:
    before = list(sys.path), set(sys.modules)
    write(tmp_path / "left_helper.py", "")
    with loaded_submission(
        write(tmp_path / "submission.py", "import left_helper\n" + FUNCTIONS), "jax"
    ):
        assert "left_helper" in sys.modules
    assert list(sys.path) == before[0]
    assert "left_helper" not in sys.modules


def test_a_directory_gives_the_file_of_the_framework(tmp_path: Path) -> None:
    write(tmp_path / "submission_jax.py")
    assert find_submission_file(tmp_path, "jax").name == "submission_jax.py"
    with pytest.raises(UserError, match=r"no submission_pytorch.py or submission.py"):
        find_submission_file(tmp_path, "pytorch")
    write(tmp_path / "submission.py")
    assert find_submission_file(tmp_path, "pytorch").name == "submission.py"


def test_a_missing_file_and_a_file_of_another_kind_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file"):
        find_submission_file(tmp_path / "nothing.py", "jax")
    with pytest.raises(UserError, match=r"Python file ending in \.py"):
        find_submission_file(write(tmp_path / "submission.txt"), "jax")


def test_all_missing_functions_are_named_at_once(tmp_path: Path) -> None:
    text = "def get_batch_size(workload_name):\n    return 8\n"
    with (
        pytest.raises(UserError) as error,
        loaded_submission(write(tmp_path / "submission.py", text), "jax"),
    ):
        pass
    for name in ("init_optimizer_state", "data_selection", "update_params"):
        assert name in str(error.value)
    assert "get_batch_size" not in str(error.value)


def test_wrong_parameters_are_told_before_training(tmp_path: Path) -> None:
    text = FUNCTIONS.replace("loss_type, ", "")
    with (
        pytest.raises(UserError, match="update_params"),
        loaded_submission(write(tmp_path / "submission.py", text), "jax"),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nimport nothing_of_that_name\n", "ModuleNotFoundError.*line 2"),
        ("def f(:\n", "SyntaxError"),
        ("raise RuntimeError('no GPU')\n", "RuntimeError: no GPU.*line 1"),
        ("import sys\nsys.exit(3)\n", "ends the interpreter"),
    ],
)
def test_a_file_that_cannot_be_imported_is_one_sentence(
    tmp_path: Path, text: str, expected: str
) -> None:
    with (
        pytest.raises(UserError, match=expected),
        loaded_submission(write(tmp_path / "submission.py", text), "jax"),
    ):
        pass
    assert not [name for name in sys.modules if name.startswith("algoperf_submission_")]
