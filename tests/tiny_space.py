"""A space of nine networks that train in a second, and images for them."""

from __future__ import annotations

import dataclasses

import numpy as np

from layernas_tf.datasets import ArraySplit, Dataset
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State


def tiny_space() -> SearchSpace:
    """Two convolutions of 2, 4 or 8 filters for images of 8x8 pixels."""

    def transition(state: State, option: Option):
        filters = option["filters"]
        madds = 9 * state.channels * filters * state.height * state.width
        return dataclasses.replace(state, channels=filters), {"madds": madds}

    def build(architecture):
        import keras

        image = keras.Input((8, 8, 1))
        x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
        for index in architecture:
            x = keras.layers.Conv2D(2 << index, 3, activation="relu")(x)
        if architecture == (0, 2):
            raise MemoryError("does not fit")
        x = keras.layers.GlobalAveragePooling2D()(x)
        return keras.Model(image, keras.layers.Dense(3)(x))

    options = tuple(Option.of(filters=filters) for filters in (2, 4, 8))
    return SearchSpace(
        name="tiny",
        start=State(1, 8, 8),
        layers=tuple(Layer(name, options, 1, transition) for name in ("a", "b")),
        metrics=(Metric("madds"),),
        builder=build,
    )


def stripes() -> Dataset:
    """Images whose brightness tells the class."""
    rng = np.random.default_rng(0)

    def split(count: int) -> ArraySplit:
        labels = np.arange(count, dtype=np.int32) % 3
        images = (
            rng.integers(0, 60, (count, 8, 8, 1)) + labels[:, None, None, None] * 90
        )
        return ArraySplit(images.astype(np.uint8), labels)

    return Dataset(
        name="stripes",
        classes=3,
        class_names=("a", "b", "c"),
        shape=(8, 8, 1),
        train=split(48),
        valid=split(24),
        test=split(30),
        mirrors=False,
    )
