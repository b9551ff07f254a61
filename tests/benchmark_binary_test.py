"""`python -m export.convert` and `python -m export.benchmark` as users call them."""

from __future__ import annotations

import contextlib
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest, parameterized

from export.conversion.convert import convert
from export.tflite import runtime
from export.timing import benchmark_table
from export.timing.benchmark_output import OperatorTime
from export.timing.host import host_latency
from export.timing.profile import Profile
from layernas_tf.core.errors import UserError
from tests import classifier

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(module: str, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path]),
        "COLUMNS": "100",
    }
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=tempfile.gettempdir(),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def setUpModule():
    global _FOLDER, _KERAS, _TFLITE
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    _FOLDER = folder.name
    _KERAS = os.path.join(_FOLDER, "model.keras")
    classifier.small_mobilenet_v3().save(_KERAS)
    _TFLITE = os.path.join(_FOLDER, "model.tflite")
    convert(classifier.small_mobilenet_v3(), format="float32", path=_TFLITE)


class ConvertBinaryTest(parameterized.TestCase):
    def test_writes_checks_and_prints_and_is_quiet(self):
        out = os.path.join(_FOLDER, "out")
        done = run(
            "export.convert",
            f"--model={_KERAS}",
            f"--out={out}",
            "--formats=float32,int8",
            "--dataset=digits",
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(
            sorted(os.listdir(out)), ["model_float32.tflite", "model_int8.tflite"]
        )
        self.assertRegex(done.stdout, r"float32 .*100\.00%")
        self.assertRegex(done.stdout, r"int8 .*%")
        for name in runtime.installed_runtimes():
            self.assertEqual(done.stdout.count(f"  {name} "), 2)

    @parameterized.named_parameters(
        ("no_model", ("--out=x",), "error: --model: expected a path"),
        ("no_such_model", ("--model=gone.keras", "--out=x"), "error: no file"),
        (
            "format",
            ("--model=gone.keras", "--out=x", "--formats=int3"),
            "error: unknown format 'int3': expected float32, float16, dynamic, int8",
        ),
    )
    def test_bad_input_is_one_line(self, arguments, line):
        done = run("export.convert", *arguments)
        self.assertEqual(done.returncode, 2)
        self.assertStartsWith(done.stderr, line)
        self.assertEqual(done.stderr.count("\n"), 1)


class BenchmarkBinaryTest(parameterized.TestCase):
    def test_prints_a_row_per_runtime_and_number_of_threads(self):
        done = run(
            "export.benchmark",
            f"--model={_TFLITE}",
            "--runtime=all",
            "--threads=1,2",
            "--runs=10",
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for word in ("p50", "p90", "p99"):
            self.assertIn(word, done.stdout)
        for name in runtime.installed_runtimes():
            rows = [line for line in done.stdout.splitlines() if f" {name} " in line]
            self.assertLen(rows, 2)

    def test_a_row_with_an_error_has_no_number(self):
        good = benchmark_table.Row("phone, none", 1, 50, {"mean": 4.25}, {})
        bad = benchmark_table.Row("phone, gpu", 1, 0, {}, {}, "was not applied")
        text = io.StringIO()
        with contextlib.redirect_stdout(text):
            benchmark_table.print_rows("Latency", [bad, good])
        lines = text.getvalue().splitlines()
        (row,) = [line for line in lines if "phone, gpu  " in line]
        self.assertNotRegex(row.replace("gpu  1", "").split("error")[1], r"\d")
        self.assertIn("phone, gpu, 1 threads: error: was not applied", lines)
        self.assertIn("4.25", text.getvalue())

    @parameterized.parameters(80, 60, 30)
    def test_a_narrow_terminal_shortens_names_and_no_number(self, columns):
        milliseconds = [1234.5678, 98.7654, 0.1234]
        kinds = ["FULLY_CONNECTED", "DEPTHWISE_CONV_2D", "CONV_2D"]
        path = "stage_3/block_2/depthwise/BatchNorm/FusedBatchNormV3"
        operators = tuple(
            OperatorTime(kind, path, each) for kind, each in zip(kinds, milliseconds)
        )
        times = {"mean": 1234.0, "p50": 12.34, "p90": 123.4, "p99": 1235.0}
        memory = {"arena KiB": 4321.0, "RSS MiB": 543.2}
        row = benchmark_table.Row("ai-edge-litert 2.3.0", 16, 5678, times, memory)
        text = io.StringIO()
        with (
            mock.patch.dict(os.environ, COLUMNS=str(columns)),
            contextlib.redirect_stdout(text),
        ):
            benchmark_table.print_rows("Latency", [row])
            benchmark_table.print_profile("host", Profile(operators, 1500.0, "hand"))
        written = text.getvalue()
        for value in (*times.values(), *memory.values(), row.threads, row.runs):
            self.assertRegex(written, rf"\b{value:.4g}\b")
        for value in milliseconds:
            self.assertEqual(written.count(f" {value:.4f} "), 2)
            self.assertEqual(written.count(f" {value / sum(milliseconds):.1%} "), 2)
        self.assertEqual(written.count("ai-edge"), 1)
        if columns >= 60:
            widest = max(map(len, written.splitlines()[-12:-1]))
            self.assertLessEqual(widest, columns)

    @parameterized.named_parameters(
        (
            "device",
            ("--device=toaster",),
            "error: unknown device 'toaster': expected h",
        ),
        ("runtime", ("--runtime=onnx",), "error: unknown runtime 'onnx'"),
        ("threads", ("--threads=two",), "error: --threads: expected whole numbers"),
        ("runs", ("--runs=0",), "error: runs: expected 1 or more, got 0"),
    )
    def test_bad_input_is_one_line(self, arguments, line):
        done = run("export.benchmark", f"--model={_TFLITE}", *arguments)
        self.assertEqual(done.returncode, 2)
        self.assertStartsWith(done.stderr, line)
        self.assertEqual(done.stderr.count("\n"), 1)

    def test_missing_file_is_one_line(self):
        done = run("export.benchmark", "--model=gone.tflite")
        self.assertEqual(done.returncode, 2)
        self.assertStartsWith(done.stderr, "error: 'gone.tflite' cannot be read")


class HostLatencyTest(absltest.TestCase):
    def test_percentiles_are_ordered(self):
        stats = host_latency(_TFLITE, runs=30, warmup=2)
        self.assertEqual((stats.runs, stats.threads), (30, 1))
        self.assertEqual(stats.runtime, runtime.installed_runtimes()[0])
        self.assertGreater(stats.p50_ms, 0)
        self.assertLessEqual(stats.p50_ms, stats.p90_ms)
        self.assertLessEqual(stats.p90_ms, stats.p99_ms)

    def test_a_larger_network_takes_longer(self):
        import keras

        image = keras.Input((16, 16, 1))
        x = image
        for _ in range(6):
            x = keras.layers.Conv2D(128, 3, padding="same")(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        path = os.path.join(_FOLDER, "large.tflite")
        convert(keras.Model(image, x), format="float32", path=path)
        large = host_latency(path, runs=20, warmup=2)
        small = host_latency(_TFLITE, runs=20, warmup=2)
        self.assertGreater(large.p50_ms, 3 * small.p50_ms)

    def test_bad_counts_are_refused(self):
        with self.assertRaisesRegex(UserError, "warmup: expected 0 or more, got -1"):
            host_latency(_TFLITE, warmup=-1)


if __name__ == "__main__":
    absltest.main()
