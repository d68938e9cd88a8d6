"""``python -m spec vectors`` and the cases that ``python -m spec show`` prints."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from spec import __main__ as cli
from spec import cases, vectors
from spec.text import UsageError

ALL = cases.load_all()


def test_the_command_writes_the_documents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "new" / "vectors"
    assert cli.main(["vectors", "--output", str(directory)]) == 0
    assert f"wrote {len(ALL)} cases in 8 files" in capsys.readouterr().out
    written = {path.name: path.read_text(encoding="utf-8") for path in directory.iterdir()}
    assert written == vectors.documents()


def test_an_existing_directory_is_an_error_that_names_overwrite(tmp_path: Path) -> None:
    (tmp_path / "timing.json").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine, too")
    with pytest.raises(UsageError, match="is not empty; with --overwrite"):
        vectors.write(tmp_path)
    assert (tmp_path / "timing.json").read_text() == "mine"
    vectors.write(tmp_path, overwrite=True)
    assert (tmp_path / "timing.json").read_text() == vectors.documents()["timing.json"]
    assert (tmp_path / "notes.txt").read_text() == "mine, too"
    assert len(list(tmp_path.iterdir())) == 9


def test_a_disk_that_is_full_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "timing.json").write_text("mine")
    right = Path.write_text

    def write_text(self: Path, *arguments: Any, **options: Any) -> int:
        if "tuning" in self.name:
            right(self, "a part")
            raise OSError(28, "No space left on device")
        return right(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(UsageError, match=r"cannot write to .*: No space left on device"):
        vectors.write(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["timing.json"]
    assert (tmp_path / "timing.json").read_text() == "mine"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("file", "is a file; --output names a directory"),
        ("file/below", "cannot write to"),
        ("full", "is not empty"),
    ],
)
def test_a_directory_that_cannot_be_written_is_one_sentence_and_status_2(
    output: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    assert cli.main(["vectors", "--output", str(tmp_path / output)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(rf"error: .*{message}.*\n", printed.err)


# `show`.


def test_show_tells_the_smallest_accepted_and_the_nearest_rejected_case(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["show", "TIM-4"]) == 0
    text = capsys.readouterr().out
    accepted, rejected = text.index("accepted: "), text.index("rejected: ")
    assert text.index("timing/no-time-passes") > accepted
    assert text.index("timing/no-time-passes") < rejected < text.index("timing/one-nanosecond-back")
    assert 'when {"events": [["step_ended", 1.0]]}' in text
    assert 'when {"events": [["step_ended", 0.999999999]]}' in text
    assert 'expect {"error": "TIM-4"}' in text
    assert max(map(len, text.splitlines())) <= 100


def test_show_in_markdown_and_json_has_the_same_cases(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["show", "EVAL-3"])
    text = " ".join(capsys.readouterr().out.split())
    cli.main(["show", "EVAL-3", "--format", "markdown"])
    markdown = capsys.readouterr().out
    cli.main(["show", "EVAL-3", "--format", "json"])
    shown = json.loads(capsys.readouterr().out)["cases"]
    own = {case.id: case.verdict for case in ALL if "EVAL-3" in case.clauses}
    assert {case["id"]: verdict for verdict in shown for case in shown[verdict]} == own
    for id, verdict in own.items():
        assert f"({id})" in text
        assert re.search(rf"^- {verdict}: .* \(`{id}`\)$", markdown, re.MULTILINE)
    assert "  - expect `{" in markdown


def test_show_without_cases_is_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["show", "SUB-1"])
    assert "accepted" not in capsys.readouterr().out
    assert vectors.examples_markdown("SUB-1") == vectors.examples_text("SUB-1") == ""
    assert vectors.examples_json("SUB-1") == {"accepted": [], "rejected": []}


def test_infinities_are_shown_as_they_are_written() -> None:
    assert '"inf"' in vectors.examples_text("SCORE-5")
    assert "Infinity" not in vectors.examples_text("SCORE-5")
