"""The plain way to make a slice: every documented step on whole arrays, one slice after the other.

This is what a straightforward input pipeline does with numpy. It makes the same slices as ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


def one(
    kspace: NDArray[np.complex64], target: NDArray[np.float32], mask: NDArray[np.bool_]
) -> dict[str, Any]:
    """A finished slice from its k-space, its target and its mask."""
    masked = kspace * mask.astype(np.float32)
    image = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(masked), norm="ortho"))
    top, left = ((size - part) // 2 for size, part in zip(image.shape, target.shape, strict=True))
    cropped = image[top : top + target.shape[0], left : left + target.shape[1]]
    magnitude = np.sqrt(cropped.real**2 + cropped.imag**2)
    mean, std = magnitude.mean(), magnitude.std()
    return {
        "inputs": np.clip((magnitude - mean) / std, -6, 6),
        "targets": np.clip((target - mean) / std, -6, 6),
        "mean": mean,
        "std": std,
    }


def batches(
    slices: Iterable[tuple[NDArray[np.complex64], NDArray[np.float32], NDArray[np.bool_]]],
    size: int,
) -> Iterator[dict[str, NDArray[Any]]]:
    """Stacks finished slices; a rest that fills no batch is dropped."""
    waiting = []
    for kspace, target, mask in slices:
        waiting.append(one(kspace, target, mask))
        if len(waiting) == size:
            yield {name: np.stack([made[name] for made in waiting]) for name in waiting[0]}
            waiting = []
