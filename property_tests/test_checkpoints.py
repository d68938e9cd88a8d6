"""For every sequence of saves, kills and damage: what is loaded is a state that was saved."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from algoperf_ref.records import checkpoints
from algoperf_ref.records.checkpoints import CheckpointError

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["save", "save", "truncate newest", "flip newest"]), st.integers(0, 10**6)
    ),
    max_size=8,
)


def state_of(step: int) -> dict[str, object]:
    return {"step": step, "w": np.full(5, step, np.float32), "scale": float(step) / 3}


@given(EVENTS, st.sampled_from([1, 2, 3, None]))
@settings(max_examples=60, deadline=None)
def test_the_newest_undamaged_state_is_loaded(
    events: list[tuple[str, int]], keep: int | None
) -> None:
    good: list[int] = []
    step = 0
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damage is announced; the examples test how
        directory = Path(name)
        for event, number in events:
            if event == "save":
                step += 1 + number % 3
                checkpoints.save(directory, step, state_of(step), keep=keep)
                good.append(step)
            elif (newest := checkpoints.latest(directory)) is not None:
                content = bytearray(newest.read_bytes())
                if event == "truncate newest":
                    del content[number % max(len(content), 1) :]
                elif content:
                    start = bytes(content).find(np.full(5, step, np.float32).tobytes())
                    content[(max(start, 0) + number % 20) % len(content)] ^= 1 + number % 255
                newest.write_bytes(content)
                good = [s for s in good if s != step]
        left = [s for s in good if (directory / f"checkpoint_{s}").exists()]
        if left:
            loaded = checkpoints.load_latest(directory)
            assert loaded is not None
            state, loaded_step = loaded
            assert loaded_step == max(left)
            expected = state_of(loaded_step)
            np.testing.assert_array_equal(state.pop("w"), expected.pop("w"))
            assert state == expected
        else:
            try:
                assert checkpoints.load_latest(directory) is None
            except CheckpointError:
                assert checkpoints.latest(directory) is not None


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_after_a_save_the_saved_step_is_the_latest_and_few_files_are_left(
    steps: list[int], keep: int
) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for step in steps:
            checkpoints.save(directory, step, state_of(step), keep=keep)
            assert checkpoints.latest(directory) == directory / f"checkpoint_{step}"
            assert len(list(directory.iterdir())) <= keep
