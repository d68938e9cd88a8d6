"""The log of a trial: columns, odd values, resumes, torn files."""

from __future__ import annotations

import csv
import errno
import json
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from algoperf_ref.errors import UserError
from algoperf_ref.records.scalars import NotScalarError, as_scalar
from algoperf_ref.records.trial_log import TrialLog, next_preemption_count
from spec.records import eval_columns


@pytest.fixture
def log(tmp_path: Path) -> Iterator[TrialLog]:
    with TrialLog(tmp_path) as opened:
        yield opened


def table(directory: Path, name: str = "measurements.csv") -> list[dict[str, str]]:
    with (directory / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def header(directory: Path, name: str = "measurements.csv") -> list[str]:
    return (directory / name).read_text(encoding="utf-8").splitlines()[0].split(",")


class DeviceScalar:
    """As an array of a framework: one element, on a device."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:  # names the test case, the same in every process
        return f"DeviceScalar({self.value!r})"

    def item(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return self.value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.1, 0.1),
        (3, 3),
        (True, True),
        (None, None),
        ("diverged", "diverged"),
        (np.float32(0.5), 0.5),
        (np.int64(-7), -7),
        (np.bool_(True), True),
        (np.longdouble(0.25), 0.25),
        (np.array(2.5), 2.5),
        (np.array([[4]]), 4),
        (ml_dtypes.bfloat16(1.5), 1.5),
        (np.zeros(1, ml_dtypes.bfloat16), 0.0),
        (DeviceScalar(7.5), 7.5),
        (Fraction(1, 4), 0.25),
    ],
    ids=repr,
)
def test_scalars_of_every_library_become_python_values(value: Any, expected: Any) -> None:
    converted = as_scalar(value)
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros(2),
        np.zeros(0),
        np.complex64(1j),
        1j,
        b"1",
        [1.0],
        {"loss": 1},
        object(),
        10**400,
        DeviceScalar(RuntimeError("Array has been deleted")),
        np.datetime64("2020-01-01"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_no_scalar(value: Any) -> None:
    with pytest.raises(NotScalarError):
        as_scalar(value)


@pytest.mark.clause("REC-1")
def test_every_row_goes_to_measurements_and_evaluations_also_to_their_own_file(
    log: TrialLog, tmp_path: Path
) -> None:
    log.append_scalar_metrics({"loss": 0.5}, 1)
    log.append_scalar_metrics({"validation/loss": 0.25}, 1, is_eval=True)
    log.finish(12.5)
    rows = table(tmp_path)
    assert [row["loss"] for row in rows] == ["0.5", "", ""]
    assert [row["validation/loss"] for row in rows] == ["", "0.25", ""]
    assert rows[2] | {"loss": ""} == {
        "global_step": "1",
        "preemption_count": "0",
        "score": "12.5",
        "loss": "",
        "validation/loss": "",
    }
    evaluations = table(tmp_path, "eval_measurements.csv")
    assert evaluations == [{"global_step": "1", "preemption_count": "0", "validation/loss": "0.25"}]


@pytest.mark.clause("REC-2", "REC-7")
def test_an_evaluation_row_has_the_official_columns_in_order(log: TrialLog, tmp_path: Path) -> None:
    metrics = dict.fromkeys(reversed(eval_columns(["loss", "wer"])), 1.0)
    del metrics["global_step"], metrics["preemption_count"]
    log.append_scalar_metrics(metrics, 5, is_eval=True)
    assert tuple(header(tmp_path, "eval_measurements.csv")) == eval_columns(["loss", "wer"])


def test_new_columns_are_appended_at_the_right_and_cells_stay_with_their_columns(
    log: TrialLog, tmp_path: Path
) -> None:
    log.append_scalar_metrics({"loss": 1.0, "b": 2}, 0)
    log.append_scalar_metrics({"a": 3, "z": 4}, 1)
    log.append_scalar_metrics({"loss": 5.0}, 2)
    assert header(tmp_path) == ["b", "global_step", "loss", "preemption_count", "a", "z"]
    rows = table(tmp_path)
    assert [row["loss"] for row in rows] == ["1.0", "", "5.0"]
    assert [row["a"] for row in rows] == ["", "3", ""]


def test_the_dict_that_a_submission_passes_gets_step_and_preemption_count(
    tmp_path: Path,
) -> None:
    metrics = {"loss": 0.5}
    with TrialLog(tmp_path, preemption_count=2) as log:
        log.append_scalar_metrics(metrics, 7)
        log.append_scalar_metrics({"loss": 0.5}, 8, preemption_count=5)
    assert metrics == {"loss": 0.5, "global_step": 7, "preemption_count": 2}
    assert [row["preemption_count"] for row in table(tmp_path)] == ["2", "5"]


def test_an_immutable_mapping_is_logged_as_well(log: TrialLog, tmp_path: Path) -> None:
    log.append_scalar_metrics(MappingProxyType({"loss": 0.5}), 7)  # type: ignore[arg-type]
    assert table(tmp_path)[0]["loss"] == "0.5"


def test_odd_values_are_left_out_with_one_warning_per_name(log: TrialLog, tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(3):
            log.append_scalar_metrics({"loss": 0.5, "grads": np.zeros(3)}, step)
    assert len(caught) == 1
    assert "left out 'grads', which is not a number" in str(caught[0].message)
    assert header(tmp_path) == ["global_step", "loss", "preemption_count"]
    assert len(table(tmp_path)) == 3


@pytest.mark.parametrize("metrics", [None, [1.0], 0.5], ids=repr)
def test_metrics_that_are_no_mapping_do_not_raise(
    log: TrialLog, tmp_path: Path, metrics: Any
) -> None:
    with pytest.warns(UserWarning, match="not a dict"):
        log.append_scalar_metrics(metrics, 4)
    assert table(tmp_path) == [{"global_step": "4", "preemption_count": "0"}]


def test_nan_infinity_and_text_can_be_told_apart_from_a_missing_cell(
    log: TrialLog, tmp_path: Path
) -> None:
    values = {"a": float("nan"), "b": float("-inf"), "c": 'two\nlines, "quoted"', "d": None}
    log.append_scalar_metrics(values, 0)
    row = table(tmp_path)[0]
    assert (row["a"], row["b"], row["d"]) == ("nan", "-inf", "")
    assert row["c"] == 'two lines, "quoted"'


def test_reopening_goes_on_with_the_columns_of_the_file(tmp_path: Path) -> None:
    with TrialLog(tmp_path) as log:
        log.append_scalar_metrics({"z": 1}, 0)
        log.append_scalar_metrics({"a": 2}, 1)
    with TrialLog(tmp_path, preemption_count=1) as log:
        assert log.row_counts() == {"measurements.csv": 2, "eval_measurements.csv": 0}
        log.append_scalar_metrics({"a": 3, "z": 4}, 2)
    assert header(tmp_path) == ["global_step", "preemption_count", "z", "a"]
    assert [row["a"] for row in table(tmp_path)] == ["", "2", "3"]


@pytest.mark.parametrize(
    "torn", [b"2,0", b"2,0,0.5", b"2,0,0.", b"\n", b"2,0\n", b"\0\0\0\0", b"\0\0\n", b"\xff\xfe\n"]
)
def test_a_torn_last_line_is_dropped_with_a_warning_that_names_the_file(
    tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "measurements.csv"
    path.write_bytes(b"global_step,preemption_count,loss\n1,0,0.25\n" + torn)
    with pytest.warns(UserWarning, match=r"measurements\.csv: dropped a torn end"):
        log = TrialLog(tmp_path)
    assert path.read_bytes() == b"global_step,preemption_count,loss\n1,0,0.25\n"
    log.append_scalar_metrics({"loss": 0.125}, 2)
    log.close()
    assert [row["loss"] for row in table(tmp_path)] == ["0.25", "0.125"]


def test_a_torn_header_leaves_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "measurements.csv").write_bytes(b"global_step,preem")
    with pytest.warns(UserWarning, match="dropped a torn end"):
        log = TrialLog(tmp_path)
    log.append_scalar_metrics({"loss": 0.5}, 2)
    log.close()
    assert table(tmp_path) == [{"global_step": "2", "loss": "0.5", "preemption_count": "0"}]


def test_a_file_that_is_no_table_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "measurements.csv").write_bytes(b"\0\0\n1\n")
    with pytest.raises(UserError, match=r"measurements\.csv does not begin with a CSV header"):
        TrialLog(tmp_path)
    assert (tmp_path / "measurements.csv").read_bytes() == b"\0\0\n1\n"


def filled(directory: Path) -> dict[str, int]:
    """Steps 0 to 4 with an evaluation after step 2; returns the counts at that moment."""
    counts = {}
    with TrialLog(directory) as log:
        for step in range(5):
            log.append_scalar_metrics({"loss": step / 8}, step)
            if step == 1:
                log.append_scalar_metrics({"validation/loss": 0.5}, 2, is_eval=True)
                counts = log.row_counts()
    return counts


def test_rows_after_the_restored_step_are_moved_not_lost(tmp_path: Path) -> None:
    filled(tmp_path)
    before = table(tmp_path)
    with TrialLog(tmp_path, preemption_count=1) as log:
        assert log.truncate_after(2) == 2
        log.append_scalar_metrics({"loss": 9.0}, 3)
    kept, discarded = table(tmp_path), table(tmp_path, "measurements.csv.discarded_1")
    assert [row["global_step"] for row in kept] == ["0", "1", "2", "2", "3"]
    assert kept[-1]["loss"] == "9.0"
    assert discarded == before[-2:]
    assert not (tmp_path / "eval_measurements.csv.discarded_1").exists()


def test_row_counts_of_the_checkpoint_make_the_cut_exact(tmp_path: Path) -> None:
    counts = filled(tmp_path)
    assert counts == {"measurements.csv": 3, "eval_measurements.csv": 1}
    with TrialLog(tmp_path, preemption_count=1) as log:
        assert log.truncate_after(2, counts) == 3
    assert [row["global_step"] for row in table(tmp_path)] == ["0", "1", "2"]
    assert table(tmp_path)[-1]["validation/loss"] == "0.5"


def test_without_a_checkpoint_everything_is_moved(tmp_path: Path) -> None:
    filled(tmp_path)
    with TrialLog(tmp_path, preemption_count=1) as log:
        assert log.truncate_after(-1) == 7
        assert log.row_counts() == {"measurements.csv": 0, "eval_measurements.csv": 0}
        log.append_scalar_metrics({"loss": 1.0}, 0)
    assert len(table(tmp_path)) == 1
    assert len(table(tmp_path, "eval_measurements.csv.discarded_1")) == 1


def test_a_kill_between_moving_and_cutting_loses_and_repeats_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)

    class KilledError(BaseException):
        pass

    def die(*_: Any) -> None:
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr("algoperf_ref.records.table.Table.keep", die)
        with pytest.raises(KilledError):
            TrialLog(tmp_path, preemption_count=1).truncate_after(2)
    with TrialLog(tmp_path, preemption_count=1) as log:
        log.truncate_after(2)
    assert len(table(tmp_path)) == 4
    steps = [row["global_step"] for row in table(tmp_path, "measurements.csv.discarded_1")]
    assert steps == ["3", "4"]


def test_fewer_rows_than_the_checkpoint_knew_are_announced(tmp_path: Path) -> None:
    filled(tmp_path)
    with (
        TrialLog(tmp_path) as log,
        pytest.warns(UserWarning, match=r"has 6 rows, 9 when the checkpoint was made"),
    ):
        assert log.truncate_after(4, {"measurements.csv": 9, "eval_measurements.csv": 1}) == 0


def test_nothing_to_cut_writes_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    content = (tmp_path / "measurements.csv").read_bytes()
    with TrialLog(tmp_path) as log, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert log.truncate_after(4) == 0
    assert (tmp_path / "measurements.csv").read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "eval_measurements.csv",
        "measurements.csv",
    ]


def test_a_kill_while_columns_are_added_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = TrialLog(tmp_path)
    log.append_scalar_metrics({"loss": 1.0}, 0)
    content = (tmp_path / "measurements.csv").read_bytes()

    def disk_full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", disk_full)
    with pytest.raises(UserError, match=r"cannot write to .*measurements\.csv: No space left"):
        log.append_scalar_metrics({"accuracy": 1.0}, 1)
    assert (tmp_path / "measurements.csv").read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["measurements.csv"]


def test_temporary_files_of_a_killed_process_are_cleared_up(tmp_path: Path) -> None:
    for name in (".measurements.csv.123.tmp", ".checkpoint_3.9.tmp", ".keep", "notes.tmp"):
        (tmp_path / name).touch()
    TrialLog(tmp_path).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".keep", "notes.tmp"]


def test_a_missing_directory_is_a_clear_error(tmp_path: Path) -> None:
    log = TrialLog(tmp_path / "gone")
    with pytest.raises(UserError, match=r"cannot write to .*gone.*measurements\.csv"):
        log.append_scalar_metrics({"loss": 1.0}, 0)


def test_rows_are_readable_by_others_as_soon_as_they_are_appended(
    log: TrialLog, tmp_path: Path
) -> None:
    for step in range(3):
        log.append_scalar_metrics({"loss": 1.0}, step)
        assert len(table(tmp_path)) == step + 1


@pytest.mark.clause("REC-1")
def test_hyperparameters_are_written_indented_and_read_back(log: TrialLog, tmp_path: Path) -> None:
    assert log.read_hparams() is None
    point = {"learning_rate": 1.7e-3, "use_bias": True, "warmup": 5, "name": "a", "n": np.int64(2)}
    log.write_hparams(point)
    assert log.read_hparams() == point
    text = (tmp_path / "hparams.json").read_text(encoding="utf-8")
    assert text.startswith('{\n  "learning_rate": 0.0017,\n')


@pytest.mark.parametrize("content", ["{", "[1]", "\xff"])
def test_malformed_hyperparameters_name_the_file(
    log: TrialLog, tmp_path: Path, content: str
) -> None:
    (tmp_path / "hparams.json").write_text(content, encoding="latin-1")
    with pytest.raises(UserError, match=r"hparams\.json"):
        log.read_hparams()


@pytest.mark.clause("REC-6")
def test_metadata_and_flags_are_numbered_by_preemption(log: TrialLog, tmp_path: Path) -> None:
    assert next_preemption_count(tmp_path) == 0
    log.write_meta_data(0, {"cpu_count": 2})
    log.write_flags(0, {"data_dir": Path("data"), "names": {"b", "a"}, "w": np.zeros(2)})
    log.write_meta_data(1, {})
    assert next_preemption_count(tmp_path) == 2
    flags = json.loads((tmp_path / "flags_0.json").read_text(encoding="utf-8"))
    assert flags == {"data_dir": "data", "names": ["a", "b"], "w": [0.0, 0.0]}
    assert json.loads((tmp_path / "meta_data_0.json").read_text("utf-8")) == {"cpu_count": 2}
