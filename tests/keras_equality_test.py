"""The default architectures are the networks of keras.applications, weight for weight.

The weights are random, and the statistics of every batch normalization are those of
the test's own images, so that differences anywhere in the network reach its output.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from absl.testing import absltest, parameterized

from search_spaces.mobile.efficientnet import IMAGENET_DEVIATION, IMAGENET_MEAN
from search_spaces.registry import get_space

CLASSES = 10

PUBLISHED = {
    "mobilenet_v2": keras.applications.MobileNetV2,
    "mobilenet_v2_1.4": lambda **options: keras.applications.MobileNetV2(
        alpha=1.4, **options
    ),
    "mobilenet_v3_small": keras.applications.MobileNetV3Small,
    "mobilenet_v3_large": keras.applications.MobileNetV3Large,
    "efficientnet_b0": keras.applications.EfficientNetB0,
}


def published(name: str, resolution: int, **options) -> keras.Model:
    return PUBLISHED[name](
        weights=None,
        input_shape=(resolution, resolution, 3),
        **{"classes": CLASSES, **options},
    )


def pictures(rng: np.random.Generator, number: int, resolution: int) -> np.ndarray:
    """Images that differ from each other: noise of few pixels, enlarged."""
    small = rng.uniform(0, 255, (number, 6, 6, 3))
    large = keras.ops.image.resize(small, (resolution, resolution))
    return keras.ops.convert_to_numpy(large).astype(np.float32)


def randomize(model: keras.Model, images: np.ndarray, rng: np.random.Generator):
    """Random weights; the moving statistics become those of the images.

    The variances are a little larger, so that channels which hardly vary do not
    magnify rounding.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            channels = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.5, 1.5, channels))
            layer.beta.assign(rng.normal(0, 0.3, channels))
            layer.momentum = 0.0
        elif getattr(layer, "use_bias", False):
            layer.bias.assign(rng.normal(0, 0.3, layer.bias.shape))
    model(images, training=True)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            variance = np.asarray(layer.moving_variance)
            layer.moving_variance.assign(variance + variance.mean() / 16)


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Sets the published model's weights, the preprocessing's to what we publish."""
    values = source.get_weights()
    normalizations = [
        layer
        for layer in target.layers
        if isinstance(layer, keras.layers.Normalization)
    ]
    if normalizations:
        # Mean, variance, and the number of samples that they were computed from.
        variance = np.square(IMAGENET_DEVIATION)
        values = [np.array(IMAGENET_MEAN), variance, np.array(0), *values]
    target.set_weights(values)
    for layer in normalizations:
        layer.finalize_state()


def run(model: Any, images: np.ndarray) -> np.ndarray:
    """Probabilities, without the compilation that `predict` starts with."""
    return np.asarray(model(images, training=False))


class KerasEqualityTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        keras.backend.clear_session()
        keras.utils.set_random_seed(0)

    @parameterized.parameters(
        ("mobilenet_v2", 75),
        ("mobilenet_v2_1.4", 64),
        ("mobilenet_v3_small", 64),
        ("mobilenet_v3_small", 224),
        ("mobilenet_v3_large", 75),
        ("efficientnet_b0", 64),
        ("efficientnet_b0", 75),
    )
    def test_same_weights_give_the_same_output(self, name, resolution):
        rng = np.random.default_rng(resolution)
        space = get_space(name, resolution=resolution, classes=CLASSES)
        ours, theirs = space.build(space.default), published(name, resolution)
        shapes = [tuple(weight.shape) for weight in ours.weights]
        expected = [tuple(weight.shape) for weight in theirs.weights]
        if name == "efficientnet_b0":
            self.assertEqual(expected[:3], [(3,), (3,), ()])
            expected = expected[3:]
        self.assertEqual(shapes, expected)

        images = pictures(rng, 8, resolution)
        randomize(ours, images, rng)
        copy_weights(ours, theirs)
        scaled = images / 127.5 - 1 if name.startswith("mobilenet_v2") else images
        output, wanted = run(ours, images), run(theirs, scaled)
        self.assertLess(np.abs(output - wanted).max(), 1e-5)
        # The test could not fail if the network gave the same for every image.
        self.assertGreater(output.std(axis=0).max(), 1e-3)

    @parameterized.parameters(
        ("mobilenet_v2", 3538984),
        ("mobilenet_v2_1.4", 6156712),
        ("mobilenet_v3_small", 2554968),
        ("mobilenet_v3_large", 5507432),
        ("efficientnet_b0", 5330571 - 7),
    )
    def test_params_of_a_thousand_classes(self, name, params):
        """EfficientNet's 7 are those of its normalization, which are constants here."""
        space = get_space(name)
        self.assertEqual(space.costs(space.default)["params"], params)

    @parameterized.parameters(
        ("mobilenet_v2", 0.35),
        ("mobilenet_v2", 1.3),
        ("mobilenet_v3_small", 0.75),
        ("mobilenet_v3_large", 1.25),
    )
    def test_width_is_the_alpha_of_keras(self, name, width):
        space = get_space(name, resolution=32, classes=CLASSES, width=width)
        theirs = published(name, 32, alpha=width)
        costs = space.costs(space.default)
        self.assertEqual(costs["params"], theirs.count_params())
        shapes = [tuple(weight.shape) for weight in space.build(space.default).weights]
        self.assertEqual(shapes, [tuple(weight.shape) for weight in theirs.weights])

    @parameterized.parameters("mobilenet_v3_small", "efficientnet_b0")
    def test_tf_keras_builds_the_same_network(self, name):
        """Quantization-aware training needs the network as a tf_keras model."""
        import tf_keras

        rng = np.random.default_rng(0)
        space = get_space(name, resolution=32, classes=CLASSES)
        # A random architecture: its default is not a special case.
        architecture = tuple(
            int(rng.integers(len(layer.options))) for layer in space.layers
        )
        ours = space.build(architecture)
        old = space.builder(architecture, keras_module=tf_keras)
        images = pictures(rng, 8, 32)
        randomize(ours, images, rng)
        old.set_weights(ours.get_weights())
        output = run(ours, images)
        self.assertLess(np.abs(output - run(old, images)).max(), 1e-5)
        self.assertGreater(output.std(axis=0).max(), 1e-3)


if __name__ == "__main__":
    absltest.main()
