"""A tiny search space and data set that train in moments."""

from __future__ import annotations

import dataclasses

import numpy as np

from layernas_tf.datasets.split import ArraySplit, Dataset
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Option, State

CLASSES = 3


def stripes(size: int = 192, seed: int = 0) -> Dataset:
    """Gray 16x16 images: stripes across, stripes down, or a checkerboard, in noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:16, :16] // 2 % 2
    patterns = np.stack([rows, columns, rows ^ columns])

    def split(number: int) -> ArraySplit:
        labels = np.arange(number, dtype=np.int32) % CLASSES
        images = patterns[labels] * 120.0 + generator.normal(60, 25, (number, 16, 16))
        return ArraySplit(np.clip(images, 0, 255).astype(np.uint8)[..., None], labels)

    return Dataset(
        name="stripes",
        classes=CLASSES,
        class_names=("across", "down", "checkers"),
        shape=(16, 16, 1),
        train=split(size),
        valid=split(60),
        test=split(60),
        mirrors=True,
    )


class Untouchable:
    """A split that fails the test when anything looks at it."""

    def __getattr__(self, name):
        raise AssertionError(f"the test set was touched: {name}")


def without_test(dataset: Dataset) -> Dataset:
    """The data set with a test split that nobody may look at."""
    return dataclasses.replace(dataset, test=Untouchable())


def network(widths: tuple[int, ...] = (8, 8), *, dropout: float = 0.0, logits=False):
    """Stem, one block per width (expand, depthwise, project), classifier."""
    from keras import Input, Model, layers

    image = Input((16, 16, 1))
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(image)
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.999)(x)
    for width in widths:
        y = layers.Conv2D(16, 1, use_bias=False)(x)
        y = layers.Activation("hard_swish")(
            layers.BatchNormalization(momentum=0.999)(y)
        )
        y = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(y)
        y = layers.Conv2D(width, 1, use_bias=False)(y)
        y = layers.BatchNormalization(momentum=0.999)(y)
        x = layers.Add()([x, y]) if x.shape[-1] == width else y
    x = layers.GlobalAveragePooling2D()(x)
    if dropout:
        x = layers.Dropout(dropout)(x)
    x = layers.Dense(CLASSES)(x)
    return Model(image, x if logits else layers.Softmax()(x))


def photos(size: int = 16, classes: int = 1000, dropout: float = 0.0):
    """A network for RGB images of many classes, as quick as there can be."""
    from keras import Input, Model, layers

    image = Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(image)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return Model(image, layers.Dense(classes, activation="softmax")(x))


WIDTHS = (8, 12)


def space(builder=None) -> SearchSpace:
    """Three blocks, each 8 or 12 filters wide; cost is the number of filters."""

    def transition(state: State, option: Option):
        filters = option["filters"]
        costs = dict.fromkeys(
            ("madds", "params", "model_bytes", "float32_bytes", "peak_memory_bytes"),
            filters,
        )
        return State(filters, 8, 8), costs

    options = tuple(Option.of(filters=width) for width in WIDTHS)
    return SearchSpace(
        name="three_blocks",
        start=State(1, 16, 16),
        layers=tuple(Layer(f"block{i}", options, 0, transition) for i in range(3)),
        builder=builder
        or (lambda architecture: network(tuple(WIDTHS[i] for i in architecture))),
    )
