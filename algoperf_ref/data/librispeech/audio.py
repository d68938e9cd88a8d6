"""Samples of one utterance, from FLAC or from an array of the official preparation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.errors import UserError

SAMPLE_RATE = 16_000
"""Samples a second."""

Samples = NDArray[np.int16]

_RANGE = np.iinfo(np.int16)


class UnusableAudio(UserError):
    """The audio of an utterance cannot be read; the message names the file."""


def soundfile() -> Any:
    """The library that reads FLAC.

    Raises:
      UserError: it is not installed.
    """
    try:
        import soundfile as library  # type: ignore[import-untyped]
    except (ImportError, OSError) as error:  # the latter without the library that it wraps
        raise UserError(
            f'FLAC needs soundfile ({error}): pip install "algoperf-ref[data]"'
        ) from error
    return library


def read_flac(path: Path) -> Samples:
    """Decodes a FLAC file.

    Args:
      path: of the file.

    Returns:
      int16 [samples].

    Raises:
      UnusableAudio: it is missing, damaged, cut off or empty, or not mono of 16 bits and 16 kHz.
      UserError: soundfile is not installed.
    """
    library = soundfile()
    try:
        with library.SoundFile(path) as file:
            form = (file.samplerate, file.channels, file.subtype)
            if form != (SAMPLE_RATE, 1, "PCM_16"):
                raise UnusableAudio(
                    f"{path} has {form[0]} samples a second, {form[1]} channel(s) and the type "
                    f"{form[2]}; expected {SAMPLE_RATE}, 1 and PCM_16"
                )
            expected = file.frames
            samples: Samples = file.read(dtype="int16")
    except library.LibsndfileError as error:
        said = error.error_string.strip().rstrip(".")
        if not path.is_file():
            said = "there is no such file"
        elif path.stat().st_size == 0:
            said = "the file is empty"
        raise UnusableAudio(f"{path} cannot be decoded ({said})") from error
    if len(samples) != expected:
        raise UnusableAudio(f"{path} is cut off after {len(samples)} of {expected} samples")
    if len(samples) == 0:
        raise UnusableAudio(f"{path} has no samples")
    return samples


def write_flac(path: Path, samples: Samples) -> None:
    """Writes a FLAC file of 16 kHz.

    Args:
      path: of the file.
      samples: int16 [samples].
    """
    soundfile().write(path, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def open_array(path: Path) -> NDArray[np.integer[Any]]:
    """Opens an array of the official preparation without reading it.

    Args:
      path: of a .npy file with integers in one dimension.

    Returns:
      The array, mapped.

    Raises:
      UnusableAudio: it is missing, damaged or cut off, or holds something else.
    """
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UnusableAudio(f"{path} cannot be read ({error or type(error).__name__})") from error
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) == 0:
        raise UnusableAudio(
            f"{path} holds {array.dtype} {list(array.shape)}, expected integers in one dimension"
        )
    return array


def read_array(path: Path) -> Samples:
    """Reads the samples of an array of the official preparation.

    Args:
      path: of the file.

    Returns:
      int16 [samples].

    Raises:
      UnusableAudio: see :func:`open_array`; or it has values beyond 16 bits.
    """
    array = open_array(path)
    if array.min() < _RANGE.min or array.max() > _RANGE.max:
        raise UnusableAudio(f"{path} has values beyond 16 bits")
    return array.astype(np.int16)
