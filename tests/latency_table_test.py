"""Measuring a latency table: the files, each block once, resuming, the binary."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping

import numpy as np
from absl.testing import absltest, parameterized

from export.conversion.convert import convert
from export.tflite import runtime
from export.timing.latency_fit import calibration_networks, fit
from export.timing.latency_table import measure_table
from export.timing.space_files import block_file, network_file
from layernas_tf.core.errors import UserError
from layernas_tf.costs.latency import read_table, with_latency
from search_spaces.registry import get_space
from tests.small_blocks import networks, small_space

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_SMALL = f"{_ROOT / 'tests' / 'small_blocks.py'}:small_space"


@dataclasses.dataclass
class CountingTimer:
    """Gives every file a time by its size, and can be interrupted."""

    device: str = "a scale"
    version: str = "1"
    runtime: str = "scale"
    threads: int = 1
    form: str = "float32"
    left: int = 10**6
    seen: list[str] = dataclasses.field(default_factory=list)

    def blocks(self, files: Mapping[str, bytes]) -> dict[str, float]:
        self.left -= len(files)
        if self.left < 0:
            raise KeyboardInterrupt
        self.seen += files
        return {name: len(content) / 1e4 for name, content in files.items()}

    def networks(self, files: Mapping[str, bytes]) -> dict[str, float]:
        return {name: len(content) / 1e4 for name, content in files.items()}


class FilesTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())

    def write(self, content: bytes) -> str:
        path = os.path.join(self.folder, "written.tflite")
        with open(path, "wb") as file:
            file.write(content)
        return path

    @parameterized.product(name=("v2", "v3", "efficientnet"), form=("float32", "int8"))
    def test_written_network_has_the_operators_of_a_converted_one(self, name, form):
        space = networks()[name]
        converted = os.path.join(self.folder, "converted.tflite")
        convert(
            space.build(space.default),
            format=form,
            path=converted,
            representative_images=np.zeros((1, 32, 32, 3), np.float32),
        )
        written = self.write(network_file(space, space.default, form))
        self.assertEqual(runtime.operators(written), runtime.operators(converted))
        self.assertAlmostEqual(
            os.path.getsize(written) / os.path.getsize(converted), 1, delta=0.2
        )
        model = runtime.load(written)
        image = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3))
        probabilities = model.run(image)
        self.assertAlmostEqual(float(probabilities.sum()), 1, delta=0.05)

    @parameterized.parameters("float32", "int8")
    def test_block_with_a_layer_of_its_own_is_converted(self, form):
        space = small_space(pool=True)
        layer = space.layers[2]
        block, state = layer.block(layer.options[0]), space.chain.states[2][0]
        path = self.write(block_file(block, state, form, pixels=False))
        self.assertEqual(dict(runtime.operators(path)), {"MAX_POOL_2D": 1})

    def test_a_block_that_runs_nothing_has_no_file(self):
        space = small_space()
        layer, state = space.layers[2], space.chain.states[2][0]
        self.assertIsNone(
            block_file(layer.block(layer.options[0]), state, "float32", pixels=False)
        )


class MeasureTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = self.enter_context(tempfile.TemporaryDirectory())
        self.out = pathlib.Path(folder) / "table.json"
        self.partial = pathlib.Path(folder) / "table.json.partial"
        self.space = small_space()

    def measure(self, timer: CountingTimer, space=None):
        return measure_table(space or self.space, timer, self.out, lambda line: None)

    def test_every_distinct_block_is_measured_once(self):
        timer = CountingTimer()
        table = self.measure(timer)
        # Of 8 and 16 channels: stem; 3; 2 of each, the third layer's among them; head.
        self.assertLen(timer.seen, 1 + 3 + 4 + 2)
        self.assertEqual(table["distinct_blocks"], 10)
        self.assertLen(set(timer.seen), 10)
        # A dropped block takes no time.
        self.assertEqual([row[0] for row in table["layers"][2]["ms"]], [0.0, 0.0])

    def test_the_table_is_one_that_a_search_reads(self):
        self.measure(CountingTimer())
        timed = with_latency(self.space, read_table(str(self.out)))
        for architecture in calibration_networks(self.space):
            content = network_file(self.space, architecture, "float32")
            self.assertAlmostEqual(
                timed.costs(architecture)["latency_ms"] / (len(content) / 1e4),
                1,
                delta=0.1,
            )
        self.assertFalse(self.partial.exists())

    def test_an_interrupted_measurement_continues(self):
        import export.timing.latency_table as module

        whole = self.measure(CountingTimer())
        self.enter_context(absltest.mock.patch.object(module, "_CHUNK_FILES", 3))
        first, second = CountingTimer(left=7), CountingTimer()
        with self.assertRaises(KeyboardInterrupt):
            self.measure(first)
        self.assertTrue(self.partial.exists())
        again = self.measure(second)
        self.assertLen(first.seen, 6)
        self.assertLen(second.seen, 4)
        self.assertEqual(again["layers"], whole["layers"])

    def test_what_was_begun_with_another_device_is_not_continued(self):
        with self.assertRaises(KeyboardInterrupt):
            self.measure(CountingTimer(left=0))
        with self.assertRaisesRegex(UserError, "threads was 1, is 2"):
            self.measure(CountingTimer(threads=2))
        with self.assertRaisesRegex(UserError, "arguments was .*'resolution': 16"):
            self.measure(CountingTimer(), small_space(resolution=32))
        self.partial.write_text("[]")
        with self.assertRaisesRegex(UserError, "is not an unfinished latency table"):
            self.measure(CountingTimer())

    def test_a_space_without_blocks_is_refused(self):
        with self.assertRaisesRegex(UserError, "has no blocks to measure"):
            self.measure(CountingTimer(), get_space("burger"))


class CalibrationTest(absltest.TestCase):
    def test_line_is_found_again(self):
        sums = np.array([1.0, 2.0, 5.0, 9.0])
        found = fit(sums, 1.2 * sums + 0.3)
        self.assertAlmostEqual(found.scale, 1.2)
        self.assertAlmostEqual(found.offset_ms, 0.3)
        self.assertAlmostEqual(found.error, 0)

    def test_offset_is_never_negative(self):
        sums = np.array([1.0, 2.0, 5.0, 9.0])
        found = fit(sums, 1.2 * sums - 0.3)
        self.assertEqual(found.offset_ms, 0)
        self.assertBetween(found.scale, 0.9, 1.2)

    def test_networks_reach_from_the_cheapest_up(self):
        space = get_space("mobilenet_v2", resolution=96, classes=10)
        chosen = calibration_networks(space)
        self.assertLen(set(chosen), len(chosen))
        self.assertIn(space.default, chosen)
        madds = [space.costs(architecture)["madds"] for architecture in chosen]
        self.assertEqual(min(madds), space.chain.cheapest((), "madds"))
        self.assertGreater(max(madds), 0.3 * space.chain.most_expensive((), "madds"))


class BinaryTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())
        self.out = os.path.join(self.folder, "table.json")

    def run_binary(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "export.latency_table", *arguments],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])},
            capture_output=True,
            text=True,
            timeout=300,
        )

    def test_measures_this_host(self):
        done = self.run_binary(
            f"--space={_SMALL}",
            "--resolution=32",
            "--rounds=2",
            "--format=int8",
            f"--out={self.out}",
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("10 distinct blocks", done.stdout)
        table = read_table(self.out)
        self.assertEqual((table.space, table.format), (_SMALL, "int8"))
        self.assertStartsWith(table.device, "host: ")
        space = get_space(_SMALL, resolution=32)
        timed = with_latency(space, table)
        stored = json.loads(pathlib.Path(self.out).read_text())
        for network in stored["calibration"]["networks"]:
            predicted = timed.costs(tuple(network["architecture"]))["latency_ms"]
            # Loose: other work on the machine may have taken part.
            self.assertBetween(predicted / network["measured_ms"], 0.2, 5)

    @parameterized.parameters(
        (("--space=mobilenet_v2",), "--out is needed"),
        (("--out=x.json",), "--space is needed"),
        (("--space=nope", "--out=x.json"), "space 'nope': expected one of"),
        (
            ("--space=mobilenet_v2", "--out=x.json", "--format=float16"),
            "unknown format 'float16': expected float32, int8",
        ),
        (
            ("--space=mobilenet_v2", "--out=x.json", "--runtime=onnx"),
            "unknown runtime 'onnx'",
        ),
        (
            ("--space=mobilenet_v2", "--out=x.json", "--threads=0"),
            "--threads: expected 1 or more, got 0",
        ),
        (
            ("--space=mobilenet_v2", "--out=x.json", "--device=pigeon"),
            "unknown device 'pigeon': expected host, android",
        ),
    )
    def test_wrong_flags_end_with_one_line(self, arguments, line):
        done = self.run_binary(*arguments)
        self.assertEqual(done.returncode, 2)
        self.assertStartsWith(done.stderr, f"error: {line}")
        self.assertEqual(done.stderr.count("\n"), 1)


if __name__ == "__main__":
    absltest.main()
