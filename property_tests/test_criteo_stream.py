"""What holds for every stream of the click log: one order, however it is read; plain parsing."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from algoperf_ref.data.batches import Batch, Part
from algoperf_ref.data.criteo1tb import commands, streams
from algoperf_ref.data.criteo1tb.categories import NUM_BUCKETS
from algoperf_ref.data.criteo1tb.farmhash import fingerprint64
from algoperf_ref.data.criteo1tb.layout import DayFile
from algoperf_ref.data.criteo1tb.parsing import NUM_INPUTS, parse
from algoperf_ref.data.criteo1tb.streams import CriteoSplit, open_split
from conformance_tests.support import clicks

FILES = {DayFile(0, 0): 700, DayFile(0, 1): 30, DayFile(1, 0): 1, DayFile(2, 0): 57}
NUM_LINES = sum(FILES.values())
# Damaged lines are in it, so that they are compared as well.
DAMAGED = (3, 600, 720)


def _quiet(_: str) -> None:
    return None


@pytest.fixture(scope="module")
def splits() -> Iterator[list[CriteoSplit]]:
    """The same lines as text and converted."""
    lines = clicks.lines(NUM_LINES)
    for number in DAMAGED:
        lines[number] = b"broken\n"
    ends = list(itertools.accumulate(FILES.values(), initial=0))
    files = {file: lines[ends[n] : ends[n + 1]] for n, file in enumerate(FILES)}
    with tempfile.TemporaryDirectory() as name:
        clicks.write_files(Path(name), files)
        text = open_split(name, "mini", "train", report=_quiet)
        commands.convert(name, tier="mini", say=_quiet)
        converted = open_split(name, "mini", "train", report=_quiet)
        assert {type(source) for source in text.sources}.isdisjoint(map(type, converted.sources))
        yield [text, converted]


@pytest.fixture(scope="module")
def everything(splits: list[CriteoSplit]) -> Batch:
    """All lines, in the order in which they are stored."""
    (batch,) = splits[0].evaluation_batches(global_batch_size=NUM_LINES, workers=0)
    return batch


@pytest.fixture(autouse=True, scope="module")
def short_stretches() -> Iterator[None]:
    """Batches of a few lines already consist of several stretches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "AT_A_TIME", 31)
        yield


def _joined(batches: list[Batch]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


@pytest.mark.clause("DATA-1", "DATA-2", "DATA-8")
@given(
    seed=st.integers(0, 2**64),
    rows=st.integers(1, 40),
    processes=st.integers(1, 3),
    start_step=st.integers(0, 100),
    workers=st.integers(0, 3),
    ahead=st.integers(0, 3),
    converted=st.booleans(),
)
def test_the_stream_depends_on_seed_and_position_only(
    splits: list[CriteoSplit],
    seed: int,
    rows: int,
    processes: int,
    start_step: int,
    workers: int,
    ahead: int,
    converted: bool,
) -> None:
    size = rows * processes
    plain = splits[0].training_batches(
        data_seed=seed, global_batch_size=1, workers=0, start_step=start_step * size
    )
    wanted = _joined(list(itertools.islice(plain, 3 * size)))
    parts = [
        list(
            itertools.islice(
                splits[converted].training_batches(
                    data_seed=seed,
                    global_batch_size=size,
                    part=Part(process, processes),
                    start_step=start_step,
                    workers=workers,
                    ahead=ahead,
                ),
                3,
            )
        )
        for process in range(processes)
    ]
    _assert_same(_joined([part[step] for step in range(3) for part in parts]), wanted)


@pytest.mark.clause("DATA-1")
@given(seed=st.integers(0, 2**32), epoch=st.integers(0, 3))
def test_every_epoch_has_every_line_once(
    splits: list[CriteoSplit], everything: Batch, seed: int, epoch: int
) -> None:
    stream = splits[1].training_batches(
        data_seed=seed, global_batch_size=NUM_LINES, start_step=epoch, workers=0
    )
    found = {row.tobytes() for row in next(stream)["inputs"]}
    assert found == {row.tobytes() for row in everything["inputs"]}


@pytest.mark.clause("DATA-3", "DATA-4", "DATA-5")
@given(
    rows=st.integers(1, 300),
    processes=st.integers(1, 4),
    num_examples=st.integers(1, NUM_LINES),
    workers=st.integers(0, 2),
    converted=st.booleans(),
)
def test_an_evaluation_covers_its_lines_once_on_any_number_of_processes(
    splits: list[CriteoSplit],
    everything: Batch,
    rows: int,
    processes: int,
    num_examples: int,
    workers: int,
    converted: bool,
) -> None:
    parts = [
        list(
            splits[converted].evaluation_batches(
                global_batch_size=rows * processes,
                part=Part(process, processes),
                num_examples=num_examples,
                workers=workers,
            )
        )
        for process in range(processes)
    ]
    assert len({len(part) for part in parts}) == 1
    assert {batch["inputs"].shape for part in parts for batch in part} == {(rows, NUM_INPUTS)}
    found = _joined([part[step] for step in range(len(parts[0])) for part in parts])
    for name, array in found.items():
        np.testing.assert_array_equal(array[:num_examples], everything[name][:num_examples])
        assert not array[num_examples:].any()


# Fields as they come, and as they should not.
numbers = st.one_of(
    st.sampled_from(["", "-1", "0", "-2", "1.5", "1e3", ".5", "5.", "-0", "007"]),
    st.integers(-5, 10**9).map(str),
)
wrong_numbers = st.sampled_from(["x", "1,5", "nan", "inf", "-", "1e99", "0x10", "1 2", "--1"])
texts = st.one_of(
    st.sampled_from(["", "-1", "0", "-", "-12", "00000000", '"', "1234567890abcdef"]),
    st.integers(0, 2**32 - 1).map("{:08x}".format),
    st.text(st.characters(exclude_characters="\t\n\r", codec="utf-8"), max_size=70),
)


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, bool]:
    """A line, and whether it is sound."""
    fields = [draw(numbers) for _ in range(14)]
    common = draw(texts)
    fields += [draw(st.one_of(st.just(common), texts)) for _ in range(3)] + [common] * 23
    sound = draw(st.integers(0, 9)) > 0
    if not sound:
        harm = draw(st.integers(0, 2))
        if harm == 0:
            fields[draw(st.integers(0, 13))] = draw(wrong_numbers)
        else:
            fields = fields[:-1] if harm == 1 else [*fields, ""]
    return "\t".join(fields), sound


def _plainly(line: str) -> list[float]:
    """Label and inputs of a sound line, field by field."""
    fields = line.split("\t")
    values = [0.0 if field in ("", "-1") else float(np.float32(field)) for field in fields[:14]]
    made = values[:1]
    made += [math.log(np.float32(max(value, 0.0)) + np.float32(1.0)) for value in values[1:]]
    for number, field in enumerate(fields[14:]):
        text = ("00000000" if field in ("", "-1") else field) + str(number)
        string = np.frombuffer(text.encode(), np.uint8).reshape(1, -1)
        made.append(int(fingerprint64(string)[0]) % NUM_BUCKETS[number])
    return made


@given(st.lists(lines(), min_size=1, max_size=6))
def test_parsing_is_that_of_a_plain_loop(block: list[tuple[str, bool]]) -> None:
    text = "".join(f"{line}\n" for line, _ in block).encode()
    inputs, targets = (
        np.empty((len(block), NUM_INPUTS), np.float32),
        np.empty(len(block), np.float32),
    )
    damaged = {one.row for one in parse(text, inputs, targets)}
    assert damaged == {row for row, (_, sound) in enumerate(block) if not sound}
    for row, (line, sound) in enumerate(block):
        wanted = np.array(_plainly(line) if sound else [0.0] * 40, np.float32)
        np.testing.assert_array_equal(np.append(targets[row], inputs[row]), wanted)


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=5), st.binary(max_size=150))
def test_a_fingerprint_does_not_depend_on_the_other_strings(
    others: list[bytes], string: bytes
) -> None:
    size = len(string)
    rows = [(other + bytes(size))[:size] for other in others] + [string]
    together = fingerprint64(np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), size))
    alone = fingerprint64(np.frombuffer(string, np.uint8).reshape(1, size))
    assert together[-1] == alone[0]
