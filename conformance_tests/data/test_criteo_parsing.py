"""Lines of the click log as numbers: official batches, hashes with known answers, damaged lines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from algoperf_ref.data.criteo1tb import categories
from algoperf_ref.data.criteo1tb.farmhash import fingerprint64
from algoperf_ref.data.criteo1tb.parsing import NUM_DENSE, NUM_INPUTS, Damage, damage_of, parse
from conformance_tests.support import clicks

_GOLDEN = Path(__file__).parents[1] / "golden" / "pipeline"
_FACTS = json.loads((_GOLDEN / "criteo.json").read_text())
_ARRAYS = np.load(_GOLDEN / "criteo.npz")
_LINES = [line.encode() + b"\n" for line in _FACTS["lines"]]


def _parsed(lines: list[bytes]) -> tuple[np.ndarray, np.ndarray, list[Damage]]:
    inputs = np.full((len(lines), NUM_INPUTS), np.nan, np.float32)
    targets = np.full(len(lines), np.nan, np.float32)
    damaged = parse(b"".join(lines), inputs, targets)
    return inputs, targets, damaged


def test_lines_give_the_official_numbers() -> None:
    inputs, targets, damaged = _parsed(_LINES)
    assert damaged == []
    official = np.concatenate([_ARRAYS[f"validation/{batch}/inputs"] for batch in range(3)])[:20]
    labels = np.concatenate([_ARRAYS[f"validation/{batch}/targets"] for batch in range(3)])[:20]
    np.testing.assert_array_equal(targets, labels)
    np.testing.assert_array_equal(inputs[:, NUM_DENSE:], official[:, NUM_DENSE:])
    # The official float32 logarithm is off by a bit here and there; ours is rounded correctly.
    np.testing.assert_array_max_ulp(inputs[:, :NUM_DENSE], official[:, :NUM_DENSE], maxulp=1)


def test_buckets_above_2_to_the_24_are_rounded_as_float32() -> None:
    inputs, _, _ = _parsed(_LINES)
    exact = _ARRAYS["exact_ids_int64"]
    np.testing.assert_array_equal(inputs[:, NUM_DENSE:], exact.astype(np.float32))
    changed = inputs[:, NUM_DENSE:].astype(np.int64) != exact
    assert changed.sum() == _FACTS["ids_changed_by_float32_cast"]


def test_the_numbers_of_buckets_are_the_official_ones() -> None:
    assert list(categories.NUM_BUCKETS) == _FACTS["vocab_sizes"]


@pytest.mark.parametrize(("text", "buckets", "expected"), _FACTS["hash_bucket_samples"])
def test_hash_buckets_equal_the_official_ones(text: str, buckets: int, expected: int) -> None:
    strings = np.frombuffer(text.encode(), np.uint8).reshape(1, -1)
    assert int(fingerprint64(strings)[0]) % buckets == expected


def test_fingerprints_of_all_lengths_equal_those_of_the_farmhash_library() -> None:
    stored = json.loads((_GOLDEN / "farmhash.json").read_text())["fingerprints"]
    assert len({len(text) for text, _ in stored}) == len(stored) > 100
    for text, expected in stored:
        one = np.frombuffer(bytes.fromhex(text), np.uint8)
        # Three at a time, so that a mix-up of strings shows.
        three = np.stack([one[::-1], one, np.zeros_like(one)])
        assert int(fingerprint64(three)[1]) == int(expected), len(one)


@pytest.mark.parametrize("field", [b"", b"-1"])
def test_a_missing_category_is_eight_zeros(field: bytes) -> None:
    known = b"0" + b"\t" * 13 + b"\t00000000" * 26 + b"\n"
    missing = b"0" + b"\t" * 13 + (b"\t" + field) * 26 + b"\n"
    # Among others of the usual length, and among others of odd ones.
    for other in (
        b"0" + b"\t" * 13 + b"\t1234abcd" * 26 + b"\n",
        b"0" + b"\tx" * 0 + b"\t" * 39 + b"\n",
    ):
        inputs, _, damaged = _parsed([known, missing, other])
        assert damaged == []
        np.testing.assert_array_equal(inputs[0], inputs[1])


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"", 0.0),
        (b"-1", 0.0),
        (b"-2", 0.0),
        (b"0", 0.0),
        (b"1", np.log(2.0)),
        (b"1.5", np.log(2.5)),
        (b"2e3", np.log(2001.0)),
        (b"123456789012", np.log(np.float64(np.float32(123456789012)))),
    ],
)
def test_counts_become_logarithms(field: bytes, expected: float) -> None:
    line = b"1\t" + field + b"\t" * 38 + b"\n"
    inputs, _, damaged = _parsed([line, *_LINES])
    assert damaged == []
    assert inputs[0, 0] == np.float32(expected)


_GOOD = clicks.lines(1)[0].rstrip(b"\n")
_FIELDS = _GOOD.split(b"\t")


def _with(number: int, field: bytes) -> bytes:
    return b"\t".join([*_FIELDS[:number], field, *_FIELDS[number + 1 :]])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "it has 1 fields, not 40"),
        (_GOOD + b"\t", "it has 41 fields, not 40"),
        (b"\t".join(_FIELDS[:-1]), "it has 39 fields, not 40"),
        (_with(0, b"yes"), "the label is 'yes', not a number"),
        (_with(3, b"12a"), "count 3 is '12a', not a number"),
        (_with(3, b"nan"), "count 3 is 'nan', not a number"),
        (_with(3, b"inf"), "count 3 is 'inf', not a number"),
        (_with(3, b"1e99"), "count 3 is '1e99', not a number"),
        (_with(13, b'"1"'), "count 13 is '\"1\"', not a number"),
        (_with(5, b"\x00"), "count 5 is '\\x00', not a number"),
        (_with(20, b"abc\xff"), "is not UTF-8"),
        (_with(20, b"ab\rcd"), "there is a carriage return within it"),
        (b"\xef\xbb\xbf" + _GOOD, "it begins with a byte order mark"),
        (_GOOD + b"\r" + _GOOD, "there is a carriage return within it"),
    ],
)
def test_a_damaged_line_keeps_its_place_and_harms_no_other(line: bytes, reason: str) -> None:
    assert reason in str(damage_of(line))
    whole, labels, _ = _parsed(_LINES)
    for place in (0, 7, len(_LINES)):
        inputs, targets, damaged = _parsed([*_LINES[:place], line + b"\n", *_LINES[place:]])
        ((row, found),) = damaged
        assert row == place
        assert reason in found
        assert not inputs[place].any()
        assert targets[place] == 0.0
        np.testing.assert_array_equal(np.delete(inputs, place, 0), whole)
        np.testing.assert_array_equal(np.delete(targets, place), labels)


@pytest.mark.parametrize(
    "line",
    [
        _GOOD + b"\r",  # line breaks of Windows
        _with(20, b""),
        _with(20, b'"quoted'),
        _with(20, b"a" * 300),
        _with(20, "straße".encode()),
        _with(5, b" 7 "),
        _with(0, b""),
    ],
)
def test_an_unusual_line_is_sound(line: bytes) -> None:
    assert damage_of(line) is None
    alone, label, damaged = _parsed([line + b"\n"])
    assert damaged == []
    # The same beside a damaged line, which is read in another way.
    inputs, targets, damaged = _parsed([b"broken\n", line + b"\n"])
    assert len(damaged) == 1
    np.testing.assert_array_equal(inputs[1:], alone)
    np.testing.assert_array_equal(targets[1:], label)


def test_the_last_line_need_not_end() -> None:
    with_end, without_end = _parsed(_LINES), _parsed([*_LINES[:-1], _LINES[-1].rstrip(b"\n")])
    np.testing.assert_array_equal(with_end[0], without_end[0])


def test_another_number_of_lines_than_expected_is_an_error() -> None:
    inputs, targets = np.zeros((3, NUM_INPUTS), np.float32), np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="20 lines, expected 3"):
        parse(b"".join(_LINES), inputs, targets)
