"""Word errors of any sentences: the quick distance beside the whole table, sums, bounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from algoperf_ref.workloads.librispeech.word_errors import distance, printed, word_errors

few_words = st.lists(st.sampled_from(["A", "B", "CAT", "IT'S"]), max_size=9)
many_words = st.lists(st.integers(0, 5), max_size=150)
texts = st.text(max_size=40)
pairs = st.lists(st.tuples(texts, texts), max_size=6)


def table_distance(a: Sequence[object], b: Sequence[object]) -> int:
    """The textbook: one cell after the other."""
    table = np.zeros((len(a) + 1, len(b) + 1), np.int64)
    table[:, 0], table[0] = np.arange(len(a) + 1), np.arange(len(b) + 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            above, left, corner = table[i, j + 1], table[i + 1, j], table[i, j]
            table[i + 1, j + 1] = min(above + 1, left + 1, corner + (x != y))
    return int(table[-1, -1])


@given(a=few_words, b=few_words)
def test_the_distance_is_that_of_the_table(a: list[str], b: list[str]) -> None:
    assert distance(a, b) == table_distance(a, b)


@given(a=many_words, b=many_words)
def test_columns_may_be_higher_than_a_machine_word(a: list[int], b: list[int]) -> None:
    assert distance(a, b) == table_distance(a, b)


@given(a=few_words, b=few_words, c=few_words)
def test_the_distance_is_a_metric(a: list[str], b: list[str], c: list[str]) -> None:
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) == distance(b, a)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))


@given(pairs=pairs, cut=st.integers(0, 6))
def test_counts_add_up_over_any_parts(pairs: list[tuple[str, str]], cut: int) -> None:
    heard, said = [hypothesis for hypothesis, _ in pairs], [reference for _, reference in pairs]
    parts = [word_errors(heard[:cut], said[:cut]), word_errors(heard[cut:], said[cut:])]
    assert tuple(map(sum, zip(*parts, strict=True))) == word_errors(heard, said)


@given(words=few_words, others=few_words)
def test_every_utterance_has_two_words_more(words: list[str], others: list[str]) -> None:
    counts = word_errors([" ".join(others)], [" ".join(words)])
    assert counts.plain_words == len(words)
    # An empty text still leaves the word that the wrapping begins with.
    assert counts.words == max(len(words), 1) + 2
    # At most the first and the last word are wrong for their quotes alone.
    assert counts.plain_errors <= counts.errors <= counts.plain_errors + 2


@given(text=texts)
def test_a_text_is_printed_on_one_line_of_ascii(text: str) -> None:
    shown = printed(text)
    assert shown.isascii()
    assert shown.isprintable()
    assert word_errors([text], [text])[::2] == (0, 0)


@given(words=few_words, blanks=st.lists(st.sampled_from([" ", "  "]), min_size=9, max_size=9))
def test_blanks_between_words_do_not_count(words: list[str], blanks: list[str]) -> None:
    spaced = "".join(word + blank for word, blank in zip(words, blanks, strict=False)).rstrip()
    assert word_errors([spaced], [" ".join(words)])[::2] == (0, 0)
    assert word_errors([" ".join(words)], [spaced])[::2] == (0, 0)
