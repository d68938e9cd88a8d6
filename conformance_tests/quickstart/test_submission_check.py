"""``python -m algoperf_ref.submission_check``: one damage at a time is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.new_submission import Wanted, create
from algoperf_ref.submission_check import check_directory, main
from algoperf_ref.submission_info import INFO_FILE
from spec.rulesets import Tuning


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    """An external submission for PyTorch that has nothing left to fill in."""
    directory = create(Wanted("mine", "pytorch", Tuning.EXTERNAL, tmp_path, ("Ada",)))
    fields(affiliations=["none"], description="AdamW.")(directory)
    readme = directory / "README.md"
    readme.write_text(readme.read_text().replace("TODO:", ""))
    return directory


def fields(**changes: Any) -> Callable[[Path], None]:
    """Changes the metadata; None removes a field."""

    def change(directory: Path) -> None:
        file = directory / INFO_FILE
        info = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({k: v for k, v in info.items() if v is not None}))

    return change


def written(name: str, text: str) -> Callable[[Path], None]:
    """Writes a file."""
    return lambda directory: (directory / name).write_text(text) and None


def removed(name: str) -> Callable[[Path], None]:
    """Removes a file."""
    return lambda directory: (directory / name).unlink()


def replaced(old: str, new: str) -> Callable[[Path], None]:
    """Changes the code."""

    def change(directory: Path) -> None:
        file = directory / "submission.py"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return change


def test_a_complete_submission_passes(complete: Path) -> None:
    assert check_directory(complete) == []


def test_what_python_and_editors_leave_is_no_file_of_the_submission(complete: Path) -> None:
    for place in ("__pycache__", ".ipynb_checkpoints"):
        (complete / place).mkdir()
        (complete / place / "tuning_search_space.json").write_text("{}")
    assert check_directory(complete) == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (fields(authors=["Ada", "TODO: others"]), "'authors' is still to be filled in"),
        (fields(authors=[]), "'authors' must be a list"),
        (fields(authors="Ada"), "'authors' must be a list"),
        (fields(affiliations=[""]), "'affiliations' must be a text"),
        (fields(description=None), "'description' must be a text"),
        (fields(description=3), "'description' must be a text"),
        (fields(name="class"), "'name' cannot be 'class'"),
        (fields(license="MIT"), "'license': a submission is licensed under Apache-2.0"),
        (fields(license=None), "'license' must be a text"),
        (fields(framework="numpy"), "'framework' must be one of jax, pytorch"),
        (fields(ruleset="both"), "'ruleset' must be one of external, self"),
        (fields(ruleset=["self"]), "'ruleset' must be one of external, self"),
        (fields(rules="v9"), "'rules' must be one of"),
        (fields(ruleset="self"), "a self-tuning submission has no search space"),
        (removed("tuning_search_space.json"), "tuning_search_space.json is missing"),
        (written("tuning_search_space.json", '{"a": {"min": 1}}'), "tuning_search_space.json"),
        (written("requirements.txt", "torch==1.0\n"), "torch==1.0 conflicts with the pinned"),
        (written("requirements.txt", "cowsay\n"), "line 1: cowsay is added without a comment"),
        (written("README.md", "# x\n\nTODO: y\n"), "README.md: line 3 is still to be filled in"),
        (replaced("def update_params", "def update"), "update_params"),
        (replaced("import math", "import maths"), "maths"),
        (replaced('"wmt": 128', '"wmt": 0'), "get_batch_size('wmt') returned 0"),
        (replaced('"wmt": 128', '"other": 128'), "get_batch_size('wmt') raises ValueError"),
    ],
)
def test_one_damage_is_one_problem(
    damage: Callable[[Path], None], message: str, complete: Path
) -> None:
    damage(complete)
    problems = check_directory(complete)
    assert len(problems) == 1, problems
    assert message in problems[0]


def test_without_its_code_a_submission_is_not_complete(complete: Path) -> None:
    (complete / "submission.py").unlink()
    assert any("submission.py is missing" in problem for problem in check_directory(complete))


@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_metadata_that_cannot_be_read_are_an_error(text: str, complete: Path) -> None:
    (complete / INFO_FILE).write_text(text)
    with pytest.raises(UserError, match=INFO_FILE):
        check_directory(complete)


def test_the_exit_code_says_which_kind_of_failure(
    complete: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(complete)]) == 0
    fields(license="MIT")(complete)
    assert main([str(complete)]) == 1
    (complete / INFO_FILE).unlink()
    assert main([str(complete)]) == 2
    assert "new_submission writes one" in capsys.readouterr().err
    assert main([str(complete / "nowhere")]) == 2
    assert "there is no such directory" in capsys.readouterr().err
