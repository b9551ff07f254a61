"""Quantization-aware training: the carried-over network, its rounding, its file."""

from __future__ import annotations

import functools
import json
import os
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from export.exporter import export_winner
from export.quantization import quantize
from export.quantization.quantized_network import quantized_network
from export.tflite import runtime
from export.tflite.metadata import read_metadata
from layernas_tf.core.errors import UserError
from layernas_tf.datasets import load_dataset
from layernas_tf.space.types import Option, State
from search_spaces.architecture_files import beside, load_architecture
from search_spaces.blocks.blocks import ConvBlock, Rescale
from search_spaces.blocks.bottleneck import InvertedBottleneck, SqueezeExcite
from search_spaces.blocks.builder import BlockLayer, block_space, fixed
from search_spaces.blocks.heads import ConvHead, MobileNetV3Head, Stem

_ACTIVATIONS = ("relu6", "hard_swish", "swish")


@functools.cache
def digits():
    return load_dataset("digits", resolution=16)


@functools.cache
def small_space(activation="hard_swish"):
    """Two bottlenecks, one with squeeze-and-excite and a residual."""
    gate = "sigmoid" if activation == "swish" else "hard_sigmoid"
    squeeze = SqueezeExcite(activation="relu", gate=gate)

    def block(option):
        return InvertedBottleneck(
            option["filters"],
            expansion=3,
            activation=activation,
            squeeze_excite=squeeze,
            drop_rate=0.1,
        )

    head = (
        MobileNetV3Head(32, 10)
        if activation == "hard_swish"
        else ConvHead(ConvBlock(32, activation=activation), 10)
    )
    options = tuple(Option.of(filters=filters) for filters in (16, 24))
    return block_space(
        f"small {activation}",
        State(1, 16, 16),
        (
            fixed("stem", Stem(Rescale(), ConvBlock(16, 3, 2, activation))),
            BlockLayer("block1", options, 0, block),
            BlockLayer("block2", options, 0, block),
            fixed("head", head),
        ),
        {},
    )


def images(number=16):
    return digits().train.images[:number].astype(np.float32)


@functools.cache
def lively(activation):
    """A network of `small_space` that tells images apart, without a training."""
    import keras

    keras.utils.set_random_seed(0)
    model = small_space(activation).build(small_space(activation).default)
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            gamma, beta = generator.uniform(0.5, 1.5, (2, len(gamma)))
            layer.set_weights([gamma, beta - 1, mean, variance])
            layer.momentum = 0.0
    # The statistics become those of these images.
    model(images(64), training=True)
    logits = np.log(model.predict_on_batch(images(64)))
    logits -= logits.mean(axis=1, keepdims=True)
    layer = model.get_layer("head_logits")
    kernel, _ = layer.get_weights()
    scale = 2 / logits.std(axis=0).mean()
    layer.set_weights([kernel * scale, -logits.mean(axis=0) * scale])
    return model


@functools.cache
def trained():
    """A trained network of `small_space`."""
    import keras

    keras.utils.set_random_seed(0)
    model = small_space().build(small_space().default)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy")
    model.fit(digits().train.batches(32, seed=0), epochs=8, shuffle=False, verbose=0)
    return model


def tensor_types(path):
    """Types of the tensors of a file, by name of the operator that touches them."""
    interpreter = runtime._interpreter(path, "tf.lite", 1, delegates=False)
    types = {
        tensor["index"]: np.dtype(tensor["dtype"]).name
        for tensor in interpreter.get_tensor_details()
    }
    return {
        (operator["op_name"], types[index])
        for operator in interpreter._get_ops_details()
        for index in (*operator["inputs"], *operator["outputs"])
        if index >= 0
    }


class NetworkTest(parameterized.TestCase):
    @parameterized.parameters(*_ACTIVATIONS)
    def test_every_step_to_the_integer_file(self, activation):
        space, model, data = small_space(activation), lively(activation), images()
        expected = model.predict_on_batch(data)
        copy = quantize.tf_keras_network(model, space, space.default, data)
        folded = quantized_network(copy, rounding=False)
        self.assertNotIn(
            "BatchNormalization", {type(layer).__name__ for layer in folded.layers}
        )
        for network in (copy, folded):
            outputs = network.predict_on_batch(data)
            np.testing.assert_allclose(outputs, expected, atol=quantize.TOLERANCE)

        network = quantized_network(copy)
        network(data, training=True)
        rounded = network.predict_on_batch(data)
        self.assertBetween(np.abs(rounded - expected).mean(), 1e-5, 0.03)

        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "model.tflite")
        with open(path, "wb") as file:
            file.write(quantize.convert_quantized(network, "uint8"))
        types = tensor_types(path)
        self.assertNoCommonElements(types, {(name, "float32") for name, _ in types})
        operators = dict(runtime.operators(path))
        self.assertEqual(operators.get("QUANTIZE"), 2)
        if activation == "hard_swish":
            self.assertEqual(operators["HARD_SWISH"], 1 + 2 * 2 + 2)
        self.assertEqual(runtime.load(path).input.scale, 1.0)
        for name in runtime.installed_runtimes():
            outputs = runtime.load(path, runtime=name).run(data)
            # Float and integer arithmetic differ by a rounding here and there.
            self.assertLess(np.abs(outputs - rounded).mean(), 0.02)
            agreement = np.mean(outputs.argmax(axis=1) == rounded.argmax(axis=1))
            self.assertGreaterEqual(agreement, 0.8)

    def test_a_gate_that_no_convolution_feeds_stays_integer(self):
        import tf_keras

        layers = tf_keras.layers
        image = tf_keras.Input((8, 8, 1))
        x = layers.Conv2D(4, 3)(image)
        y = layers.Activation(_hard_sigmoid)(layers.Add()([x, x]))
        x = layers.Activation(_hard_sigmoid)(layers.Multiply()([x, y]))
        x = layers.BatchNormalization()(layers.Add()([x, y, x]))
        x = layers.Dense(3, activation="softmax")(
            layers.Flatten()(layers.MaxPooling2D()(x))
        )
        network = quantized_network(tf_keras.Model(image, x))
        network(np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 1)), training=True)
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "model.tflite")
        with open(path, "wb") as file:
            file.write(quantize.convert_quantized(network, "int8"))
        types = tensor_types(path)
        self.assertNoCommonElements(types, {(name, "float32") for name, _ in types})

    def test_unknown_layers_and_activations_are_named(self):
        import tf_keras

        image = tf_keras.Input((8, 8, 1))
        model = tf_keras.Model(image, tf_keras.layers.UpSampling2D(name="up")(image))
        with self.assertRaisesRegex(UserError, "layer 'up' of type UpSampling2D"):
            quantized_network(model)
        model = tf_keras.Model(image, tf_keras.layers.Activation("elu")(image))
        with self.assertRaisesRegex(UserError, "does not know activation elu"):
            quantized_network(model)


def _hard_sigmoid(x):
    import tensorflow as tf

    return tf.nn.relu6(x + 3.0) / 6.0


_hard_sigmoid.__name__ = "hard_sigmoid"


class TrainingTest(absltest.TestCase):
    def test_trained_with_rounding_it_keeps_the_accuracy(self):
        space = small_space()
        qat = quantize.Qat(space, space.default, quantize.Tuning(epochs=1))
        folder = self.enterContext(tempfile.TemporaryDirectory())
        (file,) = export_winner(
            trained(), digits(), folder, ("qat_int8",), latency_runs=5, qat=qat
        )
        self.assertEqual(os.listdir(folder), ["model_qat_int8.tflite"])
        self.assertGreater(file.keras_accuracy, 0.8)
        self.assertGreaterEqual(file.accuracy, file.keras_accuracy - 0.02)
        self.assertGreaterEqual(file.agreement, 0.93)
        self.assertEqual((file.fallbacks.floats, file.fallbacks.casts), ((), 0))
        self.assertEqual([check.error for check in file.runtimes], [""] * 3)
        self.assertEqual(read_metadata(file.path).labels, digits().class_names)

    def test_without_the_architecture_nothing_is_written(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        with self.assertRaisesRegex(UserError, "'qat_int8' needs the model's archi"):
            export_winner(trained(), digits(), folder, ("float32", "qat_int8"))
        self.assertEqual(os.listdir(folder), [])

    def test_bad_settings_are_refused(self):
        for settings, pattern in (
            ({"epochs": 0}, "epochs must be 1 or more, got 0"),
            ({"batch_size": -1}, "batch_size must be 1 or more, got -1"),
            ({"learning_rate": 0.0}, "learning_rate must be greater than 0, got 0.0"),
        ):
            with self.assertRaisesRegex(UserError, pattern):
                quantize.Tuning(**settings)


class CarryOverTest(absltest.TestCase):
    def test_weights_of_another_architecture_are_refused(self):
        with self.assertRaisesRegex(UserError, "not the architecture's network.*block"):
            quantize.tf_keras_network(trained(), small_space(), (0, 1, 1, 0), images())

    def test_another_function_with_the_same_weights_is_refused(self):
        # Keras' own hard-sigmoid of old: another slope under the same name.
        import dataclasses

        def builder(architecture, keras_module):
            copy = small_space().builder(architecture, keras_module=keras_module)
            copy.get_layer("rescale").offset = 3.0
            return copy

        other = dataclasses.replace(small_space(), builder=builder)
        with self.assertRaisesRegex(UserError, "does not compute what the model"):
            quantize.tf_keras_network(trained(), other, other.default, images())

    def test_builders_for_keras_only_are_named(self):
        import dataclasses

        other = dataclasses.replace(small_space(), builder=lambda architecture: None)
        with self.assertRaisesRegex(UserError, "takes keras_module=tf_keras"):
            quantize.tf_keras_network(trained(), other, other.default, images())


class ArchitectureFileTest(absltest.TestCase):
    def write(self, content):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "architecture.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        return path

    def test_reads_what_a_search_writes(self):
        from search_spaces.registry import get_space

        space = get_space("mobilenet_v2", resolution=32, classes=10)
        path = self.write(json.dumps(space.to_json(space.default)))
        self.assertEqual(beside(os.path.join(os.path.dirname(path), "m.keras")), path)
        made, architecture = load_architecture(path)
        self.assertEqual((made.name, architecture), (space.name, space.default))
        self.assertEqual(made.arguments["resolution"], 32)

    def test_code_is_run_only_when_named(self):
        with open(path := self.write("raise SystemError"), encoding="utf-8"):
            code = path.replace(".json", ".py") + ":make"
        file = self.write(
            json.dumps({"space": code, "arguments": {}, "architecture": []})
        )
        with self.assertRaisesRegex(UserError, "which is code: give `space`="):
            load_architecture(file)
        with self.assertRaisesRegex(UserError, "is of space .*, not 'other.py:make'"):
            load_architecture(file, "other.py:make")

    def test_bad_files_are_one_line(self):
        for content, pattern in (
            ("{", "is not JSON"),
            ("[]", "expected an object with 'space'"),
            ('{"space": "mobilenet_v2", "arguments": {}}', "expected an object with"),
        ):
            with self.assertRaisesRegex(UserError, pattern):
                load_architecture(self.write(content))
        with self.assertRaisesRegex(UserError, "cannot be read: No such file"):
            load_architecture("gone.json")


if __name__ == "__main__":
    absltest.main()
