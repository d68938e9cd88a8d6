"""BLEU as the benchmark computes it."""

from __future__ import annotations

import pytest

from algoperf_ref.workloads.wmt.bleu import corpus_bleu
from conformance_tests.workloads.samples import golden_json

CASES = golden_json("metrics_wmt.json")["bleu"]["cases"]


@pytest.mark.parametrize("name", [name for name in CASES if name != "two_refs"])
def test_bleu_is_the_official_one(name: str) -> None:
    case = CASES[name]
    expected = case["result"]["score"]
    assert corpus_bleu(case["sys"], case["ref"]) == pytest.approx(expected, abs=1e-9)


def test_sacrebleu_differs_only_where_nothing_is_right() -> None:
    from sacrebleu.metrics import BLEU

    metric = BLEU(tokenize="13a", smooth_method="exp", force=True)
    assert metric.corpus_score(["a b c d"], [["e f g h"]]).score == 0.0
    assert corpus_bleu(["a b c d"], ["e f g h"]) == pytest.approx(7.98679, abs=1e-4)
    some = ["a b c d e", "x y"], ["a b c x e", "z"]
    expected = metric.corpus_score(some[0], [some[1]]).score
    assert corpus_bleu(*some) == pytest.approx(expected, abs=1e-9)


def test_written_examples() -> None:
    """Source: Workload facts (wmt), 7."""
    translations = [
        "The cat sat on the mat .",
        "It costs 3.5 dollars, e.g. a lot-of money!",
        "Hello, world.",
    ]
    references = [
        "The cat sat on a mat.",
        "It costs 3.5 dollars, i.e. a lot-of money!",
        "Hello world.",
    ]
    assert corpus_bleu(translations, references) == pytest.approx(54.219219, abs=1e-6)
    assert corpus_bleu(["a b c d e"], ["a b c x e"]) == pytest.approx(42.728701, abs=1e-6)


def test_there_must_be_a_reference_for_every_translation() -> None:
    with pytest.raises(ValueError, match="2 translations, but 1 references"):
        corpus_bleu(["a", "b"], ["a"])
    assert corpus_bleu([], []) == 0.0
