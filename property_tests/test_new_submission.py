"""Names of new submissions: any text is either refused with a reason, or works."""

from __future__ import annotations

import json
import keyword
import string
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from algoperf_ref.errors import UserError
from algoperf_ref.harness.loading import loaded_submission
from algoperf_ref.new_submission import Wanted, create
from algoperf_ref.submission_info import INFO_FILE, RESERVED, check_info, name_problem
from spec.rulesets import Tuning

WORDS = st.text(string.ascii_letters + string.digits + "_", min_size=1, max_size=30)
ANYTHING = st.one_of(
    WORDS, st.text(max_size=12), st.sampled_from([*keyword.kwlist, *sorted(RESERVED)])
)


def submission(name: str, directory: str) -> Wanted:
    return Wanted(name, "pytorch", Tuning.SELF, Path(directory))


@given(ANYTHING)
@example("FRAMEWORK")
@example("my_submission")
@example("TODO")
@example("../up")
@example("a\x00b")
def test_a_name_is_refused_with_a_reason_or_its_directory_is_made(name: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        wanted = submission(name, directory)
        if reason := name_problem(name):
            with pytest.raises(UserError) as refused:
                create(wanted)
            assert reason in str(refused.value)
            assert list(Path(directory).iterdir()) == []
            return
        target = create(wanted)
        assert list(Path(directory).iterdir()) == [target]
        info = json.loads((target / INFO_FILE).read_text())
        assert info["name"] == target.name == name
        assert not any("'name'" in problem for problem in check_info(info))
        readme = (target / "README.md").read_text()
        assert readme.startswith(f"# {name}\n")
        assert f"--submission_path {name} --framework pytorch " in readme
        compile((target / "submission.py").read_text(), name, "exec")


@given(WORDS)
def test_a_name_that_is_accepted_can_be_imported(name: str) -> None:
    accepted = name_problem(name) is None
    can = name.isidentifier() and not keyword.iskeyword(name)
    free = not name.startswith("_") and name.lower() not in RESERVED
    assert accepted == (can and free)


@given(st.lists(WORDS.filter(lambda name: name_problem(name) is None), min_size=2, max_size=2))
@example(["first", "FIRST"])
def test_two_submissions_have_no_influence_on_each_other(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        first = create(submission(names[0], directory))
        before = {file.name: file.read_bytes() for file in first.iterdir()}
        if (Path(directory) / names[1]).exists():
            with pytest.raises(UserError, match="exists"):
                create(submission(names[1], directory))
        else:
            second = create(submission(names[1], directory))
            assert {file.name for file in second.iterdir()} == before.keys()
        assert {file.name: file.read_bytes() for file in first.iterdir()} == before


def test_a_package_around_the_submission_is_no_harm(tmp_path: Path) -> None:
    target = create(submission("idea", str(tmp_path)))
    (target / "__init__.py").touch()
    with loaded_submission(target, "pytorch") as loaded:
        assert loaded.module.__name__ == "idea.submission"
