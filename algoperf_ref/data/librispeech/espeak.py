"""A program that speaks: requests on its standard input, samples on its standard output.

It loads the espeak-ng library, which is under the GNU General Public License, and runs as a process
of its own, so that no other program of this package does. Run with
``python -m algoperf_ref.data.librispeech.espeak``.

A request is a line of JSON with ``text``, ``voice``, ``rate`` (words a minute) and ``pitch`` (0 to
100). The answer is the number of samples, 32 bits, and the samples, 16 bits each; before the first,
32 bits with the number of samples a second. Everything in the machine's byte order.
"""

from __future__ import annotations

import ctypes
import json
import os
import struct
import sys
from typing import IO

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_RATE, _PITCH, _RANGE = 1, 3, 4
"""Numbers of parameters."""
_MIDDLE = 50
_CHARACTERS_UTF8 = 1
_SEED = 1

_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class _Library:
    """The library, and the samples that it has handed over."""

    def __init__(self) -> None:
        import espeakng_loader  # type: ignore[import-untyped]

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        place = espeakng_loader.get_data_path().encode()
        self.sample_rate = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, place, 0)
        if self.sample_rate <= 0:
            sys.exit(f"the speech library finds no data in {place.decode()}")
        self._samples = bytearray()
        # Held, since the library keeps only its address.
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: ctypes._Pointer[ctypes.c_short], count: int, _: object) -> int:
        if samples and count > 0:
            self._samples += ctypes.string_at(samples, count * ctypes.sizeof(ctypes.c_short))
        return 0

    def speak(self, text: str, voice: str, rate: int, pitch: int) -> bytes:
        self._samples.clear()
        # Breathy voices have noise, which the library otherwise seeds with the time of day.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            sys.exit(f"the speech library has no voice {voice}")
        for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_RANGE, _MIDDLE)):
            self._library.espeak_SetParameter(parameter, value, 0)
        content = text.encode()
        arguments = (content, ctypes.c_size_t(len(content) + 1), 0, 0, 0, _CHARACTERS_UTF8)
        if self._library.espeak_Synth(*arguments, None, None) != 0:
            sys.exit(f"the speech library cannot say {text!r}")
        return bytes(self._samples)


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answers requests until there are no more."""
    library = _Library()
    answers.write(struct.pack("=I", library.sample_rate))
    answers.flush()
    for line in requests:
        samples = library.speak(**json.loads(line))
        answers.write(struct.pack("=I", len(samples) // 2) + samples)
        answers.flush()


if __name__ == "__main__":
    # What the library itself prints must not get between the samples.
    with os.fdopen(os.dup(1), "wb") as own:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, own)
