"""Word errors of transcripts: as the benchmark counts them, and as everybody else does.

The benchmark compares *printed tensors*, for example ``tf.Tensor(b'HELLO WORLD', shape=(),
dtype=string)``: every utterance has two words more, and its first and last word are glued to the
wrapping. The targets were set with that rate, so it is kept, as ``wer``; the true one is logged
beside it, as ``wer_plain``. Source: Workload facts (librispeech_data), 7.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple


class WordErrors(NamedTuple):
    """Counts that add up over batches and processes; a rate is errors / words.

    Attributes:
      errors: word errors of the printed tensors.
      words: words of the printed references, two more than they have for each utterance.
      plain_errors: word errors of the transcripts themselves.
      plain_words: words of the references.
    """

    errors: int
    words: int
    plain_errors: int
    plain_words: int


def word_errors(hypotheses: Sequence[str], references: Sequence[str]) -> WordErrors:
    """Counts the word errors of some utterances.

    Args:
      hypotheses: what was recognised. Rows of padding must have been left out.
      references: what was said, one for each hypothesis.

    Returns:
      The counts.

    Raises:
      ValueError: there are not as many hypotheses as references.
    """
    errors = words = plain_errors = plain_words = 0
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        heard, said = hypothesis.split(), reference.split()
        plain_errors += distance(heard, said)
        plain_words += len(said)
        heard, said = printed(hypothesis).split(), printed(reference).split()
        errors += distance(heard, said)
        words += len(said)
    return WordErrors(errors, words, plain_errors, plain_words)


def printed(text: str) -> str:
    """How TensorFlow prints a scalar string tensor: as bytes, with the quotes of Python.

    These are single quotes, unless there is an apostrophe and no double quote in the text; what is
    not printable ASCII, a line break too, becomes an escape sequence.
    """
    return f"tf.Tensor({text.encode()!r}, shape=(), dtype=string)"


def distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """The least number of insertions, deletions and replacements that make one into the other.

    A column of the usual table is held as two sets of rows, bits of one integer: those where the
    value is one more than in the row above, and those where it is one less. A whole column then
    takes a dozen operations, whatever its height. Source: G. Myers (1999), "A fast bit-vector
    algorithm for approximate string matching", in the form of H. Hyyrö (2003).

    Args:
      a: items, such as words.
      b: items.

    Returns:
      The Levenshtein distance, 0 to the greater length.
    """
    if not a:
        return len(b)
    rows_of: dict[Hashable, int] = {}
    for row, item in enumerate(a):
        rows_of[item] = rows_of.get(item, 0) | 1 << row
    last, every = 1 << (len(a) - 1), (1 << len(a)) - 1
    more, less, value = every, 0, len(a)
    for item in b:
        equal = rows_of.get(item, 0)
        # Rows whose value is that of the row above in the previous column: no cost is added.
        diagonal = (((equal & more) + more) ^ more) | equal | less
        right_more = less | ~(diagonal | more)
        right_less = more & diagonal
        if right_more & last:
            value += 1
        elif right_less & last:
            value -= 1
        # The first row of the whole table rises by one with each column.
        right_more = right_more << 1 | 1
        right_less <<= 1
        more = (right_less | ~(diagonal | right_more)) & every
        less = right_more & diagonal & every
    return value
