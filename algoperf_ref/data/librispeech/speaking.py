"""Synthesised speech, made by a process of its own, at the sampling rate of LibriSpeech."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import math
import struct
import subprocess
import sys
import tempfile
from types import TracebackType
from typing import IO, Self

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.librispeech.audio import SAMPLE_RATE, Samples
from algoperf_ref.errors import UserError

PACKAGE, VERSION = "espeakng-loader", "0.2.4"
"""Of the library; other versions pronounce otherwise."""
_PROGRAM = "algoperf_ref.data.librispeech.espeak"

_HALF_WIDTH = 32  # input samples on either side that an output sample is made from
_PASSED = 0.94  # of the lower of the two Nyquist frequencies
_SCALE_BITS = 15  # of the integers that filters are made of


class Speaker:
    """A running process that speaks; a context manager, which ends it."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-m", _PROGRAM)) -> None:
        """
        Args:
          command: that starts the process.

        Raises:
          UserError: the library is not installed in the right version, or does not start.
        """
        check_installed()
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words
        )
        try:
            self._sample_rate = self._number()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # it has ended already
        self._process.kill()
        self._process.wait()
        self._words.close()

    def say(self, text: str, voice: str, rate: int, pitch: int) -> Samples:
        """Synthesises a text.

        Args:
          text: in lower case.
          voice: an accent and a variant of it, ``en-us+f1``.
          rate: words a minute.
          pitch: 0 to 100.

        Returns:
          int16 [samples], at 16 kHz.

        Raises:
          UserError: the process has ended.
        """
        request = {"text": text, "voice": voice, "rate": rate, "pitch": pitch}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error
        count = self._number()
        return resample(np.frombuffer(self._read(2 * count), np.int16), self._sample_rate)

    def _number(self) -> int:
        (number,) = struct.unpack("=I", self._read(4))
        return int(number)

    def _read(self, count: int) -> bytes:
        assert self._process.stdout is not None
        content = self._process.stdout.read(count)
        if len(content) != count:
            raise self._ended()
        return content

    def _ended(self) -> UserError:
        self._process.wait()
        self._words.seek(0)
        said = self._words.read().decode(errors="replace").strip().splitlines() or ["no word"]
        return UserError(
            f"the speech library does not run here ({said[-1]}): install it again with: "
            f"pip install --force-reinstall {PACKAGE}=={VERSION}"
        )


def check_installed() -> None:
    """Checks that the library is there; loads nothing.

    Raises:
      UserError: it is not, or in another version.
    """
    try:
        found = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found != VERSION:
        state = "is not installed" if found is None else f"is installed as {found}"
        raise UserError(
            f"the mini speech is made by {PACKAGE} {VERSION}, which {state}: "
            f"pip install {PACKAGE}=={VERSION}"
        )


def resample(samples: NDArray[np.int16], sample_rate: int) -> Samples:
    """Changes the sampling rate to 16 kHz.

    A windowed sinc of whole numbers is applied, so that all machines give the same samples.

    Args:
      samples: int16 [samples].
      sample_rate: theirs.

    Returns:
      int16 [samples * 16000 // sample_rate].
    """
    common = math.gcd(SAMPLE_RATE, sample_rate)
    up, down = SAMPLE_RATE // common, sample_rate // common
    filters = _filters(up, down)
    place = np.arange(len(samples) * up // down) * down
    first, phase = place // up, place % up
    padded = np.pad(samples.astype(np.int64), _HALF_WIDTH)
    total = np.full(len(place), 1 << (_SCALE_BITS - 1))
    for tap in range(2 * _HALF_WIDTH):
        # `first` is where the tap that lies on the input sample itself is number _HALF_WIDTH.
        total += padded[first + tap] * filters[phase, tap]
    info = np.iinfo(np.int16)
    clipped: Samples = np.clip(total >> _SCALE_BITS, info.min, info.max).astype(np.int16)
    return clipped


@functools.cache
def _filters(up: int, down: int) -> NDArray[np.int64]:
    """A filter for each place between two input samples, int64 [up, taps]."""
    offset = np.arange(up)[:, None] / up - (np.arange(2 * _HALF_WIDTH) - _HALF_WIDTH)
    cutoff = _PASSED * min(1.0, up / down)
    window = np.cos(np.pi * offset / (2 * _HALF_WIDTH + 2)) ** 2
    exact = cutoff * np.sinc(cutoff * offset) * window
    exact /= exact.sum(axis=1, keepdims=True)
    filters: NDArray[np.int64] = np.rint(exact * (1 << _SCALE_BITS)).astype(np.int64)
    return filters
