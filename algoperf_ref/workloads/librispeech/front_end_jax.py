"""From audio to normalised log-mel features, and the masks of SpecAugment, in JAX.

Twin of ``front_end_torch``. Source: Workload facts (librispeech_data), 3 and 4.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from algoperf_ref.workloads.librispeech import features as constants
from algoperf_ref.workloads.librispeech.features import SpecAugment

# A frame is less than three steps long, so frames are made of whole steps, which cost no gather.
_STEPS = -(-constants.FRAME_LENGTH // constants.FRAME_STEP)


def log_mel(audio: jax.Array, paddings: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns features, float32 ``[batch, frames, 80]``, and their paddings ``[batch, frames]``.

    Audio is taken as constant: no gradient with respect to it is meant to be asked for.

    Args:
      audio: float32 ``[batch, samples]``, in the range of 16 bits; at least 401 samples.
      paddings: float32 ``[batch, samples]``, 1 where the audio is padding. A frame is padding if
        all its samples are.

    Raises:
      ValueError: audio of another shape, or too short.
    """
    if audio.ndim != 2 or audio.shape != paddings.shape:
        raise ValueError(
            "audio and paddings must be [batch, samples], got "
            f"{tuple(audio.shape)} and {tuple(paddings.shape)}"
        )
    count = constants.num_frames(audio.shape[1])
    audio = audio * (1 - paddings) * constants.SAMPLE_SCALE
    # Pre-emphasis is of each frame, whose first sample has none before it; but the window is 0
    # there, so the whole of the audio can have it at once.
    before = jnp.pad(audio[:, :-1], ((0, 0), (1, 0)))
    frames = _frames(audio - constants.PREEMPHASIS * before, count, constants.WINDOW_LENGTH)
    spectrum = jnp.fft.rfft(frames * constants.window(), constants.FFT_LENGTH)
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag)
    # In full precision on every device: it decides on logarithms.
    mel = jnp.dot(power, constants.mel_matrix(), precision=jax.lax.Precision.HIGHEST)
    logarithm = jnp.log(jnp.maximum(mel, constants.MEL_FLOOR))
    features = (logarithm - constants.MEAN) / constants.STDDEV
    return features, _frame_paddings(paddings, count)


def spec_augment(
    features: jax.Array, paddings: jax.Array, parameters: SpecAugment, key: jax.Array
) -> jax.Array:
    """Sets random stretches of frames and random bands of bins to 0, others in every example.

    Args:
      features: float32 ``[batch, frames, bins]``.
      paddings: ``[batch, frames]``, 1 behind the end.
      parameters: number and size of the masks.
      key: ``uint32[2]`` random key.

    Returns:
      Array like ``features``.
    """
    time_key, freq_key = jax.random.split(key)
    batch = features.shape[0]
    return mask_features(
        features,
        paddings,
        parameters,
        jax.random.uniform(time_key, (2, batch, parameters.time_mask_count)),
        jax.random.uniform(freq_key, (2, batch, parameters.freq_mask_count)),
    )


def mask_features(
    features: jax.Array,
    paddings: jax.Array,
    parameters: SpecAugment,
    time_uniforms: jax.Array,
    freq_uniforms: jax.Array,
) -> jax.Array:
    """Masks as :func:`spec_augment` does, with given random numbers.

    Args:
      features, paddings, parameters: as there.
      time_uniforms: float32 ``[2, batch, masks]`` in [0, 1), for sizes and for places.
      freq_uniforms: likewise.

    Returns:
      Array like ``features``.
    """
    batch, frames, bins = features.shape
    lengths = (1 - paddings).sum(1).astype(jnp.int32)
    most_frames = parameters.time_mask_max_ratio * lengths.astype(jnp.float32)
    in_time = _masked(time_uniforms, lengths, most_frames, frames)
    most_bins = jnp.full(batch, parameters.freq_mask_max_bins, jnp.float32)
    in_frequency = _masked(freq_uniforms, jnp.full_like(lengths, bins), most_bins, bins)
    return jnp.where(in_time[:, :, None] | in_frequency[:, None, :], 0.0, features)


def _masked(uniforms: jax.Array, ranges: jax.Array, most: jax.Array, places: int) -> jax.Array:
    """Which of ``places`` are under a mask, ``[batch, places]``.

    Args:
      uniforms: ``[2, batch, masks]``.
      ranges: int ``[batch]``; masks are within it.
      most: float ``[batch]``, what sizes stay below. The official code bounds them once more, by a
        number that is never smaller.
    """
    sizes = (most[:, None] * uniforms[0]).astype(jnp.int32)
    rest = (ranges[:, None] - sizes + 1).astype(jnp.float32)
    starts = (uniforms[1] * rest).astype(jnp.int32)
    place = jnp.arange(places)
    return ((place >= starts[..., None]) & (place < (starts + sizes)[..., None])).any(1)


def _frames(values: jax.Array, count: int, length: int) -> jax.Array:
    """The first ``length`` samples of each frame, ``[batch, count, length]``."""
    return jnp.concatenate(_parts(values, count, length), -1)


def _frame_paddings(paddings: jax.Array, count: int) -> jax.Array:
    """The least padding of each frame, ``[batch, count]``."""
    parts = _parts(paddings, count, constants.FRAME_LENGTH)
    return jnp.stack([part.min(-1) for part in parts]).min(0)


def _parts(values: jax.Array, count: int, length: int) -> list[jax.Array]:
    """The frames cut where steps end: arrays ``[batch, count, step or less]``."""
    step = constants.FRAME_STEP
    total = (count + _STEPS - 1) * step
    samples = min(values.shape[1], total)
    whole = jnp.pad(values[:, :samples], ((0, 0), (0, total - samples)))
    steps = whole.reshape(len(values), -1, step)
    return [
        steps[:, number : number + count, : min(step, length - number * step)]
        for number in range(_STEPS)
        if number * step < length
    ]
