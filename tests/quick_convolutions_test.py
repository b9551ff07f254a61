"""The quick computation of convolutions gives what Keras' own gives."""

from __future__ import annotations

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.training.quick_convolutions import quick_convolutions, quicken


def network(side: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((side, side, 6))
    x = keras.layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    gate = keras.layers.Conv2D(6, 1, activation="sigmoid")(x)
    x = keras.layers.Multiply()([inputs, gate])
    return keras.Model(inputs, keras.layers.Conv2D(4, 1, use_bias=False)(x))


def depthwise(height: int, width: int, kernel: int, strides: int) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((height, width, 6))
    layer = keras.layers.DepthwiseConv2D(
        kernel, strides, "same", activation="tanh", bias_initializer="random_normal"
    )
    return keras.Model(inputs, layer(inputs))


def run(model: keras.Model) -> list[np.ndarray]:
    """Outputs, and gradients by the inputs and by all weights."""
    import tensorflow as tf

    @tf.function
    def compute(images: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images)
            loss = tf.reduce_sum(outputs**2)
        sources = [images, *(v.value for v in model.trainable_variables)]
        return [outputs, *tape.gradient(loss, sources)]

    shape = 5, *model.input_shape[1:]
    return compute(tf.random.stateless_normal(shape, (0, shape[1])))


class QuickConvolutionsTest(parameterized.TestCase):
    def assert_same(self, model: keras.Model):
        before = run(model)
        with quick_convolutions(model):
            after = run(model)
        for one, other in zip(before, after, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)

    @parameterized.parameters(1, 3)
    def test_pointwise_outputs_and_gradients_are_the_same(self, side):
        self.assert_same(network(side))

    @parameterized.parameters(
        (1, 1, 5, 1), (2, 2, 3, 1), (2, 2, 5, 2), (3, 5, 5, 1), (4, 4, 7, 1),
        (7, 7, 5, 2), (8, 8, 5, 2), (8, 6, 7, 2), (8, 8, 3, 1), (16, 16, 5, 1),
    )  # fmt: skip
    def test_depthwise_outputs_and_gradients_are_the_same(self, *arguments):
        self.assert_same(depthwise(*arguments))

    def test_the_layers_are_as_before_afterwards(self):
        model = network(1)
        with quick_convolutions(model):
            self.assertIn("convolution_op", vars(model.layers[2]))
        for layer in model.layers:
            self.assertNotIn("convolution_op", vars(layer))
        model = depthwise(4, 4, 5, 1)
        with quick_convolutions(model):
            self.assertIn("call", vars(model.layers[1]))
        self.assertNotIn("call", vars(model.layers[1]))

    def test_other_layers_are_left_alone(self):
        for layer in (
            keras.layers.Conv2D(4, 3),
            keras.layers.Conv2D(4, 1, groups=2),
            keras.layers.DepthwiseConv2D(5),
            keras.layers.DepthwiseConv2D(5, padding="same", depth_multiplier=2),
            keras.layers.DepthwiseConv2D(5, padding="same", dilation_rate=2),
            keras.layers.DepthwiseConv2D(
                5, padding="same", data_format="channels_first"
            ),
            keras.layers.ReLU(),
        ):
            self.assertFalse(quicken(layer))


if __name__ == "__main__":
    absltest.main()
