"""Times of single operators, and the memory of a running network."""

from __future__ import annotations

import os
import tempfile
import unittest

import numpy as np
from absl.testing import absltest
from PIL import Image

from export.conversion.convert import convert_all
from export.tflite import runtime
from export.tflite.memory import arena_bytes, peak_memory
from export.timing.benchmark_output import OperatorTime
from export.timing.profile import Profile, draw, profile, single_operators
from layernas_tf.core.errors import UserError
from tests import classifier


def setUpModule():
    global _FOLDER, _FILES
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    _FOLDER = folder.name
    _FILES = {
        name: os.path.join(_FOLDER, f"{name}.tflite") for name in ("float32", "int8")
    }
    convert_all(
        classifier.small_mobilenet_v3(),
        _FILES,
        representative_images=classifier.digits().train.images[:20],
    )


def run_alone(content, name, values):
    """Output of a file of one operator on the values of its inputs."""
    path = os.path.join(_FOLDER, "alone.tflite")
    with open(path, "wb") as file:
        file.write(content)
    interpreter = runtime.open_interpreter(path, runtime=name)
    for details, value in zip(interpreter.get_input_details(), values, strict=True):
        interpreter.set_tensor(details["index"], value)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


class SingleOperatorsTest(absltest.TestCase):
    def test_they_are_the_operators_of_the_file(self):
        for path in _FILES.values():
            kinds = [kind for kind, _, _ in single_operators(path)]
            counted = {kind: kinds.count(kind) for kind in kinds}
            self.assertEqual(counted, dict(runtime.operators(path)))

    def test_one_after_the_other_they_compute_what_the_network_computes(self):
        image = classifier.digits().test.images[:1].astype(np.float32)
        for name in ("ai-edge-litert", "tflite-runtime"):
            for form, path in _FILES.items():
                network = runtime.bare_interpreter(path, runtime=name)
                first = network.get_input_details()[0]
                known = {first["index"]: image.astype(first["dtype"])}
                written = {first["index"]}
                for (_, _, content), operator in zip(
                    single_operators(path), network._get_ops_details(), strict=True
                ):
                    read = [i for i in operator["inputs"] if i in written]
                    values = [known[index] for index in dict.fromkeys(read)]
                    (output,) = operator["outputs"]
                    known[output] = run_alone(content, name, values)
                    written.add(output)
                last = network.get_output_details()[0]["index"]
                expected = runtime.load(path, runtime=name).run(image)
                outputs = runtime.load(path, runtime=name).output.decode(known[last])
                atol = 1e-5 if form == "float32" else 3 / 256
                np.testing.assert_allclose(outputs, expected, atol=atol)

    def test_files_that_are_none(self):
        with self.assertRaisesRegex(UserError, "'gone.tflite' cannot be read"):
            single_operators("gone.tflite")


class ProfileTest(absltest.TestCase):
    def test_times_of_all_operators(self):
        profiled = profile(_FILES["int8"], 0.5, runs=5, warmup=1)
        self.assertLen(profiled.operators, len(single_operators(_FILES["int8"])))
        for operator in profiled.operators:
            self.assertGreater(operator.milliseconds, 0)
        self.assertEqual(profiled.whole_ms, 0.5)
        self.assertIn("each operator as a network of its own", profiled.method)

    def test_the_expensive_operator_is_found(self):
        import keras

        image = keras.Input((32, 32, 8))
        x = keras.layers.Conv2D(8, 1)(image)
        x = keras.layers.Conv2D(128, 7, padding="same", name="costly")(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        path = os.path.join(_FOLDER, "costly.tflite")
        convert_all(keras.Model(image, x), {"float32": path})
        profiled = profile(path, 1.0, runs=10, warmup=2)
        slowest = max(profiled.operators, key=lambda one: one.milliseconds)
        self.assertEqual(slowest.kind, "CONV_2D")
        self.assertIn("costly", slowest.name)
        self.assertGreater(slowest.milliseconds, 0.7 * profiled.sum_ms)

    def test_sums(self):
        profiled = Profile(
            (
                OperatorTime("ADD", "a", 1.0),
                OperatorTime("CONV_2D", "b", 4.0),
                OperatorTime("ADD", "c", 2.0),
            ),
            5.0,
            "hand",
        )
        self.assertEqual(profiled.sum_ms, 7.0)
        self.assertEqual(profiled.by_kind(), [("CONV_2D", 1, 4.0), ("ADD", 2, 3.0)])

    def test_bar_chart(self):
        operators = tuple(OperatorTime(f"OP_{i}", "", i + 1.0) for i in range(6))
        path = os.path.join(_FOLDER, "charts", "profile.png")
        draw(Profile(operators, 21.0, "hand"), "title", path)
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        # The longest bar, of the last operator, is drawn in the sixth colour.
        widths = {
            color: (np.abs(pixels.astype(int) - color).max(-1) < 10).any(0).sum()
            for color in ((31, 119, 180), (140, 86, 75))
        }
        self.assertTrue(all(width > 20 for width in widths.values()))
        self.assertEqual(os.listdir(os.path.dirname(path)), ["profile.png"])

    def test_bar_chart_that_cannot_be_written(self):
        with self.assertRaisesRegex(UserError, "cannot be written"):
            draw(
                Profile((OperatorTime("ADD", "", 1.0),), 1.0, "hand"),
                "title",
                f"{_FILES['int8']}/profile.png",
            )


class MemoryTest(absltest.TestCase):
    def test_arena_holds_the_largest_pair_of_tensors_and_little_more(self):
        import keras

        # int8: 64 x 64 x 8 in, the same out of the convolution, one byte each.
        image = keras.Input((64, 64, 8))
        x = keras.layers.Conv2D(8, 1)(image)
        x = keras.layers.GlobalAveragePooling2D()(x)
        path = os.path.join(_FOLDER, "wide.tflite")
        images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 8))
        convert_all(
            keras.Model(image, x),
            {"int8": path},
            representative_images=images,
            input_type="int8",
        )
        pair = 2 * 64 * 64 * 8
        for name in runtime.installed_runtimes():
            size = arena_bytes(path, runtime=name)
            self.assertBetween(size, pair, 1.1 * pair)

    def test_peak_of_a_process(self):
        memory = peak_memory(_FILES["float32"])
        self.assertEqual(memory.arena_bytes, arena_bytes(_FILES["float32"]))
        # The weights at least; the runtime itself, tens of megabytes, is not counted.
        self.assertBetween(memory.process_bytes, 20_000, 30 * 2**20)

    def test_bad_files_are_told_as_everywhere(self):
        with self.assertRaisesRegex(UserError, "'gone.tflite' cannot be read"):
            peak_memory("gone.tflite")


if __name__ == "__main__":
    absltest.main()
