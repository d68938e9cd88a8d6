"""BLEU of a corpus. Source: Workload facts (wmt), 7.

The benchmark has a copy of sacrebleu 1.3.1. The installed sacrebleu tokenises and counts the same,
with the signature ``nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp``; its score differs where nothing
at all is right: it is 0 there, and smoothed in the benchmark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from algoperf_ref.errors import UserError


def corpus_bleu(translations: Sequence[str], references: Sequence[str]) -> float:
    """Returns BLEU, 0 to 100; 0 if there is no sentence.

    Args:
      translations: what the model wrote.
      references: one for each translation.

    Raises:
      ValueError: there are not as many references as translations.
      UserError: sacrebleu is not installed.
    """
    if len(translations) != len(references):
        raise ValueError(f"{len(translations)} translations, but {len(references)} references")
    if not translations:
        return 0.0
    try:
        from sacrebleu.metrics import BLEU
    except ImportError as error:
        raise UserError(
            f'BLEU needs sacrebleu: pip install "algoperf-ref[data]" ({error})'
        ) from error
    metric = BLEU(tokenize="13a", smooth_method="exp", force=True)
    found = metric.corpus_score(list(translations), [list(references)])
    return score(found.counts, found.totals, found.sys_len, found.ref_len)


def score(
    counts: Sequence[int], totals: Sequence[int], translation_length: int, reference_length: int
) -> float:
    """Returns BLEU of counts over a corpus.

    Args:
      counts: right n-grams of the orders 1 to 4.
      totals: all n-grams of the translations, likewise.
      translation_length: tokens of the translations.
      reference_length: tokens of the references.

    Returns:
      0 to 100. A count of 0 is taken as 1/2, the next as 1/4, and so on; an order without n-grams
      makes the score 0.
    """
    logarithms, divisor = 0.0, 1.0
    for count, total in zip(counts, totals, strict=True):
        if total == 0:
            return 0.0
        if count == 0:
            divisor *= 2
        logarithms += math.log(100.0 * count / total if count else 100.0 / (divisor * total))
    penalty = 1.0
    if translation_length < reference_length:
        penalty = math.exp(1 - reference_length / translation_length)
    return penalty * math.exp(logarithms / len(counts))
