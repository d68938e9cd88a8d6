"""Splits of images, and making rows of batches from them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from algoperf_ref.data.batches import Batch, Make
from algoperf_ref.data.imagenet import crops, mixup, randaugment
from algoperf_ref.data.imagenet.cache import ImageCache
from algoperf_ref.data.imagenet.decoding import decode
from algoperf_ref.data.imagenet.layout import SPLIT_PARTS, Layout
from algoperf_ref.data.imagenet.resizing import resize
from algoperf_ref.data.imagenet.stores import ImageStore, open_store
from algoperf_ref.data.philox import fold_in, stateless_uniform
from algoperf_ref.data.streams import ShuffledStream
from algoperf_ref.errors import MissingDataError

IMAGE_SIZE = 224
"""Height and width of the images of the full tier."""
MEAN = np.array([0.485, 0.456, 0.406], np.float32) * 255
STD = np.array([0.229, 0.224, 0.225], np.float32) * 255
"""Of the channels, on the scale 0 to 255. Source: Workload facts, imagenet_resnet, 1."""
NUM_CLASSES = {"full": 1000, "mini": 10}
"""By tier."""

# Told apart from other uses of the data seed: the letters "crop".
_PURPOSE = 0x63726F70


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; the evaluation splits are not.

    Attributes:
      min_area: least share of an image that a random crop covers (but see ``crops.MIN_COVERED``).
      flip: whether half of the images are mirrored.
      randaugment_layers: operations of RandAugment on each image; 0 for none.
      randaugment_magnitude: of these operations.
      mixup_alpha: of the mixup of neighbours; 0 for none, and then targets are labels.
    """

    min_area: float = crops.AREA_RANGE[0]
    flip: bool = True
    randaugment_layers: int = 0
    randaugment_magnitude: float = randaugment.MAGNITUDE
    mixup_alpha: float = 0.0

    @property
    def numbers(self) -> int:
        """Random numbers that an image uses: its crop's, its flip's, its operations'."""
        return crops.NUMBERS + 1 + self.randaugment_layers * randaugment.NUMBERS_PER_LAYER


RESNET = Augmentation()
"""Of the ResNet workloads. Source: Workload facts, imagenet_resnet, 5."""
VIT = Augmentation(randaugment_layers=randaugment.LAYERS, mixup_alpha=mixup.ALPHA)
"""Of the ViT workloads. Source: Workload facts, imagenet_vit, 5."""


class ImagenetSplit:
    """The images of a split, in the order of their file names.

    Attributes:
      name: ``train``, ``eval_train``, ``validation`` or ``test``.
      store: the encoded images.
      image_size: height and width of the images that are made.
      num_classes: number of labels.
      augmentation: of the split ``train``; None for the others.
    """

    def __init__(
        self,
        name: str,
        store: ImageStore,
        *,
        image_size: int = IMAGE_SIZE,
        num_classes: int = NUM_CLASSES["full"],
        augmentation: Augmentation = RESNET,
        cache: ImageCache | None = None,
    ) -> None:
        """
        Args:
          cache: keeps decoded images; None keeps none.
          name, store, image_size, num_classes, augmentation: see the attributes.
        """
        self.name = name
        self.store = store
        self.image_size = image_size
        self.num_classes = num_classes
        self.augmentation = augmentation if name == "train" else None
        self._cache = cache
        # A line of the image at a time: numpy is slow at rows of three.
        self._mean = np.tile(MEAN, image_size)
        self._scale = np.tile(1 / STD, image_size)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.store.labels)

    def image(self, example: int) -> NDArray[np.uint8]:
        """A decoded image, uint8 [height, width, 3], not to be changed; any thread may ask.

        Raises:
          UnusableImage: it cannot be read or decoded; names the file.
        """
        part = SPLIT_PARTS[self.name]
        kept = self._cache.get(part, example) if self._cache else None
        if kept is not None:
            return kept
        pixels = decode(self.store.read(example), self.store.describe(example))
        if self._cache:
            self._cache.put(part, example, pixels)
        return pixels

    def make(
        self,
        data_seed: int = 0,
        *,
        global_batch_size: int | None = None,
        threads: int = 0,
    ) -> Make:
        """Returns what makes rows of batches; any number of threads may use it at once.

        Args:
          data_seed: of the run. What is random about a training image is a pure function of it and
            of the image's position in the stream; evaluation images have nothing random.
          global_batch_size: rows of a batch over all processes; mixup must know it, since a row is
            mixed with the row before it in the global batch.
          threads: how many more threads share the rows of a batch; 0 makes them in the caller's.
            Batches made one at a time by many threads need less memory than many batches at once.

        Returns:
          A function of the numbers of n examples and of their positions. It returns ``inputs``,
          float32 [n, image_size, image_size, 3], normalised, and ``targets``, int32 [n]; with
          mixup, float32 [n, num_classes], and then the positions must follow each other within a
          global batch of a stream of this data seed. It raises
          :class:`~algoperf_ref.data.imagenet.decoding.UnusableImage` for a file that cannot be
          decoded, by name.

        Raises:
          ValueError: mixup without ``global_batch_size``.
        """
        varied = self.augmentation
        pool = ThreadPoolExecutor(threads, "algoperf-images") if threads > 0 else None
        if varied is None or varied.mixup_alpha == 0:

            def make(examples: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
                images = self._new(len(examples))
                self._fill(images, examples, positions, data_seed, pool)
                return {"inputs": images, "targets": self.store.labels[examples]}

            return make
        if global_batch_size is None:
            raise ValueError("mixup needs the global batch size")
        size = global_batch_size
        stream = ShuffledStream(len(self), data_seed)
        alpha = varied.mixup_alpha

        def make_mixed(examples: NDArray[np.int64], positions: NDArray[np.int64]) -> Batch:
            before = int(mixup.partners(positions[:1], size)[0])
            step = int(positions[0]) // size
            if positions[-1] // size != step or np.any(np.diff(positions) != 1):
                raise ValueError("mixup takes consecutive rows of one global batch")
            extra = before not in (positions[0], positions[-1])
            if extra:
                positions = np.concatenate([[before], positions])
                examples = np.concatenate([[stream[before]], examples])
            images = self._new(len(examples))
            self._fill(images, examples, positions, data_seed, pool)
            targets = np.zeros((len(examples), self.num_classes), np.float32)
            targets[np.arange(len(examples)), self.store.labels[examples]] = 1
            share = mixup.weight(data_seed, step, alpha)
            mixed: Batch = {}
            for name, rows in (("inputs", images), ("targets", targets)):
                own, partner = (rows[1:], rows[0]) if extra else (rows, rows[-1].copy())
                mixup.mix(own, partner, share)
                mixed[name] = own
            return mixed

        return make_mixed

    def _new(self, rows: int) -> NDArray[np.float32]:
        return np.empty((rows, self.image_size, self.image_size, 3), np.float32)

    def _fill(
        self,
        images: NDArray[np.float32],
        examples: NDArray[np.int64],
        positions: NDArray[np.int64],
        data_seed: int,
        pool: ThreadPoolExecutor | None,
    ) -> None:
        uniforms: Sequence[Sequence[float]] = [()] * len(examples)
        if self.augmentation is not None:
            seed = np.random.SeedSequence([data_seed, _PURPOSE]).generate_state(2, np.uint64)
            drawn = stateless_uniform(fold_in(seed, positions), self.augmentation.numbers)
            uniforms = drawn.tolist()
        work = zip(np.asarray(examples).tolist(), uniforms, images, strict=True)
        if pool is None:
            for row in work:
                self._row(*row)
        else:
            for _ in pool.map(lambda row: self._row(*row), work):
                pass

    def _row(self, example: int, uniforms: Sequence[float], out: NDArray[np.float32]) -> None:
        image = self.image(example)
        height, width, _ = image.shape
        varied = self.augmentation
        if varied is None:
            box, flip = crops.central_crop(height, width), False
        else:
            box = crops.random_crop(height, width, uniforms[: crops.NUMBERS], varied.min_area)
            flip = varied.flip and uniforms[crops.NUMBERS] < 0.5
        part = image[box.top : box.top + box.height, box.left : box.left + box.width]
        resize(part, out, flip=flip)
        lines = out.reshape(self.image_size, -1)
        pixels: NDArray[np.float32] | NDArray[np.uint8] = lines
        if varied is not None and varied.randaugment_layers:
            whole = np.clip(out, 0, 255, out=out).astype(np.uint8)
            changed = randaugment.randaugment(
                whole,
                uniforms[crops.NUMBERS + 1 :],
                layers=varied.randaugment_layers,
                magnitude=varied.randaugment_magnitude,
            )
            pixels = changed.reshape(lines.shape)
        np.subtract(pixels, self._mean, out=lines)
        np.multiply(lines, self._scale, out=lines)


def open_split(
    data_dir: str | PathLike[str],
    tier: str,
    split: str,
    *,
    expected_examples: int | None = None,
    image_size: int = IMAGE_SIZE,
    augmentation: Augmentation = RESNET,
    cache: ImageCache | None = None,
) -> ImagenetSplit:
    """Opens a split.

    Args:
      data_dir: as given to ``python -m algoperf_ref.data prepare``.
      tier: ``full`` or ``mini``.
      split: ``train``, ``eval_train`` (the training images as an evaluation sees them),
        ``validation`` or ``test``.
      expected_examples: number of images that the split must have; None: any. For ``eval_train``,
        that of the training split.
      image_size: height and width of the images to make.
      augmentation: of training images; the other splits have none.
      cache: keeps decoded images, also those of other splits; None keeps none.

    Raises:
      MissingDataError: the split is absent, or has another number of images or of classes.
      UserError: the data are not as they should be, or a package is missing.
      ValueError: no such tier or split.
    """
    layout = Layout.of(data_dir, tier)
    if split not in SPLIT_PARTS:
        raise ValueError(f"unknown split {split!r}, expected one of {tuple(SPLIT_PARTS)}")
    store = open_store(layout, SPLIT_PARTS[split])
    opened = ImagenetSplit(
        split,
        store,
        image_size=image_size,
        num_classes=NUM_CLASSES[layout.tier],
        augmentation=augmentation,
        cache=cache,
    )
    if expected_examples is not None and len(opened) != expected_examples:
        raise MissingDataError(
            f"{store.place} has {len(opened):,} {split} images, but the {layout.tier} tier has "
            f"{expected_examples:,}; prepare it with: {layout.prepare_command()}"
        )
    if len(opened) and store.labels.max() >= opened.num_classes:
        raise MissingDataError(
            f"{store.place} has {store.labels.max() + 1} classes, but the {layout.tier} tier has "
            f"{opened.num_classes}; prepare it with: {layout.prepare_command()}"
        )
    return opened
