"""One interface over the TFLite runtimes: loading, quantization, refusals."""

from __future__ import annotations

import os
import tempfile
import unittest

import numpy as np
from absl.testing import absltest, parameterized

from export.conversion.convert import convert_all
from export.tflite import runtime
from layernas_tf.core.errors import UserError
from tests import classifier


def setUpModule():
    global _FILES
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    _FILES = {
        name: os.path.join(folder.name, f"{name}.tflite")
        for name in ("float32", "int8")
    }
    convert_all(
        classifier.small_mobilenet_v3(),
        _FILES,
        representative_images=classifier.digits().train.images[:50],
    )


class LoadTest(parameterized.TestCase):
    @parameterized.product(name=runtime.RUNTIMES, form=("float32", "int8"))
    def test_every_runtime_gives_the_same_outputs(self, name, form):
        self.assertIn(name, runtime.installed_runtimes())
        images = classifier.digits().test.images[:10]
        model = runtime.load(_FILES[form], runtime=name)
        outputs = model.run(images)
        self.assertEqual(model.runtime, name)
        self.assertEqual((outputs.shape, outputs.dtype), ((10, 10), np.float32))
        np.testing.assert_allclose(outputs.sum(axis=1), 1.0, atol=0.02)
        expected = runtime.load(_FILES[form], runtime="auto").run(images)
        # An integer network may differ by the rounding of a step of 1/256.
        atol = 1e-5 if form == "float32" else 2.1 / 256
        np.testing.assert_allclose(outputs, expected, atol=atol)

    def test_pixel_type_of_the_images_does_not_matter(self):
        images = classifier.digits().test.images[:5]
        for path in _FILES.values():
            model = runtime.load(path)
            np.testing.assert_array_equal(
                model.run(images), model.run(images.astype(np.float32))
            )

    def test_threads_do_not_change_outputs(self):
        images = classifier.digits().test.images[:5]
        np.testing.assert_allclose(
            runtime.load(_FILES["float32"], threads=2).run(images),
            runtime.load(_FILES["float32"], threads=1).run(images),
            atol=1e-5,
        )

    def test_operators_are_those_of_the_file_and_no_delegates(self):
        operators = runtime.operators(_FILES["int8"])
        self.assertIn(("DEPTHWISE_CONV_2D", 2), operators)
        self.assertNotIn("DELEGATE", dict(operators))
        counts = [count for _, count in operators]
        self.assertEqual(counts, sorted(counts, reverse=True))

    def test_version_is_that_of_the_package(self):
        for name in runtime.installed_runtimes():
            self.assertRegex(runtime.runtime_version(name), r"^\d+\.\d+")


class TensorTest(absltest.TestCase):
    def test_encoding_rounds_and_clips_and_decoding_undoes_it(self):
        tensor = runtime.Tensor("t", (1, 5), "int8", scale=0.5, zero_point=-3)
        encoded = tensor.encode(np.array([-1000.0, 0.0, 0.7, 10.0, 1000.0]))
        self.assertEqual(encoded.dtype, np.int8)
        self.assertEqual(encoded.tolist(), [-128, -3, -2, 17, 127])
        self.assertEqual(tensor.decode(encoded).tolist(), [-62.5, 0.0, 0.5, 10.0, 65.0])

    def test_float_tensor_takes_values_as_they_are(self):
        tensor = runtime.Tensor("t", (1, 2), "float32", scale=0.0, zero_point=0)
        encoded = tensor.encode(np.array([0, 255], np.uint8))
        self.assertEqual(encoded.dtype, np.float32)
        self.assertEqual(tensor.decode(encoded).tolist(), [0.0, 255.0])


class RefusalTest(parameterized.TestCase):
    def write(self, content):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = os.path.join(folder, "file.tflite")
        with open(path, "wb") as file:
            file.write(content)
        return path

    def test_unknown_runtime(self):
        with self.assertRaisesRegex(UserError, "unknown runtime 'onnx': expected auto"):
            runtime.load(_FILES["int8"], runtime="onnx")

    def test_no_threads(self):
        with self.assertRaisesRegex(UserError, "threads: expected 1 or more, got 0"):
            runtime.load(_FILES["int8"], threads=0)

    def test_missing_file(self):
        with self.assertRaisesRegex(UserError, "cannot be read: No such file"):
            runtime.load(_FILES["int8"] + ".missing")

    def test_another_kind_of_file(self):
        path = self.write(b"hello, this is no model")
        with self.assertRaisesRegex(UserError, "is not a .tflite file"):
            runtime.load(path)

    @parameterized.parameters(*runtime.RUNTIMES)
    def test_half_a_file(self, name):
        with open(_FILES["int8"], "rb") as file:
            content = file.read()
        half = self.write(content[: len(content) // 2])
        with self.assertRaisesRegex(UserError, "cannot load .*file.tflite"):
            runtime.load(half, runtime=name)

    def test_images_of_another_shape(self):
        images = np.zeros((2, 8, 8, 1), np.uint8)
        with self.assertRaisesRegex(
            UserError, r"expected images of shape \(16, 16, 1\)"
        ):
            runtime.load(_FILES["int8"]).run(images)

    def test_network_that_is_no_classifier(self):
        import keras

        image = keras.Input((4,))
        path = self.write(b"")
        keras.Model(image, keras.layers.Dense(2)(image)).export(path + ".saved")
        import tensorflow as tf

        converter = tf.lite.TFLiteConverter.from_saved_model(path + ".saved")
        with open(path, "wb") as file:
            file.write(converter.convert())
        with self.assertRaisesRegex(UserError, "expected an input of shape"):
            runtime.load(path)


if __name__ == "__main__":
    absltest.main()
