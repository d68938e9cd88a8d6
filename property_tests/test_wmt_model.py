"""What must hold for every sentence that the Transformer reads or writes."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance_tests.workloads import wmt_samples as samples
from conformance_tests.workloads.samples import FRAMEWORKS, to_numpy
from conformance_tests.workloads.wmt_samples import TINY, logits_of

per_framework = pytest.mark.parametrize("framework", FRAMEWORKS)
LENGTH = 8
few = settings(max_examples=15, deadline=None)


@functools.cache
def params(framework: str) -> Any:
    """Parameters of the tiny network."""
    return samples.load_weights(framework, TINY, samples.random_params(TINY))


def padded(batch: samples.Arrays, length: int) -> samples.Arrays:
    """The batch with rows of this length."""
    return {name: np.pad(ids, ((0, 0), (0, length - ids.shape[1]))) for name, ids in batch.items()}


@st.composite
def batches(draw: st.DrawFn, rows: int = 2) -> samples.Arrays:
    """Sentences of any ids but 0, with padding behind them."""
    batch = {}
    for name in ("inputs", "targets"):
        ids = np.zeros((rows, LENGTH), np.int32)
        for row in ids:
            sentence = draw(st.lists(st.integers(1, 23), min_size=1, max_size=LENGTH))
            row[: len(sentence)] = sentence
        batch[name] = ids
    return batch


@per_framework
@few
@given(batch=batches(), place=st.integers(0, LENGTH - 1), other=st.integers(1, 23))
def test_a_later_target_never_changes_an_earlier_logit(
    framework: str, batch: samples.Arrays, place: int, other: int
) -> None:
    """Of targets that are there; whether one is there does not change in this test."""
    before = logits_of(framework, TINY, params(framework), batch)
    changed = batch | {"targets": batch["targets"].copy()}
    changed["targets"][:, place] = np.where(batch["targets"][:, place] > 0, other, 0)
    after = logits_of(framework, TINY, params(framework), changed)
    np.testing.assert_allclose(after[:, : place + 1], before[:, : place + 1], rtol=0, atol=1e-5)


@per_framework
@few
@given(batch=batches(), more=st.sampled_from([1, 5]))
def test_more_padding_changes_no_logit_of_a_token(
    framework: str, batch: samples.Arrays, more: int
) -> None:
    """Nor its loss, nor the sum of the losses."""
    before = logits_of(framework, TINY, params(framework), batch)
    longer = padded(batch, LENGTH + more)
    after = logits_of(framework, TINY, params(framework), longer)[:, :LENGTH]
    is_token = batch["targets"] > 0
    np.testing.assert_allclose(after[is_token], before[is_token], rtol=0, atol=2e-5)
    losses = functools.partial(samples.token_losses, framework, TINY, params(framework))
    expected, found = losses(batch), losses(longer)
    np.testing.assert_allclose(found[:, :LENGTH], expected, rtol=1e-5, atol=2e-5)
    assert not found[:, LENGTH:].any()


@per_framework
@few
@given(batch=batches(rows=3), second=st.integers(1, 2))
def test_a_packed_sentence_sees_nothing_of_the_other_but_its_last_token(
    framework: str, batch: samples.Arrays, second: int
) -> None:
    """If the second sentence alone is told the token before it, as the benchmark's packing does.

    So it is compared where that token stands before it, as a target that nothing attends to.
    """
    together = samples.packed(batch, [0, second])
    count = int((batch["targets"][0] > 0).sum())
    end = together["targets"].shape[1]
    together = padded(together, 2 * LENGTH)
    logits = logits_of(framework, TINY, params(framework), together)[0]
    parts = {name: together[f"{name.split('_')[0]}_segmentation"] for name in together}
    alone = {name: np.where(parts[name] == 2, ids, 0) for name, ids in together.items()}
    alone["targets"][0, count - 1] = together["targets"][0, count - 1]
    expected = logits_of(framework, TINY, params(framework), alone)[0]
    np.testing.assert_allclose(logits[count:end], expected[count:end], rtol=0, atol=2e-5)


@per_framework
@few
@given(batch=batches(rows=3), pairs=st.permutations(range(3)), smoothing=st.sampled_from([0, 0.1]))
def test_packing_equals_not_packing_in_loss(
    framework: str, batch: samples.Arrays, pairs: list[int], smoothing: float
) -> None:
    """If a place of padding stands between sentences, so that each is told the start token."""
    together = padded(samples.packed(batch, pairs, gap=1), 3 * LENGTH + 2)
    losses = functools.partial(samples.token_losses, framework, TINY, params(framework))
    expected = losses(batch, smoothing)
    # In the order of the row; the loss of padding is 0.
    expected = expected[pairs][batch["targets"][pairs] > 0]
    found = losses(together, smoothing)
    is_token = together["targets"] > 0
    np.testing.assert_allclose(found[is_token], expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(found.sum(), expected.sum(), rtol=1e-4)


tables = st.integers(0, 10_000).map(
    lambda seed: (2 * np.random.RandomState(seed).randn(7, 7)).astype(np.float32)
)


def log_probabilities(table: np.ndarray) -> np.ndarray:
    """Logarithms of the probabilities of the next token, per token."""
    wide = table.astype(np.float64)
    result: np.ndarray = wide - np.log(np.exp(wide).sum(1, keepdims=True))
    return result


def penalty(count: int, alpha: float) -> float:
    """What the log-probability of ``count`` tokens is divided by."""
    return float(((5 + count) / 6) ** alpha)


def greedy_chain(table: np.ndarray, length: int) -> tuple[list[int], float]:
    """Greedy tokens with the start, and their log-probability."""
    logarithms = log_probabilities(table)
    tokens, total = [0], 0.0
    while len(tokens) < length and tokens[-1] != 2:
        token = int(logarithms[tokens[-1]].argmax())
        total += logarithms[tokens[-1], token]
        tokens.append(token)
    return tokens, total


def all_sentences(table: np.ndarray, length: int, alpha: float) -> dict[tuple[int, ...], float]:
    """Every sentence that ends within ``length`` tokens, start included, and its score."""
    logarithms = log_probabilities(table)
    scores = {}
    for count in range(1, length):
        pieces = [token for token in range(len(table)) if token != 2]
        for inner in itertools.product(pieces, repeat=count - 1):
            sentence = (0, *inner, 2)
            total = sum(logarithms[pair] for pair in itertools.pairwise(sentence))
            scores[sentence] = total / penalty(count, alpha)
    return scores


@per_framework
@settings(max_examples=25, deadline=None)
@given(table=tables, alpha=st.sampled_from([0.0, 0.6, 1.5]))
def test_a_search_that_is_wide_enough_finds_all_sentences_in_order(
    framework: str, table: np.ndarray, alpha: float
) -> None:
    """27 living beams of 4 tokens have 108 ways to go on; twice 64 are looked at."""
    table, beam_size = table[:4, :4], 64
    scores = all_sentences(table, 5, alpha)
    beams = samples.search_markov(
        framework, table, rows=1, beam_size=beam_size, length=5, alpha=alpha
    )
    found_scores = to_numpy(beams.scores)[0, -len(scores) :]
    found = [tuple(ids) for ids in to_numpy(beams.sequences)[0, -len(scores) :].tolist()]
    by_ids = {sentence + (5 - len(sentence)) * (0,): s for sentence, s in scores.items()}
    assert set(found) == set(by_ids)
    # Which of two equal ones is the better is left open: some have the same pairs of tokens.
    np.testing.assert_allclose(found_scores, [by_ids[ids] for ids in found], rtol=0, atol=1e-5)
    assert (np.diff(to_numpy(beams.scores)[0]) >= 0).all()
    assert (to_numpy(beams.scores)[0, : -len(scores)] < -1e5).all()


@per_framework
@settings(max_examples=40, deadline=None)
@given(
    table=tables,
    path=st.permutations([1, 3, 4, 5, 6]),
    count=st.integers(0, 5),
    beam_size=st.sampled_from([2, 4]),
    alpha=st.sampled_from([0.0, 0.6]),
)
def test_the_result_scores_at_least_as_well_as_a_greedy_sentence_of_probability_over_a_third(
    framework: str,
    table: np.ndarray,
    path: list[int],
    count: int,
    beam_size: int,
    alpha: float,
) -> None:
    """A search may drop the greedy sentence when others are more probable for a while.

    Not if its probability is above ``1 / (1 + beam_size)``: so many others cannot have more.
    """
    table = table.copy()
    sentence = [0, *path[:count], 2]
    for token, following in itertools.pairwise(sentence):
        others = np.delete(table[token], following).astype(np.float64)
        table[token, following] = np.log(np.exp(others).sum()) + np.log(6)  # 6 / 7: its share
    tokens, total = greedy_chain(table, 10)
    assert tokens == sentence
    assert np.exp(total) > 1 / 3
    beams = samples.search_markov(
        framework, table, rows=1, beam_size=beam_size, length=10, alpha=alpha
    )
    best = float(to_numpy(beams.scores)[0, -1])
    assert best == float(to_numpy(beams.scores).max())
    assert best >= total / penalty(len(tokens) - 1, alpha) - 1e-5


@per_framework
@settings(max_examples=40, deadline=None)
@given(table=tables)
def test_a_search_of_one_beam_is_greedy_decoding_where_the_end_is_sure_or_impossible(
    framework: str, table: np.ndarray
) -> None:
    """Elsewhere the benchmark's search looks further; see the next test."""
    table = table.copy()
    table[:, 2] = np.where(table.argmax(1) == 2, 50.0, -50.0)
    tokens, total = greedy_chain(table, 10)
    if tokens[-1] == 2:
        total /= penalty(len(tokens) - 1, 0.6)
    beams = samples.search_markov(framework, table, rows=2, beam_size=1, length=10, alpha=0.6)
    sequence = tokens + [0] * (10 - len(tokens))
    np.testing.assert_array_equal(to_numpy(beams.sequences)[:, 0], [sequence] * 2)
    np.testing.assert_allclose(to_numpy(beams.scores)[:, 0], total, rtol=0, atol=1e-4)


def best_end(table: np.ndarray, length: int, alpha: float) -> tuple[list[int], float]:
    """Tokens and score of a search of one beam, written for a single chain.

    The living beam never takes the end. Wherever the end is one of the two most probable tokens,
    the beam with it is a candidate, and the best candidate wins.
    """
    logarithms = log_probabilities(table)
    living, total, ended, score = [0], 0.0, [], -np.inf
    while len(living) < length and score <= total / penalty(length, alpha):
        sums = total + logarithms[living[-1]]
        best_two = np.argsort(-sums)[:2]
        end_score = sums[2] / penalty(len(living), alpha)
        if 2 in best_two and end_score > score:
            ended, score = [*living, 2], end_score
        following = next(int(token) for token in best_two if token != 2)
        living, total = [*living, following], sums[following]
    return (ended, score) if ended else (living, total)


@per_framework
@settings(max_examples=40, deadline=None)
@given(table=tables, alpha=st.sampled_from([0.0, 0.6]))
def test_a_search_of_one_beam_takes_the_best_end_of_a_greedy_chain(
    framework: str, table: np.ndarray, alpha: float
) -> None:
    tokens, score = best_end(table, 10, alpha)
    beams = samples.search_markov(framework, table, rows=2, beam_size=1, length=10, alpha=alpha)
    sequence = tokens + [0] * (10 - len(tokens))
    np.testing.assert_array_equal(to_numpy(beams.sequences)[:, 0], [sequence] * 2)
    np.testing.assert_allclose(to_numpy(beams.scores)[:, 0], score, rtol=0, atol=1e-4)


@per_framework
@few
@given(batch=batches())
def test_greedy_decoding_is_the_most_probable_next_token(
    framework: str, batch: samples.Arrays
) -> None:
    """Teacher forcing with what was decoded gives the same tokens again."""
    options = {"max_decode_len": LENGTH + 1}
    tokens = samples.decode(
        framework, "greedy", TINY, params(framework), batch["inputs"], **options
    )
    targets = np.maximum(tokens, 1).astype(np.int32)
    forced = {"inputs": batch["inputs"], "targets": targets}
    logits = logits_of(framework, TINY, params(framework), forced)
    # Where a 0 was decoded, the forced pass reads another token from there on.
    told = (np.cumsum((tokens == 0) | (tokens == 2), axis=1) == 0)[:, :-1]
    compared = np.concatenate([np.ones_like(told[:, :1]), told], axis=1)
    np.testing.assert_array_equal(logits.argmax(-1)[compared], tokens[compared])
