"""The Keras profiler, the chain and TensorFlow's graph profiler count alike.

LAYERNAS_LONG_TESTS=1 raises the number of random architectures of each space from 2
to 50.
"""

from __future__ import annotations

import os

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.costs.keras_profiler import profile
from search_spaces.registry import get_space
from tests.graph_madds import graph_madds

ARCHITECTURES = 50 if os.environ.get("LAYERNAS_LONG_TESTS") == "1" else 2


class SpacesTest(parameterized.TestCase):
    @parameterized.parameters(
        ("mobilenet_v2", 32, 1.0),
        ("mobilenet_v2_1.4", 64, 1.4),
        ("mobilenet_v3_small", 32, 1.0),
        ("mobilenet_v3_large", 75, 0.75),
        ("efficientnet_b0", 33, 1.0),
    )
    def test_random_architectures(self, name, resolution, width):
        space = get_space(name, resolution=resolution, classes=10, width=width)
        rng = np.random.default_rng(0)
        for _ in range(ARCHITECTURES):
            architecture = tuple(
                int(rng.integers(len(layer.options))) for layer in space.layers
            )
            keras.backend.clear_session()
            model = space.build(architecture)
            found, costs = profile(model), space.costs(architecture)
            self.assertEqual(found["madds"], costs["madds"], architecture)
            self.assertEqual(found["params"], costs["params"], architecture)
            self.assertEqual(graph_madds(model), costs["madds"], architecture)
            batch = space.chain.costs(np.array([architecture]))
            self.assertEqual({key: value[0] for key, value in batch.items()}, costs)


class OwnModelsTest(parameterized.TestCase):
    def test_model_of_the_user(self):
        layers = keras.layers
        x = images = keras.Input((9, 7, 6))
        x = layers.Conv2D(12, 3, padding="same", groups=3)(x)  # 9 x 7
        x = layers.SeparableConv2D(10, 3, strides=2, padding="same")(x)  # 5 x 4
        x = layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x)  # 10 x 8
        x = layers.Dense(5)(x)
        x = layers.Flatten()(x)
        model = keras.Model(images, layers.Dense(2)(x))
        expected = 63 * 9 * 2 * 12
        expected += 20 * (9 * 12 + 12 * 10)
        expected += 20 * 9 * 10 * 4
        expected += 80 * 4 * 5
        expected += 400 * 2
        found = profile(model)
        self.assertEqual(found["madds"], expected)
        self.assertEqual(found["params"], model.count_params())

    def test_layers_used_twice_and_models_inside_count_every_time(self):
        inner = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(3, 1)])
        images = keras.Input((4, 4, 3))
        once = keras.Model(images, inner(images))
        twice = keras.Model(images, inner(inner(images)))
        self.assertEqual(profile(inner)["madds"], 16 * 9)
        self.assertEqual(profile(once)["madds"], 16 * 9)
        self.assertEqual(profile(twice)["madds"], 2 * 16 * 9)

    def test_layer_that_belongs_to_two_models_counts_once_in_each(self):
        images = keras.Input((4, 4, 3))
        shared = keras.layers.Conv2D(3, 1)
        first = keras.Model(images, shared(images))
        other = keras.Input((8, 8, 3))
        second = keras.Model(other, shared(other))
        self.assertEqual(profile(first)["madds"], 16 * 9)
        self.assertEqual(profile(second)["madds"], 64 * 9)

    def test_trainable_params_leave_moving_statistics_out(self):
        model = keras.Sequential(
            [keras.Input((4, 4, 3)), keras.layers.BatchNormalization()]
        )
        found = profile(model)
        self.assertEqual((found["params"], found["trainable_params"]), (12, 6))

    def test_tf_keras_model(self):
        import tf_keras

        images = tf_keras.Input((4, 4, 3))
        x = tf_keras.layers.DepthwiseConv2D(3, padding="same")(images)
        model = tf_keras.Model(images, tf_keras.layers.Dense(2)(x))
        self.assertEqual(profile(model)["madds"], 16 * 9 * 3 + 16 * 3 * 2)

    def test_unknown_image_size_is_refused(self):
        model = keras.Sequential(
            [keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3)]
        )
        with self.assertRaisesRegex(UserError, "image size must be known"):
            profile(model)

    def test_model_that_is_not_built_is_refused(self):
        with self.assertRaisesRegex(UserError, "not built"):
            profile(keras.Sequential([keras.layers.Dense(2)]))


if __name__ == "__main__":
    absltest.main()
