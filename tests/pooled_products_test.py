"""Convolutions of one pixel as matrix products."""

from __future__ import annotations

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.training.pooled_products import multiply_pooled, pooled_products


def network(side: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, 6))
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    gate = keras.layers.Conv2D(6, 1, activation="sigmoid")(x)
    x = keras.layers.Multiply()([inputs, gate])
    return keras.Model(inputs, keras.layers.Conv2D(4, 1, use_bias=False)(x))


class PooledProductsTest(parameterized.TestCase):
    @parameterized.parameters(1, 3)
    def test_outputs_and_gradients_are_those_of_the_convolution(self, side):
        import tensorflow as tf

        model = network(side)
        images = tf.random.stateless_normal((5, side, side, 6), (0, side))

        def run() -> list[np.ndarray]:
            with tf.GradientTape() as tape:
                tape.watch(images)
                outputs = model(images)
                loss = tf.reduce_sum(outputs**2)
            sources = [images, *(v.value for v in model.trainable_variables)]
            return [outputs, *tape.gradient(loss, sources)]

        before = run()
        with pooled_products(model):
            for one, other in zip(before, run(), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)

    def test_the_layers_are_as_before_afterwards(self):
        model = network(1)
        with pooled_products(model):
            self.assertIn("convolution_op", vars(model.layers[2]))
        for layer in model.layers:
            self.assertNotIn("convolution_op", vars(layer))

    def test_other_convolutions_are_left_alone(self):
        for layer in (
            keras.layers.Conv2D(4, 3),
            keras.layers.Conv2D(4, 1, groups=2),
            keras.layers.DepthwiseConv2D(1),
            keras.layers.ReLU(),
        ):
            self.assertFalse(multiply_pooled(layer))


if __name__ == "__main__":
    absltest.main()
