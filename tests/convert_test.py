"""Conversion to TFLite: the files, their types, their agreement, and bad input."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized

from export.conversion import convert as conversion
from export.conversion.keras_model import load_keras_model
from export.exporter import export_winner
from export.tflite import runtime
from export.tflite.verify import keras_outputs, verify
from layernas_tf.core.errors import UserError
from tests import classifier


def setUpModule():
    classifier.trained()


class ConvertTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())
        cls.paths = {
            name: os.path.join(cls.folder, f"{name}.tflite")
            for name in conversion.FORMATS
        }
        cls.images = classifier.digits().train.images[:100]
        conversion.convert_all(
            classifier.trained(), cls.paths, representative_images=cls.images
        )
        cls.reference = keras_outputs(classifier.trained(), classifier.digits().test)

    def verify(self, name):
        return verify(self.paths[name], self.reference, classifier.digits().test)

    def test_float32_gives_the_outputs_of_the_keras_model(self):
        checked = self.verify("float32")
        self.assertLess(checked.max_abs_error, 1e-5)
        self.assertEqual(checked.agreement, 1.0)
        self.assertEqual(checked.accuracy, checked.keras_accuracy)

    @parameterized.parameters(("float16", 0.02), ("dynamic", 0.2))
    def test_smaller_float_formats_stay_close(self, name, tolerance):
        checked = self.verify(name)
        self.assertLess(checked.max_abs_error, tolerance)
        self.assertGreaterEqual(checked.agreement, 0.98)
        self.assertLess(checked.file_bytes, os.path.getsize(self.paths["float32"]))

    def test_int8_with_hard_swish_and_squeeze_and_excite_agrees(self):
        checked = self.verify("int8")
        self.assertGreaterEqual(checked.agreement, 0.95)
        self.assertGreaterEqual(checked.accuracy, checked.keras_accuracy - 0.03)

    def test_the_trained_model_has_learned_what_the_comparisons_are_about(self):
        self.assertGreater(self.verify("float32").keras_accuracy, 0.8)

    def test_normalization_is_folded_and_dropout_is_gone(self):
        operators = dict(runtime.operators(self.paths["float32"]))
        # Per bottleneck: one residual addition. Besides these, the rescaling has one
        # multiplication and one addition, and each gate two multiplications.
        self.assertEqual(operators["CONV_2D"], 1 + 2 * (2 + 2))
        self.assertEqual(operators["DEPTHWISE_CONV_2D"], 2)
        self.assertEqual(operators["HARD_SWISH"], 1 + 2 * 2)
        self.assertEqual(operators["ADD"], 1 + 2)
        self.assertEqual(operators["MUL"], 1 + 2 * 2)

    def test_every_file_takes_one_image_and_has_no_shape_arithmetic(self):
        for name, path in self.paths.items():
            with self.subTest(name):
                self.assertEqual(runtime.load(path).input.shape, (1, 16, 16, 1))
                self.assertTrue(
                    {"SHAPE", "STRIDED_SLICE", "PACK"}.isdisjoint(
                        dict(runtime.operators(path))
                    )
                )

    def test_int8_takes_raw_pixels(self):
        model = runtime.load(self.paths["int8"])
        self.assertEqual((model.input.dtype, model.output.dtype), ("uint8", "uint8"))
        self.assertEqual((model.input.scale, model.input.zero_point), (1.0, 0))

    def test_raw_pixels_go_in_even_if_no_representative_image_is_bright(self):
        path = os.path.join(self.folder, "dark.tflite")
        dark = np.full((2, 16, 16, 1), 9, np.uint8)
        conversion.convert(
            classifier.trained(),
            format="int8",
            path=path,
            representative_images=dark,
            input_type="int8",
        )
        model = runtime.load(path)
        self.assertEqual((model.input.dtype, model.output.dtype), ("int8", "int8"))
        self.assertEqual((model.input.scale, model.input.zero_point), (1.0, -128))
        np.testing.assert_array_equal(dark, 9)

    def test_float32_input_of_an_int8_file(self):
        path = os.path.join(self.folder, "float_input.tflite")
        conversion.convert(
            classifier.trained(),
            format="int8",
            path=path,
            representative_images=self.images,
            input_type="float32",
        )
        outputs = runtime.load(path).run(self.images[:20])
        self.assertEqual(runtime.load(path).input.dtype, "float32")
        np.testing.assert_allclose(
            outputs, runtime.load(self.paths["int8"]).run(self.images[:20]), atol=1e-6
        )

    def test_a_model_of_mixed_precision_is_converted_in_float32(self):
        import keras

        keras.config.set_dtype_policy("mixed_bfloat16")
        try:
            mixed = classifier.small_mobilenet_v3()
        finally:
            keras.config.set_dtype_policy("float32")
        mixed.set_weights(classifier.trained().get_weights())
        path = os.path.join(self.folder, "mixed.tflite")
        conversion.convert(mixed, format="float32", path=path)
        checked = verify(path, self.reference, classifier.digits().test)
        self.assertLess(checked.max_abs_error, 1e-5)

    def test_export_winner_writes_checks_and_times_every_format(self):
        out = os.path.join(self.folder, "winner")
        files = export_winner(
            classifier.trained(),
            classifier.digits(),
            out,
            representative_images=50,
            latency_runs=5,
        )
        self.assertEqual([file.format for file in files], ["float32", "int8"])
        self.assertEqual(
            sorted(os.listdir(out)), ["model_float32.tflite", "model_int8.tflite"]
        )
        for file in files:
            self.assertEqual(file.file_bytes, os.path.getsize(file.path))
            self.assertGreaterEqual(file.agreement, 0.95)
            self.assertGreater(file.latency_ms, 0)
            self.assertLessEqual(file.latency_ms, file.latency_p99_ms)


class BadInputTest(absltest.TestCase):
    def path(self, name="model.tflite"):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        return os.path.join(folder, name)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def assert_refused(self, pattern, *, model=None, **arguments):
        path = self.path()
        arguments = {"format": "float32", "path": path} | arguments
        with self.assertRaisesRegex(UserError, pattern):
            conversion.convert(model or classifier.trained(), **arguments)
        self.assertEqual(os.listdir(os.path.dirname(path)), [])

    def test_unknown_format(self):
        self.assert_refused("unknown format 'int4': expected float32", format="int4")

    def test_unknown_input_type(self):
        self.assert_refused("unknown input type 'int4'", input_type="int4")

    def test_int8_without_images(self):
        self.assert_refused("'int8' needs representative images", format="int8")

    def test_images_of_another_shape(self):
        images = np.zeros((3, 8, 8, 1), np.uint8)
        self.assert_refused(
            r"expected shape \(16, 16, 1\), got \(8, 8, 1\)",
            format="int8",
            representative_images=images,
        )

    def test_model_without_a_fixed_resolution(self):
        import keras

        image = keras.Input((None, None, 3))
        model = keras.Model(image, keras.layers.GlobalAveragePooling2D()(image))
        self.assert_refused("expected an input of shape", model=model)

    def test_operator_that_tflite_lacks(self):
        import keras

        image = keras.Input((4, 4, 1))
        x = keras.ops.erfinv(keras.layers.GlobalAveragePooling2D()(image))
        self.assert_refused(
            "TFLite has no operator for Erfinv", model=keras.Model(image, x)
        )

    def test_folder_that_cannot_be_made(self):
        blocked = self.write("file", "")
        with self.assertRaisesRegex(UserError, "cannot be written"):
            conversion.convert(
                classifier.trained(), format="float32", path=f"{blocked}/m.tflite"
            )

    def test_dataset_that_does_not_fit(self):
        from layernas_tf.datasets import load_dataset

        with self.assertRaisesRegex(UserError, "does not fit model"):
            export_winner(
                classifier.trained(),
                load_dataset("digits", resolution=8),
                self.path("out"),
            )

    def test_file_that_is_no_keras_model(self):
        path = self.write("model.keras", "not a model")
        with self.assertRaisesRegex(UserError, "cannot load .* as a .keras model"):
            load_keras_model(path)
        with self.assertRaisesRegex(UserError, "no file"):
            load_keras_model(path + ".missing")

    def test_code_in_a_keras_file_is_not_run(self):
        import keras

        path = self.path("lambda.keras")
        image = keras.Input((4,))
        keras.Model(image, keras.layers.Lambda(lambda x: x + 1)(image)).save(path)
        with self.assertRaisesRegex(UserError, "cannot load"):
            load_keras_model(path)


class BackendTest(absltest.TestCase):
    def test_other_backends_are_told_what_to_set(self):
        import keras

        with mock.patch.object(keras.backend, "backend", return_value="jax"):
            with self.assertRaisesRegex(UserError, "needs KERAS_BACKEND=tensorflow"):
                conversion.convert(
                    classifier.trained(), format="float32", path="model.tflite"
                )


class QuietTest(absltest.TestCase):
    def test_conversion_writes_nothing_to_the_terminal(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        held = os.path.join(folder, "stderr")
        descriptor = os.open(held, os.O_CREAT | os.O_WRONLY)
        original = os.dup(2)
        os.dup2(descriptor, 2)
        try:
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                conversion.convert(
                    classifier.trained(),
                    format="int8",
                    path=os.path.join(folder, "model.tflite"),
                    representative_images=classifier.digits().train.images[:10],
                )
        finally:
            os.dup2(original, 2)
            os.close(original)
            os.close(descriptor)
        with open(held, encoding="utf-8") as file:
            self.assertEqual(file.read(), "")
        self.assertEqual(printed.getvalue(), "")


if __name__ == "__main__":
    absltest.main()
