"""`python -m algoperf_ref.data`: exit codes and one clear sentence for everything that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from algoperf_ref.data import cli
from algoperf_ref.data.ogbg import commands, prepare
from algoperf_ref.errors import UserError
from conformance_tests.support import molecules


def _main(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def test_list_shows_what_is_prepared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main("list", "--data_dir", tmp_path) == 0
    assert capsys.readouterr().out == f"nothing is prepared in {tmp_path}\n"
    molecules.write_tiny_ogbg(tmp_path, train=3, validation=2, test=2)
    assert _main("list", "ogbg", "--data-dir", tmp_path) == 0
    out = capsys.readouterr().out
    assert out.startswith("ogbg mini: prepared; train 3, validation 2, test 2; 0.0 MB in")


def test_verify_reports_problems_with_status_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    molecules.write_tiny_ogbg(tmp_path, train=3, validation=2, test=2)
    assert _main("verify", "ogbg", "--tier", "mini", "--data_dir", tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("the tfds data set is missing")
    assert sum("expected" in line for line in lines) == 3
    assert all(line.startswith("problem: ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "ogbg", "--tier", "mini"], "prepare it with: python -m algoperf_ref.data"),
        (["prepare", "ogbg", "--tier", "full"], "or name its folder with --source"),
        (["prepare", "ogbg", "--tier", "full", "--source", "/no/such"], "does not exist"),
        (["prepare", "ogbg", "--tier", "mini", "--processes", "0"], "--processes must be"),
        (["convert", "ogbg", "--source", "/no/such"], "does not exist"),
        (["convert", "ogbg", "--source", "."], "in tfrecord format"),
        (["convert", "ogbg"], "name its folder with --source"),
        (["convert", "ogbg", "--tier", "mini", "--source", "."], "only the full tier"),
        (["convert", "fastmri"], "nothing to convert"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_status_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert _main(*arguments, "--data_dir", tmp_path) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["prepare", "wnt", "--tier", "mini", "--data_dir", "x"],
        ["prepare", "ogbg", "--data_dir", "x"],
        ["prepare", "ogbg", "--tier", "maxi", "--data_dir", "x"],
        ["convert", "--data_dir", "x"],
        ["list"],
        [],
    ],
)
def test_wrong_arguments_end_with_status_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_source_for_the_mini_tier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="belongs to the full tier"):
        prepare.prepare(tmp_path, "mini", source=tmp_path, say=lambda _: None)


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device"), 2, "error: [Errno 28] No space left on device"),
    ],
)
def test_interruptions_and_full_disks_leave_no_traceback(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    message: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(commands, "prepare", fail)
    assert _main("prepare", "ogbg", "--tier", "mini", "--data_dir", tmp_path) == status
    assert capsys.readouterr().err.startswith(message)


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "algoperf_ref.data", "list", "--data_dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == f"nothing is prepared in {tmp_path}\n"
    assert result.stderr == ""
