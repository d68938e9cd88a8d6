"""Structural similarity of images in PyTorch; twin of ``ssim_jax``."""

from __future__ import annotations

import torch

from algoperf_ref.workloads.fastmri.ssim import K1, K2, PIXELS, WINDOW, check_shapes


def ssim(
    logits: torch.Tensor,
    targets: torch.Tensor,
    mean: torch.Tensor | None = None,
    std: torch.Tensor | None = None,
    volume_max: torch.Tensor | None = None,
) -> torch.Tensor:
    """Structural similarity index of each pair of images, on the device.

    Images are compared in their original units, ``image * std + mean``, by uniform windows that
    lie inside the image.

    Args:
      logits: predicted images, float ``[examples, height, width]``, normalised.
      targets: true images, like ``logits``.
      mean: of each slice, float ``[examples]``; None is 0.
      std: of each slice, float ``[examples]``; None is 1.
      volume_max: range of the values of each slice, float ``[examples]``; None is 1, and so is a
        range of 0. So padding of zeros has similarity 1, not NaN.

    Returns:
      Float ``[examples]``, in [-1, 1].

    Raises:
      ValueError: shapes that differ, or images smaller than the window.
      Source: Workload facts (fastmri), 4.
    """
    check_shapes(tuple(logits.shape), tuple(targets.shape))
    if std is not None:
        logits, targets = logits * std[:, None, None], targets * std[:, None, None]
    level = torch.ones_like(logits[:, 0, 0]) if volume_max is None else volume_max
    level = torch.where(level == 0, 1.0, level)[:, None, None]

    products = [logits, targets, logits * logits, targets * targets, logits * targets]
    x, y, xx, yy, xy = _window_sums(torch.stack(products))
    # From sums, since dividing before subtracting costs digits; and without the mean: a shift
    # leaves covariances as they are, but costs digits too.
    scale = 1.0 / (PIXELS * (PIXELS - 1))
    variances = ((PIXELS * xx - x * x) + (PIXELS * yy - y * y)) * scale
    covariance = (PIXELS * xy - x * y) * scale
    ux, uy = x / PIXELS, y / PIXELS
    if mean is not None:
        ux, uy = ux + mean[:, None, None], uy + mean[:, None, None]
    c1, c2 = (K1 * level) ** 2, (K2 * level) ** 2
    # Two quotients, not one of products, which would leave float32's range for dark images.
    luminance = (2.0 * ux * uy + c1) / (ux * ux + uy * uy + c1)
    structure = (2.0 * covariance + c2) / (variances + c2)
    quotients = luminance * structure
    return quotients.mean((1, 2)).clamp(-1.0, 1.0)


def _window_sums(maps: torch.Tensor) -> torch.Tensor:
    """Returns the sum over every window inside the images, two axes shorter by the window less 1.

    Sums of shifted images: in float32 on every device, where a convolution may round its inputs,
    and quicker than pooling on a CPU.
    """
    for axis in (-2, -1):
        count = maps.shape[axis] - WINDOW + 1
        total = maps.narrow(axis, 0, count).clone()
        for start in range(1, WINDOW):
            total += maps.narrow(axis, start, count)
        maps = total
    return maps
