import os
import tempfile
from unittest import mock

import keras
import numpy as np
from absl.testing import absltest

from export.conversion import convert as conversion
from export.conversion.bias_correction import rounding_error, with_corrected_biases
from export.tflite import runtime

_IMAGES = np.random.default_rng(0).uniform(0, 255, (24, 16, 16, 3)).astype(np.float32)


def _network(bias=False, **arguments):
    """A depthwise convolution behind a ReLU6 that is mostly at 6, and a classifier."""
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3))
    x = keras.layers.Rescaling(1 / 127.5, -1)(image)
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=bias)(x)
    x = keras.layers.BatchNormalization(name="first")(x)
    x = keras.layers.ReLU(6.0)(x)
    x = keras.layers.DepthwiseConv2D(3, use_bias=bias, name="depthwise", **arguments)(x)
    x = keras.layers.BatchNormalization(name="second")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(10)(x))
    model.get_layer("first").beta.assign(np.full(8, 5.0))
    # As trained ones, the kernel looks for edges, and what is left is normalized.
    layer, follower = model.get_layer("depthwise"), model.get_layer("second")
    layer.kernel.assign(layer.kernel - np.mean(layer.kernel, axis=(0, 1)))
    read = np.asarray(keras.Model(image, layer.output)(_IMAGES, training=False))
    follower.moving_mean.assign(read.mean(axis=(0, 1, 2)))
    follower.moving_variance.assign(read.var(axis=(0, 1, 2)))
    return model


def _means(model):
    """Mean of every channel behind the second batch normalization."""
    reader = keras.Model(model.inputs[0], model.get_layer("second").output)
    return np.asarray(reader(_IMAGES, training=False)).mean(axis=(0, 1, 2))


def _round_kernels(model):
    for layer in model.layers:
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)):
            layer.kernel.assign(layer.kernel + rounding_error(layer))


class BiasCorrectionTest(absltest.TestCase):
    def test_with_rounded_kernels_the_means_are_those_of_the_network(self):
        for arguments in (
            {"padding": "same"},
            {"padding": "valid", "strides": 2},
            {"padding": "same", "dilation_rate": 2},
            {"padding": "same", "bias": True},
        ):
            with self.subTest(**arguments):
                model = _network(**arguments)
                expected = _means(model)
                corrected = with_corrected_biases(model, _IMAGES)
                _round_kernels(corrected)
                rounded = keras.models.clone_model(model)
                rounded.set_weights(model.get_weights())
                _round_kernels(rounded)
                wrong = np.abs(_means(rounded) - expected).max()
                # The first layer's rounding changes more than the mean of ReLU6.
                self.assertLess(np.abs(_means(corrected) - expected).max(), 0.2 * wrong)

    def test_the_network_itself_is_not_changed(self):
        model = _network()
        before = model.get_weights()
        with_corrected_biases(model, _IMAGES)
        for one, other in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_kernels_of_whole_steps_need_no_correction(self):
        model = _network()
        _round_kernels(model)
        corrected = with_corrected_biases(model, _IMAGES)
        for one, other in zip(corrected.get_weights(), model.get_weights()):
            np.testing.assert_allclose(one, other, atol=1e-5)

    def test_behind_a_nonlinear_function_nothing_can_be_taken_off(self):
        image = keras.Input((16, 16, 3))
        x = keras.layers.Conv2D(3, 3, use_bias=False, activation="relu")(image)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        model = keras.Model(image, keras.layers.Dense(2)(x))
        self.assertIs(with_corrected_biases(model, _IMAGES), model)

    def test_a_convolution_that_is_used_twice_stays_as_it_is(self):
        image = keras.Input((16, 16, 3))
        shared = keras.layers.Conv2D(3, 3, padding="same")
        x = keras.layers.GlobalAveragePooling2D()(shared(shared(image)))
        model = keras.Model(image, keras.layers.Dense(2)(x))
        self.assertIs(with_corrected_biases(model, _IMAGES), model)

    def test_a_file_of_integers_is_closer_to_the_network_on_average(self):
        model = _network(padding="valid")
        expected = np.asarray(model(_IMAGES, training=False)).mean(axis=0)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "model.tflite")
        errors = []
        for correct in (with_corrected_biases, lambda model, images: model):
            with mock.patch.object(conversion, "with_corrected_biases", correct):
                conversion.convert(
                    model, format="int8", path=path, representative_images=_IMAGES
                )
            outputs = runtime.load(path).run(_IMAGES)
            errors.append(np.abs(outputs.mean(axis=0) - expected).max())
        self.assertLess(errors[0], 0.7 * errors[1])


if __name__ == "__main__":
    absltest.main()
