"""Operators that fall off the accelerated path are named."""

from __future__ import annotations

import os
import tempfile
import unittest

from absl.testing import absltest

from export.conversion.convert import convert_all
from export.tflite import runtime
from export.tflite.delegate_support import Fallbacks, fallbacks
from tests import classifier


def setUpModule():
    global _FILES
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    _FILES = {
        name: os.path.join(folder.name, f"{name}.tflite")
        for name in ("float32", "int8", "island")
    }
    convert_all(
        classifier.small_mobilenet_v3(),
        {name: _FILES[name] for name in ("float32", "int8")},
        representative_images=classifier.digits().train.images[:20],
    )
    with open(_FILES["island"], "wb") as file:
        file.write(_with_an_island())


def _with_an_island():
    """An int8 network with an operator that has no int8 kernel."""
    import tensorflow as tf

    def rounded(x, low, high):
        return tf.quantization.fake_quant_with_min_max_args(x, low, high)

    kernel = tf.constant(0.5, shape=(1, 1, 1, 4))
    wide = tf.constant(0.5, shape=(1, 1, 4, 4))

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1))])
    def network(x):
        x = rounded(x, 0.0, 255.0)
        for weights in (rounded(kernel, -1.0, 1.0), rounded(wide, -1.0, 1.0)):
            x = rounded(tf.nn.conv2d(x, weights, 1, "SAME"), -6.0, 6.0)
        x = rounded(tf.sin(x), -1.0, 1.0)
        x = rounded(tf.nn.conv2d(x, rounded(wide, -1.0, 1.0), 1, "SAME"), -6.0, 6.0)
        return rounded(tf.reduce_mean(x, (1, 2)), -6.0, 6.0)

    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [network.get_concrete_function()]
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter.convert()


class FallbacksTest(absltest.TestCase):
    def test_a_float_network_has_none(self):
        found = fallbacks(_FILES["float32"])
        self.assertEqual((found.floats, found.casts), ((), 0))
        self.assertEqual(found.not_in_xnnpack, ())
        self.assertEqual(found.lines(), [])

    def test_int8_hard_swish_is_not_run_by_xnnpack(self):
        found = fallbacks(_FILES["int8"], runtime="ai-edge-litert")
        self.assertEqual((found.floats, found.casts), ((), 0))
        hard_swishes = dict(runtime.operators(_FILES["int8"]))["HARD_SWISH"]
        self.assertIn(f"HARD_SWISH ({hard_swishes})", found.not_in_xnnpack)
        for name in found.not_in_xnnpack:
            self.assertNotRegex(name, "^(CONV_2D|DEPTHWISE_CONV_2D|ADD) ")

    def test_a_float_island_in_an_integer_network_is_named(self):
        found = fallbacks(_FILES["island"])
        self.assertEqual(found.floats, ("SIN (1)",))
        self.assertEqual(found.casts, 2)
        self.assertIn("operators in floats: SIN (1)", found.lines())
        self.assertIn("casts between operators: 2", found.lines())

    def test_operators_that_a_delegate_does_not_know_are_named(self):
        found = fallbacks(_FILES["int8"])
        self.assertEqual(found.unknown_to, (("GPU", ()), ("NNAPI", ())))
        said = Fallbacks((), 0, (), (("GPU", ("ARG_MAX (1)",)), ("NNAPI", ())))
        self.assertEqual(said.lines(), ["unknown to the GPU delegate: ARG_MAX (1)"])


if __name__ == "__main__":
    absltest.main()
