"""Laws of names in experiment directories: what is written can be read back."""

from __future__ import annotations

from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spec import records
from spec.records import FRAMEWORKS, RecordNameError

workload_names = st.text(min_size=1, max_size=12).filter(lambda name: not set(name) & set("/\\\0"))
simple_names = st.text("abcxyz_0123456789-", min_size=1, max_size=8)
frameworks = st.sampled_from(FRAMEWORKS)
trials = st.integers(1, 10**6)
studies = st.none() | st.integers(0, 99)
metrics = st.lists(simple_names, max_size=5)


@pytest.mark.clause("REC-3")
@given(workload_names, frameworks)
def test_a_workload_directory_is_read_back_as_it_was_written(name: str, framework: str) -> None:
    directory = records.workload_directory(name, framework)
    if "\n" not in name:
        assert records.parse_workload_directory(directory) == (name, framework)


@pytest.mark.clause("REC-4", "REC-5")
@given(st.none() | simple_names, simple_names, frameworks, trials, studies)
def test_a_trial_directory_is_read_back_from_the_inside_out(
    experiment: str | None, workload: str, framework: str, trial: int, study: int | None
) -> None:
    path = records.trial_directory("runs", experiment, workload, framework, trial, study)
    parts = list(path.parts)
    assert records.parse_numbered(parts.pop(), "trial") == trial
    assert records.parse_workload_directory(parts.pop()) == (workload, framework)
    if study is not None:
        assert records.parse_numbered(parts.pop(), "study") == study
    assert parts == ["runs", *([experiment] if experiment else [])]


@pytest.mark.clause("REC-4", "REC-5")
@given(st.text(max_size=12), st.text(max_size=12), frameworks, st.integers(-2, 5), studies)
def test_a_trial_directory_is_inside_the_experiment_directory_or_an_error(
    experiment: str, workload: str, framework: str, trial: int, study: int | None
) -> None:
    root = PurePath("all/runs")
    try:
        path = records.trial_directory(root, experiment, workload, framework, trial, study)
    except RecordNameError:
        return
    assert path.is_relative_to(root)
    assert ".." not in path.parts
    assert len(path.parts) >= len(root.parts) + 2


@pytest.mark.clause("REC-6")
@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_numbered_names_are_read_back_and_told_apart(left: int, right: int) -> None:
    assert records.parse_numbered(records.checkpoint_name(left), "checkpoint") == left
    for name in (records.checkpoint_name, records.meta_data_name, records.flags_name):
        assert (name(left) == name(right)) == (left == right)


@pytest.mark.clause("REC-2", "REC-7")
@given(metrics, st.booleans())
def test_columns_are_sorted_and_do_not_depend_on_order_or_repetition(
    names: list[str], has_test: bool
) -> None:
    columns = records.eval_columns(names, has_test=has_test)
    assert list(columns) == sorted(set(columns))
    assert columns == records.eval_columns(reversed(names * 2), has_test=has_test)
    assert set(records.TIME_COLUMNS) | set(records.COUNTER_COLUMNS) <= set(columns)


@pytest.mark.clause("REC-7")
@given(metrics, metrics)
def test_the_columns_of_more_metrics_include_those_of_fewer(
    left: list[str], right: list[str]
) -> None:
    together = set(records.eval_columns(left + right))
    assert together == set(records.eval_columns(left)) | set(records.eval_columns(right))
    assert set(records.eval_columns(left, has_test=False)) == {
        column for column in records.eval_columns(left) if not column.startswith("test/")
    }
