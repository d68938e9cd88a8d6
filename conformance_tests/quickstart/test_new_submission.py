"""``python -m algoperf_ref.new_submission``: what it makes, that this trains, what it refuses."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from algoperf_ref import new_submission, run, submission_check
from algoperf_ref.data.mnist import files as mnist_files
from algoperf_ref.data.mnist.files import COUNTS, KINDS, write_idx
from algoperf_ref.errors import UserError
from algoperf_ref.harness.loading import loaded_submission
from algoperf_ref.new_submission import Wanted, create, main
from algoperf_ref.submission_info import INFO_FILE, check_info
from spec.records import FRAMEWORKS
from spec.rulesets import Tuning
from spec.validity import check_files, check_licence

KINDS_OF_SUBMISSION = [(fw, tuning) for fw in FRAMEWORKS for tuning in Tuning]
every_kind = pytest.mark.parametrize(("framework", "ruleset"), KINDS_OF_SUBMISSION)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with as many digits as the mini tier has, of noise."""
    data_dir = tmp_path_factory.mktemp("data")
    root = mnist_files.Layout.of(data_dir, "mini").root
    root.mkdir(parents=True)
    counts = COUNTS["mini"]
    random = np.random.RandomState(0)
    for kind, count in zip(
        KINDS, (counts["train"] + counts["validation"], counts["test"]), strict=True
    ):
        images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        write_idx(root / f"{kind}-images-idx3-ubyte.gz", images)
        labels = random.randint(0, 10, count).astype(np.uint8)
        write_idx(root / f"{kind}-labels-idx1-ubyte.gz", labels)
    return data_dir


def asked(tmp_path: Path, **changes: Any) -> Wanted:
    """A submission with everything given."""
    given = {
        "name": "my_idea",
        "framework": "pytorch",
        "ruleset": Tuning.EXTERNAL,
        "directory": tmp_path,
    }
    return Wanted(**{**given, **changes})


def flags(**changes: Any) -> list[str]:
    """A command line."""
    given = {"framework": "jax", "ruleset": "external", **changes}
    return ["my_idea", *(f"--{flag}={value}" for flag, value in given.items())]


def listing(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@every_kind
@pytest.mark.clause("VALID-16", "VALID-17", "VALID-19")
def test_the_files_are_those_that_the_rules_ask_for(
    framework: str, ruleset: Tuning, tmp_path: Path
) -> None:
    target = create(asked(tmp_path, framework=framework, ruleset=ruleset))
    assert target == tmp_path / "my_idea"
    assert check_files(listing(target), ruleset) == []
    space = ["tuning_search_space.json"] if ruleset is Tuning.EXTERNAL else []
    assert listing(target) == sorted(
        ["README.md", "requirements.txt", "submission.py", INFO_FILE, *space]
    )
    info = json.loads((target / INFO_FILE).read_text())
    assert (info["name"], info["framework"], info["ruleset"]) == ("my_idea", framework, ruleset)
    assert check_licence(info["license"]) == []
    code = (target / "submission.py").read_text()
    assert code.startswith('# SPDX-License-Identifier: Apache-2.0\n"""my_idea: ')
    assert "VALID-19" in (target / "README.md").read_text()


@every_kind
def test_no_placeholder_of_the_template_is_left(
    framework: str, ruleset: Tuning, tmp_path: Path
) -> None:
    target = create(asked(tmp_path, framework=framework, ruleset=ruleset))
    for file in target.iterdir():
        text = file.read_text()
        assert "my_submission" not in text
        assert "FRAMEWORK" not in text
    readme = (target / "README.md").read_text()
    assert f"--framework {framework} --tuning_ruleset {ruleset.value}" in readme


def test_what_the_author_has_to_write_is_found_by_the_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = create(asked(tmp_path))
    assert submission_check.main([str(target)]) == 1
    found = capsys.readouterr().err.splitlines()
    assert all(line.endswith("is still to be filled in") for line in found), found
    assert [line.split("'")[1] for line in found if INFO_FILE in line] == [
        "authors",
        "affiliations",
        "description",
    ]
    assert sum("README.md" in line for line in found) == 2


@every_kind
def test_filled_in_it_passes_the_check(
    framework: str, ruleset: Tuning, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = asked(tmp_path, framework=framework, ruleset=ruleset, authors=("Ada", " Emmy "))
    target = create(wanted)
    info = json.loads((target / INFO_FILE).read_text())
    assert info["authors"] == ["Ada", "Emmy"]
    info |= {"affiliations": ["none"], "description": "AdamW once more."}
    assert check_info(info) == []
    (target / INFO_FILE).write_text(json.dumps(info))
    readme = target / "README.md"
    readme.write_text(readme.read_text().replace("TODO:", ""))
    assert submission_check.main([str(target)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out


@every_kind
def test_it_trains_with_the_command_that_is_printed(
    framework: str,
    ruleset: Tuning,
    digits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(digits, target_is_directory=True)
    wanted = asked(Path(), framework=framework, ruleset=ruleset)
    create(wanted)
    (command,) = [c for _, c in new_submission.next_commands(wanted) if "algoperf_ref.run" in c]
    python, m, module, *arguments = shlex.split(command)
    assert (python, m, module) == (sys.executable, "-m", "algoperf_ref.run")
    assert run.main([*arguments, "--max_global_steps=3", "--rng_seed=1", "--quiet"]) == 0
    trial = tmp_path / "experiments" / "my_idea"
    (result,) = trial.rglob("result.json")
    ended = json.loads(result.read_text())
    assert ended["global_step"] == 3
    assert len(list(trial.rglob("hparams.json"))) == (1 if ruleset is Tuning.EXTERNAL else 0)


def test_it_is_loaded_in_spite_of_another_submission_beside_it(tmp_path: Path) -> None:
    paths = [create(asked(tmp_path, name=name)) for name in ("first", "second")]
    for path in paths:
        with loaded_submission(path, "pytorch") as submission:
            assert (submission.module.__doc__ or "").startswith(f"{path.name}: ")


def test_the_commands_that_follow_can_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "with a space"
    directory.mkdir()
    assert main(flags(directory=directory)) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [shlex.split(line) for line in lines if line.startswith(f"  {sys.executable} -m")]
    modules = [command[2] for command in commands]
    assert modules == ["algoperf_ref.data", "algoperf_ref.run", "algoperf_ref.submission_check"]
    options, _ = run.parse(commands[1][3:])
    options.check()
    assert Path(options.submission_path) == directory / "my_idea"
    assert commands[2][3] == str(directory / "my_idea")


def test_the_same_command_makes_the_same_files_unless_a_date_is_given(tmp_path: Path) -> None:
    contents = []
    for place, date in (("a", None), ("b", None), ("c", "2026-02-28")):
        (tmp_path / place).mkdir()
        target = create(asked(tmp_path / place, date=date))
        contents.append({file.name: file.read_bytes() for file in target.iterdir()})
    assert contents[0] == contents[1]
    different = {name for name in contents[0] if contents[0][name] != contents[2][name]}
    assert different == {INFO_FILE}
    assert json.loads(contents[2][INFO_FILE])["date"] == "2026-02-28"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "my-idea"}, "letters of ASCII"),
        ({"name": "2nd"}, "starts with no digit"),
        ({"name": "größe"}, "letters of ASCII"),
        ({"name": ""}, "letters of ASCII"),
        ({"name": "a/b"}, "letters of ASCII"),
        ({"name": ".."}, "letters of ASCII"),
        ({"name": "lambda"}, "word of the Python language"),
        ({"name": "_mine"}, "underscore"),
        ({"name": "jax"}, "hide the module jax"),
        ({"name": "Random"}, "hide the module random"),
        ({"framework": "tensorflow"}, "jax, pytorch"),
        ({"authors": ("Ada", " ")}, "--author ' '"),
        ({"authors": ("TODO: me",)}, "--author"),
        ({"date": "28.2.2026"}, "YYYY-MM-DD"),
        ({"date": "2026-02-30"}, "YYYY-MM-DD"),
        ({"date": "20260228"}, "YYYY-MM-DD"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        create(asked(tmp_path, **changes))
    assert listing(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "empty directory", "directory", "dead link"])
def test_what_exists_is_left_alone(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "my_idea"
    if kind == "file":
        target.write_text("mine")
    elif kind == "dead link":
        target.symlink_to(tmp_path / "nowhere")
    else:
        target.mkdir()
        if kind == "directory":
            (target / "submission.py").write_text("mine")
    assert main(flags(directory=tmp_path)) == 2
    errors = capsys.readouterr().err
    assert "my_idea exists" in errors
    assert errors.startswith("error: ")
    assert errors.count("\n") == 1
    assert listing(tmp_path) == ["my_idea"]
    if kind == "file":
        assert target.read_text() == "mine"
    elif kind != "dead link":
        assert listing(target) == (["submission.py"] if kind == "directory" else [])


@pytest.mark.parametrize("where", ["write", "rename"])
def test_nothing_is_left_of_a_submission_that_cannot_be_written(
    where: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_text, rename = Path.write_text, Path.rename

    def full(path: Path, *arguments: Any, **options: Any) -> int:
        if where == "write" and path.name == INFO_FILE:
            raise OSError(28, "No space left on device", str(path))
        return write_text(path, *arguments, **options)

    def denied(path: Path, target: Path) -> Path:
        if where == "rename":
            raise PermissionError(13, "Permission denied", str(target))
        return rename(path, target)

    monkeypatch.setattr(Path, "write_text", full)
    monkeypatch.setattr(Path, "rename", denied)
    assert main(flags(directory=tmp_path)) == 2
    assert capsys.readouterr().err.startswith("error: [Errno ")
    assert listing(tmp_path) == []


def test_a_directory_that_is_not_there_is_no_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(directory=tmp_path / "nowhere")) == 2
    assert "--directory" in capsys.readouterr().err


@pytest.mark.parametrize("changes", [{"framework": "tensorflow"}, {"ruleset": "both"}])
def test_an_unknown_choice_is_told_with_those_that_exist(
    changes: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(flags(directory=tmp_path, **changes))
    assert ended.value.code == 2
    assert "choose from" in capsys.readouterr().err


def test_it_is_readable_for_others(tmp_path: Path) -> None:
    target = create(asked(tmp_path))
    plain = tmp_path / "plain"
    plain.mkdir()
    assert target.stat().st_mode == plain.stat().st_mode


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the packages that a wheel of this project installs."""
    place = tmp_path_factory.mktemp("wheel")
    source, site = place / "source", place / "site"
    source.mkdir()
    for name in ("spec", "algoperf_ref", "reference_submissions"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-c", build], check=True, cwd=source, capture_output=True)
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def test_it_works_from_an_installed_wheel(installed: Path, tmp_path: Path) -> None:
    """The files of the templates are packaged, those that are no Python included."""
    # Without the site packages, among which an editable installation would be found.
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1))\n"
        "from algoperf_ref import new_submission\n"
        "print(new_submission.TEMPLATES)\n"
        "sys.exit(new_submission.main())"
    )
    numpy = Path(np.__file__).parents[1]
    for framework, ruleset in KINDS_OF_SUBMISSION:
        name = f"try_{framework}_{ruleset.value}"
        arguments = [name, f"--framework={framework}", f"--ruleset={ruleset.value}"]
        done = subprocess.run(
            [sys.executable, "-S", "-c", script, str(installed), *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(numpy)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.splitlines()[0]).is_relative_to(installed)
        here = create(asked(tmp_path, name="here", framework=framework, ruleset=ruleset))
        assert listing(tmp_path / name) == listing(here)
        shutil.rmtree(here)
