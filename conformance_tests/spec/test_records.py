"""Names and layout of what a run leaves behind."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from spec import records
from spec.records import RecordNameError


@pytest.mark.clause("REC-1")
def test_files_have_the_official_names() -> None:
    assert records.MEASUREMENTS == "measurements.csv"
    assert records.EVAL_MEASUREMENTS == "eval_measurements.csv"
    assert records.HPARAMS == "hparams.json"


@pytest.mark.clause("REC-4")
def test_a_trial_directory_has_the_official_layout() -> None:
    path = records.trial_directory("~/runs", "nadamw", "ogbg_gelu", "jax", 3)
    assert PurePosixPath(path.as_posix()) == PurePosixPath("~/runs/nadamw/ogbg_gelu_jax/trial_3")
    without_name = records.trial_directory("runs", None, "ogbg", "pytorch", 1)
    assert without_name.as_posix() == "runs/ogbg_pytorch/trial_1"


@pytest.mark.clause("REC-5")
def test_a_study_has_a_directory_above_its_workloads() -> None:
    path = records.trial_directory("runs", "nadamw", "ogbg", "jax", 1, study=0)
    assert path.as_posix() == "runs/nadamw/study_0/ogbg_jax/trial_1"


@pytest.mark.clause("REC-4", "REC-5")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("runs", "a", "ogbg", "jax", 0), "trials are counted from 1"),
        (("runs", "a", "ogbg", "jax", 1, -1), "studies are counted from 0"),
        (("runs", "a", "ogbg", "torch", 1), "framework is 'torch', must be one of jax, pytorch"),
        (("runs", "../a", "ogbg", "jax", 1), "must stay inside the experiment directory"),
        (("runs", "/a", "ogbg", "jax", 1), "must stay inside the experiment directory"),
        (("runs", "a", "og/bg", "jax", 1), "cannot be part of a directory name"),
        (("runs", "a", "", "jax", 1), "cannot be part of a directory name"),
    ],
)
def test_a_name_outside_the_layout_is_an_error(
    arguments: tuple[object, ...], expected: str
) -> None:
    with pytest.raises(RecordNameError, match=expected):
        records.trial_directory(*arguments)  # type: ignore[arg-type]


@pytest.mark.clause("REC-3")
def test_a_workload_directory_can_be_read_back() -> None:
    assert records.parse_workload_directory("ogbg_gelu_jax") == ("ogbg_gelu", "jax")
    assert records.parse_workload_directory("wmt_pytorch") == ("wmt", "pytorch")
    for name in ("ogbg", "ogbg_tensorflow", "_jax", "jax", "ogbgjax", ""):
        with pytest.raises(RecordNameError, match="is not <workload>_<framework>"):
            records.parse_workload_directory(name)


@pytest.mark.clause("REC-6")
def test_metadata_flags_and_checkpoints_are_numbered() -> None:
    assert records.meta_data_name(0) == "meta_data_0.json"
    assert records.flags_name(2) == "flags_2.json"
    assert records.checkpoint_name(52_000) == "checkpoint_52000"
    for function in (records.meta_data_name, records.flags_name, records.checkpoint_name):
        with pytest.raises(RecordNameError, match="must not be negative"):
            function(-1)


@pytest.mark.clause("REC-4", "REC-5", "REC-6")
def test_numbers_can_be_read_back() -> None:
    assert records.parse_numbered("trial_12", "trial") == 12
    assert records.parse_numbered("study_0", "study") == 0
    assert records.parse_numbered(records.checkpoint_name(7), "checkpoint") == 7
    for name in ("trial_", "trial_x", "trial_01", "trial_1.csv", "study_1", "trial_-1"):
        with pytest.raises(RecordNameError, match="is not of the form trial_<number>"):
            records.parse_numbered(name, "trial")
    with pytest.raises(RecordNameError, match="is not of the form study_<number>"):
        records.parse_numbered("trial_1", "study")


@pytest.mark.clause("REC-2", "REC-7")
def test_evaluation_columns_are_the_official_ones_in_order() -> None:
    assert records.eval_columns(["wer", "ctc_loss"]) == (
        "accumulated_eval_time",
        "accumulated_logging_time",
        "accumulated_submission_time",
        "global_step",
        "preemption_count",
        "score",
        "test/ctc_loss",
        "test/num_examples",
        "test/wer",
        "total_duration",
        "train/ctc_loss",
        "train/wer",
        "validation/ctc_loss",
        "validation/num_examples",
        "validation/wer",
    )


@pytest.mark.clause("REC-7")
def test_a_workload_without_test_split_has_no_test_columns() -> None:
    columns = records.eval_columns(["loss"], has_test=False)
    assert not any(column.startswith("test/") for column in columns)
    assert "validation/num_examples" in columns
