"""For every sequence of rows and for a kill at every byte: what was logged is what is read."""

from __future__ import annotations

import csv
import tempfile
import warnings
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from algoperf_ref.records.trial_log import TrialLog

NAMES = st.sampled_from(["loss", "lr", "a,b", 'q"', "validation/loss", "é", " x "])
VALUES = st.one_of(
    st.floats(),
    st.integers(-(2**70), 2**70),
    st.booleans(),
    st.text(st.characters(codec="utf-8"), max_size=5),
)
ROWS = st.lists(st.tuples(st.dictionaries(NAMES, VALUES, max_size=4), st.booleans()), max_size=8)


def written(directory: Path, rows: list[tuple[dict[str, Any], bool]], start: int = 0) -> None:
    with TrialLog(directory) as log:
        for step, (row, is_eval) in enumerate(rows, start):
            log.append_scalar_metrics(dict(row), step, is_eval=is_eval)


def read(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def text_of(value: Any) -> str:
    if isinstance(value, str):
        return value.translate(str.maketrans("\n\r\0", "   "))
    return repr(value)


def expected(rows: list[tuple[dict[str, Any], bool]], *, only_eval: bool) -> list[dict[str, str]]:
    return [
        {
            **{name: text_of(value) for name, value in row.items() if text_of(value)},
            "global_step": str(step),
            "preemption_count": "0",
        }
        for step, (row, is_eval) in enumerate(rows)
        if is_eval or not only_eval
    ]


def filled_cells(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{name: cell for name, cell in row.items() if cell} for row in rows]


@given(ROWS, ROWS)
@settings(deadline=None)
def test_every_row_reads_back_exactly_also_over_a_restart(
    first: list[tuple[dict[str, Any], bool]], second: list[tuple[dict[str, Any], bool]]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        written(directory, first)
        written(directory, second, start=len(first))
        for file, only_eval in (("measurements.csv", False), ("eval_measurements.csv", True)):
            rows = expected([*first, *second], only_eval=only_eval)
            assert filled_cells(read(directory / file)) == rows


@given(ROWS.filter(bool), st.data())
@settings(deadline=None)
def test_a_file_cut_at_any_byte_keeps_its_complete_rows_and_can_go_on(
    rows: list[tuple[dict[str, Any], bool]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a torn end is announced is an example elsewhere
        directory = Path(name)
        written(directory, rows)
        path = directory / "measurements.csv"
        content = path.read_bytes()
        length = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:length])
        num_complete = max(content[:length].count(b"\n") - 1, 0)
        with TrialLog(directory) as log:
            assert log.row_counts()["measurements.csv"] == num_complete
            log.append_scalar_metrics({"new": 1}, 99)
        back = filled_cells(read(path))
        assert back[:-1] == expected(rows, only_eval=False)[:num_complete]
        assert back[-1] == {"global_step": "99", "preemption_count": "0", "new": "1"}


@given(ROWS, st.integers(-1, 9))
@settings(deadline=None)
def test_truncation_splits_the_rows_into_kept_and_discarded(
    rows: list[tuple[dict[str, Any], bool]], step: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        written(directory, rows)
        with TrialLog(directory) as log:
            moved = log.truncate_after(step)
        num_moved = 0
        for file, only_eval in (("measurements.csv", False), ("eval_measurements.csv", True)):
            everything = expected(rows, only_eval=only_eval)
            kept = filled_cells(read(directory / file))
            discarded = filled_cells(read(directory / f"{file}.discarded_0"))
            assert kept == [row for row in everything if int(row["global_step"]) <= step]
            assert kept + discarded == everything
            num_moved += len(discarded)
        assert moved == num_moved
