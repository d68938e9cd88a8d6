"""Constants of the speech front end, and how long things are on their way to the logits.

Source: Workload facts (librispeech_data), 3 and 4, and (librispeech_conformer), 2.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

SAMPLE_RATE = 16_000
"""Samples a second."""
SAMPLE_SCALE = 2.0**-15
"""Brings samples of 16 bits into [-1, 1)."""
FRAME_STEP = 160
"""Samples from one frame to the next, 10 ms."""
WINDOW_LENGTH = 400
"""Samples of a frame that are looked at, 25 ms."""
FRAME_LENGTH = WINDOW_LENGTH + 1
"""Samples of a frame. The last one is not looked at, but must be there for the frame to exist, and
counts when the frame's padding is decided."""
PREEMPHASIS = 0.97
FFT_LENGTH = 512
NUM_BINS = 80
LOWER_EDGE_HERTZ = 125.0
UPPER_EDGE_HERTZ = 7_600.0
MEL_FLOOR = 1e-5
"""Least power of a mel bin before the logarithm."""

# fmt: off
MEAN = np.array(
    [
        -7.6047816, -7.1206226, -6.8864245, -6.870577, -6.966772,
        -7.1084094, -6.9528027, -6.783994, -6.619552, -6.4876266,
        -6.412066, -6.3940477, -6.424487, -6.399371, -6.515827,
        -6.7138, -6.8476877, -6.9885, -6.9221387, -7.1461487,
        -7.20404, -7.0537553, -7.3140383, -7.122325, -7.302514,
        -7.1212144, -7.2425733, -7.1730537, -7.0979414, -7.0887475,
        -6.984991, -6.878773, -6.7602754, -6.6300945, -6.514577,
        -6.4245057, -6.3565135, -6.3178763, -6.266077, -6.246833,
        -6.2821527, -6.190839, -6.2484355, -6.147264, -6.0924726,
        -6.0171003, -5.9250402, -5.8535833, -5.820911, -5.811893,
        -5.8078375, -5.771463, -5.7453732, -5.7705655, -5.776564,
        -5.7831674, -5.7954087, -5.7994823, -5.8023477, -5.804712,
        -5.816818, -5.88448, -5.9727106, -6.044466, -6.1284866,
        -6.2257586, -6.3157496, -6.3906116, -6.49286, -6.5498457,
        -6.605432, -6.650838, -6.669176, -6.672689, -6.6842346,
        -6.697458, -6.7547183, -6.7949142, -6.863421, -6.9418654,
    ],
    np.float32,
)
# fmt: on
"""Of each bin's logarithm."""
# fmt: off
STDDEV = np.array(
    [
        3.4353282, 3.5962932, 3.7012472, 3.7369206, 3.7535105,
        3.6936293, 3.6922498, 3.7641523, 3.8419716, 3.8999848,
        3.929424, 3.931741, 3.9139585, 3.9031599, 3.8692,
        3.8155081, 3.764497, 3.7099106, 3.6965086, 3.6003766,
        3.5493226, 3.5465121, 3.450036, 3.4712813, 3.408461,
        3.4408135, 3.4104881, 3.421764, 3.4312851, 3.419921,
        3.4305806, 3.4382665, 3.4580367, 3.4817991, 3.495871,
        3.5036793, 3.5047574, 3.4988735, 3.493056, 3.4822943,
        3.4594305, 3.461277, 3.4559064, 3.4755423, 3.497155,
        3.5326557, 3.57052, 3.5920312, 3.5969074, 3.59135,
        3.5865932, 3.582681, 3.5837743, 3.589579, 3.5819314,
        3.583787, 3.5861185, 3.588959, 3.5922148, 3.5939455,
        3.585663, 3.5884113, 3.5921023, 3.587049, 3.580657,
        3.5731068, 3.5617533, 3.5498073, 3.5527375, 3.5475366,
        3.538785, 3.5256178, 3.5031836, 3.4922726, 3.4879646,
        3.4725595, 3.455839, 3.4351828, 3.4284294, 3.429917,
    ],
    np.float32,
)
# fmt: on
"""Of each bin's logarithm."""


@dataclass(frozen=True)
class SpecAugment:
    """The masks of training; the defaults are those of the full size.

    A time mask is shorter than ``time_mask_max_ratio`` of the utterance; the official limit of 40
    frames has no effect (Workload facts, librispeech_data, 4).

    Attributes:
      freq_mask_count: masks over bins of an utterance.
      freq_mask_max_bins: what the width of such a mask stays below.
      time_mask_count: masks over frames of an utterance.
      time_mask_max_ratio: part of the utterance's frames that a time mask's length stays below.

    Raises:
      ValueError: numbers that describe no masks.
    """

    freq_mask_count: int = 2
    freq_mask_max_bins: int = 27
    time_mask_count: int = 10
    time_mask_max_ratio: float = 0.05

    def __post_init__(self) -> None:
        if min(self.freq_mask_count, self.time_mask_count) < 0:
            raise ValueError(f"counts of masks must not be negative, got {self}")
        if not 0 <= self.freq_mask_max_bins <= NUM_BINS:
            raise ValueError(
                f"freq_mask_max_bins must be from 0 to {NUM_BINS}, got {self.freq_mask_max_bins}"
            )
        if not 0 <= self.time_mask_max_ratio <= 1:
            raise ValueError(
                f"time_mask_max_ratio must be from 0 to 1, got {self.time_mask_max_ratio}"
            )

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> SpecAugment | None:
        """Reads the masks of a workload's model; what it does not say is that of the full size.

        Returns:
          None if the model is trained without masks.
        """
        if not config["use_specaug"]:
            return None
        names = (field.name for field in dataclasses.fields(cls))
        return cls(**{name: config[name] for name in names if name in config})


def num_frames(samples: int) -> int:
    """Returns the number of whole frames in some samples of audio.

    Raises:
      ValueError: there is not even one.
    """
    if samples < FRAME_LENGTH:
        raise ValueError(f"audio must have at least {FRAME_LENGTH} samples, got {samples}")
    return (samples - FRAME_LENGTH) // FRAME_STEP + 1


def subsampled(length: int) -> int:
    """Returns how many frames, or bins, are left of ``length`` by the two strided convolutions."""
    for _ in range(2):
        length = -(-length // 2)
    return length


def same_padding(length: int) -> tuple[int, int]:
    """Returns the zeros before and after an axis for a kernel of 3 to halve it, as JAX's SAME.

    An even axis has one behind it, an odd one has one on each side.
    """
    return length % 2, 1


def window() -> np.ndarray:
    """Returns the periodic Hann window, float32 ``[WINDOW_LENGTH]``; it begins with 0."""
    places = np.arange(WINDOW_LENGTH)
    return (0.5 - 0.5 * np.cos(2 * np.pi * places / WINDOW_LENGTH)).astype(np.float32)


def mel_matrix(num_bins: int = NUM_BINS) -> np.ndarray:
    """Returns the weight of every frequency in every mel bin.

    Bins are triangles over the mel scale, each from the peak of the one before to that of the next;
    they are not normalised. One matrix for both frameworks, computed in doubles: the official ones
    differ from each other, and from this one, by up to 1.3e-5 (Decisions, 1).

    Args:
      num_bins: number of mel bins.

    Returns:
      Float32 ``[FFT_LENGTH // 2 + 1, num_bins]``; that of frequency 0 is 0.
    """
    edges = np.linspace(_mel(LOWER_EDGE_HERTZ), _mel(UPPER_EDGE_HERTZ), num_bins + 2)
    low, peak, high = edges[:-2], edges[1:-1], edges[2:]
    mel = _mel(np.linspace(0.0, SAMPLE_RATE / 2, FFT_LENGTH // 2 + 1))[:, None]
    weights = np.maximum(0.0, np.minimum((mel - low) / (peak - low), (high - mel) / (high - peak)))
    weights[0] = 0.0
    return np.asarray(weights, np.float32)


def _mel(hertz: np.ndarray | float) -> np.ndarray:
    return np.asarray(1127.0 * np.log1p(np.asarray(hertz) / 700.0))


def inverse_timescales(width: int) -> np.ndarray:
    """Returns the frequencies of the position embedding, from 1 down to 1 / 10,000.

    Args:
      width: of a frame; an odd one has a column without a frequency.

    Returns:
      Float32 ``[width // 2]``, in radians a frame.
    """
    count = width // 2
    frequencies = np.exp(-np.arange(count) * (np.log(10_000.0) / max(count - 1, 1)))
    return np.asarray(frequencies, np.float32)
