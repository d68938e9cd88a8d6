"""BLEU against a plain re-implementation from the formula, on random corpora."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from algoperf_ref.workloads.wmt.bleu import corpus_bleu

WORDS = ("the", "a", "cat", "sat", "3.5", "10-20", "it's", "U.S.", "(red)", "&quot;", "x@y", "end.")
sentences = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
corpora = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=5)


def tokens(line: str) -> list[str]:
    """The tokenizer 13a. Source: Workload facts (wmt), 7."""
    for name, sign in (("quot", '"'), ("amp", "&"), ("lt", "<"), ("gt", ">")):
        line = line.replace(f"&{name};", sign)
    line = f" {line} "
    line = re.sub(r"([{-~\[-` -&(-+:-@/])", r" \1 ", line)
    line = re.sub(r"([^0-9])([.,])", r"\1 \2 ", line)
    line = re.sub(r"([.,])([^0-9])", r" \1 \2", line)
    line = re.sub(r"([0-9])(-)", r"\1 \2 ", line)
    return line.split()


def plain_bleu(pairs: list[tuple[str, str]]) -> float:
    """BLEU with exponential smoothing. Source: Workload facts (wmt), 7."""
    counts, totals, length, wanted = [0] * 4, [0] * 4, 0, 0
    for translation, reference in pairs:
        ours, theirs = tokens(translation), tokens(reference)
        length, wanted = length + len(ours), wanted + len(theirs)
        for n in range(4):
            found, known = (
                Counter(tuple(x[i : i + n + 1]) for i in range(len(x) - n)) for x in (ours, theirs)
            )
            counts[n] += sum((found & known).values())
            totals[n] += sum(found.values())
    logarithms, divisor = [], 1.0
    for count, total in zip(counts, totals, strict=True):
        if total == 0:
            return 0.0
        if count == 0:
            divisor *= 2
            logarithms.append(math.log(100 / (divisor * total)))
        else:
            logarithms.append(math.log(100 * count / total))
    penalty = 1.0 if length >= wanted else math.exp(1 - wanted / length)
    return penalty * math.exp(sum(logarithms) / 4)


@settings(max_examples=1_000, deadline=None)
@given(pairs=corpora)
def test_bleu_is_the_written_formula(pairs: list[tuple[str, str]]) -> None:
    translations, references = (list(side) for side in zip(*pairs, strict=True))
    value = corpus_bleu(translations, references)
    assert value == pytest.approx(plain_bleu(pairs), abs=1e-6)
    assert 0 <= value <= 100 + 1e-9
    theirs = BLEU(tokenize="13a", smooth_method="exp", force=True)
    found = theirs.corpus_score(translations, [references])
    if any(found.counts):  # else sacrebleu is 0, where the benchmark smooths
        assert value == pytest.approx(found.score, abs=1e-6)
