"""From audio to normalised log-mel features, and the masks of SpecAugment, in PyTorch.

Twin of ``front_end_jax``. Source: Workload facts (librispeech_data), 3 and 4.
"""

from __future__ import annotations

import functools

import torch
from torch import nn

from algoperf_ref.workloads.librispeech import features as constants
from algoperf_ref.workloads.librispeech.features import SpecAugment


class _Spectrum(nn.Module):
    """A place in the tree of buffers, that of the window."""

    window: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.tensor(constants.window())[None, None, :, None])


class LogMel(nn.Module):
    """Maps audio to features; see :func:`log_mel`. Its buffers are those of the official module."""

    _normalizer_mean: torch.Tensor
    _normalizer_stddev: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, vector in (("mean", constants.MEAN), ("stddev", constants.STDDEV)):
            self.register_buffer(f"_normalizer_{name}", torch.tensor(vector)[None, None, :, None])
        self.stft = _Spectrum()

    def forward(
        self, audio: torch.Tensor, paddings: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns features ``[batch, frames, 80]`` and their paddings ``[batch, frames]``."""
        return _log_mel(
            audio,
            paddings,
            self.stft.window.flatten(),
            self._normalizer_mean.flatten(),
            self._normalizer_stddev.flatten(),
        )


def log_mel(audio: torch.Tensor, paddings: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns features, float32 ``[batch, frames, 80]``, and their paddings ``[batch, frames]``.

    Args:
      audio: float32 ``[batch, samples]``, in the range of 16 bits; at least 401 samples.
      paddings: float32 ``[batch, samples]``, 1 where the audio is padding. A frame is padding if
        all its samples are.

    Raises:
      ValueError: audio of another shape, or too short.
    """
    outputs: tuple[torch.Tensor, torch.Tensor] = LogMel().to(audio.device)(audio, paddings)
    return outputs


@torch.no_grad()
def _log_mel(
    audio: torch.Tensor,
    paddings: torch.Tensor,
    window: torch.Tensor,
    mean: torch.Tensor,
    stddev: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Does what :func:`log_mel` says; nothing here can be trained."""
    if audio.ndim != 2 or audio.shape != paddings.shape:
        raise ValueError(
            f"audio and paddings must be [batch, samples], got {(*audio.shape,)} and "
            f"{(*paddings.shape,)}"
        )
    constants.num_frames(audio.shape[1])  # Refuses what is too short.
    audio = audio * (1 - paddings) * constants.SAMPLE_SCALE
    # Pre-emphasis is of each frame, whose first sample has none before it; but the window is 0
    # there, so the whole of the audio can have it at once.
    emphasised = audio.clone()
    emphasised[:, 1:] -= constants.PREEMPHASIS * audio[:, :-1]
    frames = emphasised.unfold(1, constants.FRAME_LENGTH, constants.FRAME_STEP)
    spectrum = torch.fft.rfft(frames[..., : constants.WINDOW_LENGTH] * window, constants.FFT_LENGTH)
    power = spectrum.real.square() + spectrum.imag.square()
    mel = power @ _mel_matrix(audio.device)
    features = (mel.clamp_min(constants.MEL_FLOOR).log() - mean) / stddev
    frame_paddings = paddings.unfold(1, constants.FRAME_LENGTH, constants.FRAME_STEP).amin(-1)
    return features, frame_paddings


@functools.cache
def _mel_matrix(device: torch.device) -> torch.Tensor:
    """Not a buffer: the official module has none."""
    return torch.tensor(constants.mel_matrix(), device=device)


def spec_augment(
    features: torch.Tensor, paddings: torch.Tensor, parameters: SpecAugment
) -> torch.Tensor:
    """Sets random stretches of frames and random bands of bins to 0, others in every example.

    Random numbers come from torch's global generator, as those of dropout.

    Args:
      features: float32 ``[batch, frames, bins]``.
      paddings: ``[batch, frames]``, 1 behind the end.
      parameters: number and size of the masks.

    Returns:
      Tensor like ``features``.
    """
    batch, device = len(features), features.device
    return mask_features(
        features,
        paddings,
        parameters,
        torch.rand(2, batch, parameters.time_mask_count, device=device),
        torch.rand(2, batch, parameters.freq_mask_count, device=device),
    )


def mask_features(
    features: torch.Tensor,
    paddings: torch.Tensor,
    parameters: SpecAugment,
    time_uniforms: torch.Tensor,
    freq_uniforms: torch.Tensor,
) -> torch.Tensor:
    """Masks as :func:`spec_augment` does, with given random numbers.

    Args:
      features, paddings, parameters: as there.
      time_uniforms: float32 ``[2, batch, masks]`` in [0, 1), for sizes and for places.
      freq_uniforms: likewise.

    Returns:
      Tensor like ``features``.
    """
    _, frames, bins = features.shape
    lengths = (1 - paddings).sum(1).int()
    most_frames = parameters.time_mask_max_ratio * lengths.float()
    in_time = _masked(time_uniforms, lengths, most_frames, frames)
    most_bins = torch.full_like(most_frames, parameters.freq_mask_max_bins)
    in_frequency = _masked(freq_uniforms, torch.full_like(lengths, bins), most_bins, bins)
    return features.masked_fill(in_time[:, :, None] | in_frequency[:, None, :], 0.0)


def _masked(
    uniforms: torch.Tensor,
    ranges: torch.Tensor,
    most: torch.Tensor,
    places: int,
) -> torch.Tensor:
    """Which of ``places`` are under a mask, ``[batch, places]``.

    Args:
      uniforms: ``[2, batch, masks]``.
      ranges: int ``[batch]``; masks are within it.
      most: float ``[batch]``, what sizes stay below. The official code bounds them once more, by a
        number that is never smaller.
    """
    sizes = (most[:, None] * uniforms[0]).int()
    rest = (ranges[:, None] - sizes + 1).float()
    starts = (uniforms[1] * rest).int()
    place = torch.arange(places, device=uniforms.device)
    return ((place >= starts[..., None]) & (place < (starts + sizes)[..., None])).any(1)
