"""Verification notices what is right and what is wrong with a .tflite file."""

from __future__ import annotations

import os
import tempfile
import unittest

import numpy as np
from absl.testing import absltest

import layernas_tf
from export.conversion.convert import convert
from export.tflite import runtime
from export.tflite.verify import keras_outputs, verify
from layernas_tf.core.errors import UserError
from tests import classifier


def setUpModule():
    global _PATH, _REFERENCE, _TEST
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    _PATH = os.path.join(folder.name, "float32.tflite")
    convert(classifier.trained(), format="float32", path=_PATH)
    _TEST = classifier.digits().test
    _REFERENCE = keras_outputs(classifier.trained(), _TEST)


class VerifyTest(absltest.TestCase):
    def test_keras_outputs_are_those_of_predict(self):
        expected = classifier.trained().predict(
            _TEST.images.astype(np.float32), verbose=0
        )
        np.testing.assert_allclose(_REFERENCE, expected, atol=1e-5)

    def test_a_faithful_file(self):
        checked = verify(_PATH, _REFERENCE, _TEST)
        self.assertEqual(checked.images, _TEST.size)
        self.assertEqual(checked.agreement, 1.0)
        self.assertLess(checked.max_abs_error, 1e-5)
        right = np.mean(_REFERENCE.argmax(axis=1) == _TEST.labels)
        self.assertAlmostEqual(checked.accuracy, right)
        self.assertAlmostEqual(checked.keras_accuracy, right)
        self.assertEqual(checked.comparison.difference, 0.0)
        self.assertEqual(checked.file_bytes, os.path.getsize(_PATH))
        self.assertEqual(checked.operators, runtime.operators(_PATH))

    def test_every_installed_runtime_is_tried(self):
        checked = verify(_PATH, _REFERENCE, _TEST)
        names = tuple(check.name for check in checked.runtimes)
        self.assertEqual(names, runtime.installed_runtimes())
        for check in checked.runtimes:
            self.assertEqual(check.error, "")
            self.assertLess(check.max_difference, 1e-5)

    def test_every_runtime_can_run_the_whole_test_set(self):
        for name in runtime.installed_runtimes():
            checked = verify(_PATH, _REFERENCE, _TEST, runtime=name)
            self.assertEqual((checked.runtime, checked.agreement), (name, 1.0))

    def test_a_file_of_another_model_disagrees(self):
        rolled = np.roll(_REFERENCE, 1, axis=1)
        checked = verify(_PATH, rolled, _TEST)
        self.assertEqual(checked.agreement, 0.0)
        self.assertGreater(checked.max_abs_error, 0.5)
        self.assertGreater(checked.accuracy, checked.keras_accuracy + 0.5)
        self.assertAlmostEqual(
            checked.comparison.difference, checked.accuracy - checked.keras_accuracy
        )
        self.assertGreater(checked.comparison.low, 0.3)

    def test_order_and_the_smaller_last_batch_are_kept(self):
        odd = _TEST.take(np.arange(515) % _TEST.size)
        checked = verify(_PATH, keras_outputs(classifier.trained(), odd), odd)
        self.assertEqual((checked.images, checked.agreement), (515, 1.0))
        self.assertLess(checked.max_abs_error, 1e-5)

    def test_wrong_number_of_reference_outputs(self):
        with self.assertRaisesRegex(UserError, "expected as many reference outputs"):
            verify(_PATH, _REFERENCE[:-1], _TEST)

    def test_no_images(self):
        with self.assertRaisesRegex(UserError, "at least one"):
            verify(_PATH, _REFERENCE[:0], _TEST.take(np.arange(0)))

    def test_another_number_of_classes(self):
        with self.assertRaisesRegex(UserError, "expected 9 outputs, got 10"):
            verify(_PATH, _REFERENCE[:, :9], _TEST)

    def test_images_of_another_size_than_the_model(self):
        images, labels = _TEST.images[:4, ::2, ::2], _TEST.labels[:4]
        with self.assertRaisesRegex(
            UserError,
            r"`images`: expected \(N, .*\) as the model takes them, got shape",
        ):
            layernas_tf.verify_model(_PATH, classifier.trained(), images, labels)


if __name__ == "__main__":
    absltest.main()
