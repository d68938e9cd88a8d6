"""Word errors of transcripts: the official numbers, the fact sheet, and how they add up."""

from __future__ import annotations

from typing import Any

import pytest

from algoperf_ref.workloads.librispeech.word_errors import (
    WordErrors,
    distance,
    printed,
    word_errors,
)
from conformance_tests.workloads.samples import golden_json

GOLDEN = golden_json("metrics_librispeech.json")
WER = GOLDEN["wer"]


@pytest.mark.parametrize("case", GOLDEN["edit_distance"], ids=lambda case: case["hyp"] or "empty")
def test_the_distance_is_the_official_one(case: dict[str, Any]) -> None:
    assert distance(case["hyp"].split(), case["ref"].split()) == case["distance"]


@pytest.mark.parametrize("case", WER["per_sentence"], ids=lambda case: case["hyp"] or "empty")
def test_every_sentence_has_the_official_counts(case: dict[str, Any]) -> None:
    assert word_errors([case["hyp"]], [case["ref"]]) == WordErrors(
        case["official_errors"],
        case["official_num_words"],
        case["plain_errors"],
        case["plain_num_words"],
    )


def test_the_corpus_has_the_official_rates() -> None:
    cases = WER["per_sentence"]
    counts = word_errors([case["hyp"] for case in cases], [case["ref"] for case in cases])
    assert counts.errors / counts.words == pytest.approx(WER["official_wer"], abs=1e-12)
    assert counts.plain_errors / counts.plain_words == pytest.approx(WER["plain_wer"], abs=1e-12)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the cat sat on the mat", WER["example_stringified"]),
        ("don't stop the music", WER["example_stringified_apostrophe"]),
        ("", WER["example_stringified_empty"]),
        ('it\'s "it"', "tf.Tensor(b'it\\'s \"it\"', shape=(), dtype=string)"),
        ("é\tb\n\\", "tf.Tensor(b'\\xc3\\xa9\\tb\\n\\\\', shape=(), dtype=string)"),
        ("A \u2047 B", "tf.Tensor(b'A \\xe2\\x81\\x87 B', shape=(), dtype=string)"),
    ],
)
def test_texts_are_printed_as_tensors(text: str, shown: str) -> None:
    assert printed(text) == shown


@pytest.mark.parametrize(
    ("hypothesis", "reference", "counts"),
    [
        ("HELLO WORLD", "HELLO WORLD", (0, 4, 0, 2)),
        ("HELLO", "HELLO WORLD", (2, 4, 1, 2)),
        ("", "HELLO WORLD", (2, 4, 2, 2)),
        ("ITS A TEST", "IT'S A TEST", (2, 5, 1, 3)),
        ("HELLO A TEST", "HELLO IT'S TEST", (3, 5, 1, 3)),
        ("", "", (0, 3, 0, 0)),
        ("A B C", "", (3, 3, 3, 0)),
    ],
)
def test_the_consequences_that_the_fact_sheet_lists(
    hypothesis: str, reference: str, counts: tuple[int, int, int, int]
) -> None:
    """Workload facts (librispeech_data), 7."""
    assert word_errors([hypothesis], [reference]) == counts


def test_no_utterance_counts_nothing() -> None:
    assert word_errors([], []) == (0, 0, 0, 0)


def test_every_hypothesis_has_its_reference() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        word_errors(["A"], ["A", "B"])
