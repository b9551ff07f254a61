"""Timing on Android devices: the real adb client, and the tool's output.

The devices are folders of this machine behind `tests.adb_server`; what stands for
`benchmark_model` there prints what TensorFlow's source tree documents.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from unittest import mock

from absl.testing import absltest, parameterized

from export.timing import android
from export.timing.benchmark_output import parse_output
from export.timing.benchmark_warnings import not_as_asked
from layernas_tf.core.errors import UserError
from tests import adb_server

# In the form of tensorflow/lite/tools/benchmark (benchmark_model.cc,
# benchmark_tflite_model.cc) and tensorflow/core/util/stats_calculator.
_NEW = """
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Min num runs: [50]
INFO: Graph: [/data/local/tmp/x/model.tflite]
INFO: Use gpu: [1]
INFO: Explicitly applied GPU delegate, and the model graph will be partially executed \
by the delegate w/ 2 delegate kernels.
INFO: The input model file size (MB): 0.664
INFO: Initialized session in 36.2ms.
INFO: Running benchmark for at least 5 iterations and at least 0.5 seconds but \
terminate if exceeding 150 seconds.
INFO: count=90 first=9100 curr=5400 min=5300 max=9100 avg=5611.2 std=412 p5=5310 \
median=5500 p95=6100

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but \
terminate if exceeding 150 seconds.
INFO: count=180 first=5401 curr=5500 min=5205 max=1.2e+04 avg=5555.5 std=77 p5=5300 \
median=5512 p95=5720

INFO: Inference timings in us: Init: 36200, First inference: 9100, Warmup (avg): \
5611.2, Inference (avg): 5555.5
INFO: Note: as the benchmark tool itself affects memory footprint, the following is \
only APPROXIMATE to the actual memory footprint of the model at runtime.
INFO: Memory footprint delta from the start of the tool (MB): init=3.25 overall=7.5
INFO: Overall peak memory footprint (MB) via periodic monitoring: 9.125
INFO: Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\
\t[times called]\t[Name]
\t ModifyGraphWithDelegate\t   30.000\t   30.000\t 99.000%\t 99.000%\t  1024.000\
\t        1\tModifyGraphWithDelegate/0

INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\
\t[times called]\t[Name]
\t                 CONV_2D\t    1.300\t    1.250\t 40.000%\t 40.000%\t     0.000\
\t        1\t[net/stem/Relu6]:0
\t       DEPTHWISE_CONV_2D\t    0.800\t    0.750\t 60.000%\t100.000%\t     0.000\
\t        1\t[net/block1/Relu6;net/block1/bn]:1

============================== Top by Computation Time ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\
\t[times called]\t[Name]
\t                 CONV_2D\t    1.300\t    1.250\t 40.000%\t 40.000%\t     0.000\
\t        1\t[net/stem/Relu6]:0

Timings (microseconds): count=180 first=5401 curr=5500 min=5205 max=12000 avg=5600 std=9
Memory (bytes): count=0
2 nodes observed
"""

_OLD = """
Initialized session in 38.467ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds
count=1 curr=83235
Running benchmark for at least 50 iterations and at least 1 seconds
count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732 std=1929

============================== Run Order ==============================
\t             [node type]\t  [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\
\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t    0.000\t    4.269\t    4.269\t  0.107%\t  0.107%\
\t     0.000\t        0\t[MobilenetV1/MobilenetV1/Conv2d_0/Relu6]
\t                 SOFTMAX\t   79.443\t    0.029\t    0.029\t  0.001%\t  1.993%\
\t     0.000\t        0\t[MobilenetV1/Predictions/Softmax]

============================== Top by Computation Time ==============================

Timings (microseconds): count=50 first=79449 curr=81350 min=77385 max=88213 avg=79732
Memory (bytes): count=0
31 nodes observed


Average inference timings in us: Warmup: 83235, Init: 38467, Inference: 79760.9
"""


# The lines of LiteRT 2's tool that are known, in milliseconds.
_LITERT = """
INFO: STARTING!
INFO: [benchmark_litert_model.h:94] Model initialization: 97.45 ms
INFO: [benchmark_litert_model.h:88] Inference (avg):      71.45 ms (14 runs)
INFO: [benchmark_litert_model.h:132] Peak memory:          427.64 MB
"""

# From version 2.4 on there are no percentiles yet.
_V24 = """
STARTING!
Log parameter values verbosely: [0]
Min num runs: [50]
Graph: [model.tflite]
Loaded model model.tflite
The input model file size (MB): 4.56118
Initialized session in 52.687ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if \
exceeding 150 seconds.
count=35 first=19105 curr=13909 min=13585 max=19105 avg=14452.5 std=1240

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if \
exceeding 150 seconds.
count=70 first=14941 curr=14066 min=13728 max=16145 avg=14290.9 std=452

Inference timings in us: Init: 52687, First inference: 19105, Warmup (avg): 14452.5, \
Inference (avg): 14290.9
Memory footprint delta from the start of the tool (MB): init=21.9492 overall=34.5234
"""


class ParseTest(absltest.TestCase):
    def test_current_format(self):
        output = parse_output(_NEW)
        self.assertEqual(output.runs, 180)
        self.assertAlmostEqual(output.mean_ms, 5.5555)
        self.assertEqual((output.min_ms, output.max_ms), (5.205, 12.0))
        self.assertEqual((output.p50_ms, output.p95_ms), (5.512, 5.72))
        self.assertEqual(output.init_ms, 36.2)
        self.assertEqual(output.memory_mb, 9.125)
        self.assertEqual(output.delegated, "partially")
        self.assertEqual(
            [(one.kind, one.name, one.milliseconds) for one in output.operators],
            [
                ("CONV_2D", "net/stem/Relu6", 1.25),
                ("DEPTHWISE_CONV_2D", "net/block1/Relu6;net/block1/bn", 0.75),
            ],
        )

    def test_format_of_older_versions(self):
        output = parse_output(_OLD)
        self.assertEqual(output.runs, 50)
        self.assertAlmostEqual(output.mean_ms, 79.732)
        self.assertIsNone(output.p50_ms)
        self.assertIsNone(output.memory_mb)
        self.assertAlmostEqual(output.init_ms, 38.467)
        self.assertEqual(output.delegated, "")
        self.assertEqual(
            [(one.kind, one.milliseconds) for one in output.operators],
            [("CONV_2D", 4.269), ("SOFTMAX", 0.029)],
        )

    def test_without_watching_the_memory_its_growth_counts(self):
        lines = [line for line in _NEW.splitlines() if "peak memory" not in line]
        self.assertEqual(parse_output("\n".join(lines)).memory_mb, 7.5)

    def test_a_delegate_that_takes_nothing(self):
        text = _OLD + (
            "Though NNAPI delegate is explicitly applied, the model graph will not be "
            "executed by the delegate.\n"
        )
        self.assertEqual(parse_output(text).delegated, "not")

    def test_failures_name_the_last_error(self):
        for text, pattern in (
            ("", "gave no timings: it printed nothing"),
            (
                "STARTING!\nERROR: Failed to load model.tflite\nBye.\n",
                "gave no timings: ERROR: Failed to load model.tflite",
            ),
        ):
            with self.assertRaisesRegex(UserError, pattern):
                parse_output(text)


_APPLIED = (
    "Explicitly applied {} delegate, and the model graph will be completely executed "
    "by the delegate."
)


class AsAskedTest(parameterized.TestCase):
    """A row is an error unless the tool measured what the row says."""

    @parameterized.parameters(
        ("none", "", ""),
        ("none", "WARN: Unconsumed cmdline flags: --report_peak_memory_footprint", ""),
        ("none", "WARN: Unconsumed cmdline flags: --num_threads=4", "no flag --num_th"),
        ("none", "Though XNNPACK delegate is explicitly applied, the model graph will "
                 "not be executed by the delegate.", ""),
        ("none", "ERROR: Failed to parse flag 'x' against argv", "failed: ERROR: Fai"),
        ("none", "ERROR: Failed to allocate tensors!", "Failed to allocate"),
        ("none", "Segmentation fault", "Segmentation fault"),
        ("gpu", _APPLIED.format("GPU"), ""),
        ("gpu", "Applied GPU delegate, and the model graph will be partially", ""),
        ("gpu", "VERBOSE: Replacing 31 out of 31 node(s) with delegate "
                "(TfLiteGpuDelegateV2) node, yielding 1 partitions.", ""),
        ("gpu", "VERBOSE: Replacing 0 out of 31 node(s) with delegate "
                "(TfLiteGpuDelegateV2) node, yielding 0 partitions.", "Replacing 0"),
        ("gpu", _APPLIED.format("NNAPI"), "does not say .* GPU"),
        ("gpu", _APPLIED.format("XNNPACK"), "does not say .* GPU"),
        ("gpu", "WARN: Unconsumed cmdline flags: --x=1 --use_gpu=true", "no flag --us"),
        ("gpu", "GPU acceleration is unsupported on this platform.", "unsupported"),
        ("gpu", "Though GPU delegate is explicitly applied, the model graph will not "
                "be executed by the delegate.", "not applied: Though GPU"),
        ("gpu", "ERROR: Failed to apply GPU delegate.", "not applied: ERROR"),
        ("gpu", _APPLIED.format("GPU") + "\nError in applying the default TensorFlow "
                "Lite delegate indexed at 0, and all previously applied delegates are "
                "reverted.", "reverted"),
        ("nnapi", "INFO: NNAPI delegate created.\nINFO: Though NNAPI delegate is "
                  "explicitly applied, the model graph will not be executed by the "
                  "delegate.", "not applied"),
        ("nnapi", "NNAPI acceleration is unsupported on this platform.", "unsupported"),
        ("nnapi", _APPLIED.format("NNAPI"), ""),
        ("nnapi", "", "does not say .* NNAPI"),
    )  # fmt: skip
    def test_what_the_tool_says_settles_it(self, delegate, said, expected):
        reason = not_as_asked(f"STARTING!\n{said}\n{_OLD}", delegate)
        self.assertNotIn("\n", reason)
        self.assertRegex(reason, expected if expected else "^$")
        output, error = android.measured(f"{said}\n{_OLD}", "0", delegate)
        self.assertEqual(output is None, bool(expected))
        self.assertEqual(error, reason)

    def test_a_run_that_ends_after_its_warm_up_has_no_figures(self):
        text = _OLD[: _OLD.index("count=50")]
        output, error = android.measured(text, "0", "none")
        self.assertIsNone(output)
        self.assertIn("did not finish", error)
        output, error = android.measured(_OLD, "139", "none")
        self.assertIsNone(output)
        self.assertIn("exit code 139", error)

    def test_format_of_litert_2(self):
        output = parse_output(_LITERT)
        self.assertAlmostEqual(output.mean_ms, 71.45)
        self.assertEqual(output.runs, 14)
        self.assertEqual(output.init_ms, 97.45)
        self.assertEqual(output.memory_mb, 427.64)

    def test_format_of_2_4(self):
        output = parse_output(_V24)
        self.assertAlmostEqual(output.mean_ms, 14.2909)
        self.assertEqual((output.runs, output.init_ms), (70, 52.687))
        self.assertEqual(output.memory_mb, 34.5234)
        self.assertIsNone(output.p50_ms)


class MissingTest(absltest.TestCase):
    """What is told before any device is asked."""

    def refused(self, pattern, path=__file__, tool=__file__, **arguments):
        with self.assertRaisesRegex(UserError, pattern):
            list(android.time_on_devices(path, tool, **arguments))

    def test_no_adb(self):
        self.refused("no command 'no-such-adb'.*apt-get install adb", adb="no-such-adb")

    def test_no_tool(self):
        self.refused("`benchmark_model`: expected .*get it from https://", tool="")
        self.refused("no file 'gone': expected .*get it from https://", tool="gone")

    def test_no_model(self):
        self.refused("cannot read 'gone.tflite': no such file", path="gone.tflite")

    def test_unknown_delegate(self):
        self.refused(
            "unknown delegate 'dsp': expected none, gpu, nnapi", delegates=("dsp",)
        )


class AdbTest(absltest.TestCase):
    """With Debian's adb, which .ci/run installs."""

    def setUp(self):
        super().setUp()
        if shutil.which("adb") is None:
            if os.environ.get("CI"):
                self.fail("adb is not installed; .ci/run should have done it")
            self.skipTest("adb is not installed: apt-get install adb to run this")
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.tool = os.path.join(folder, "tool")
        self.model = os.path.join(folder, "model.tflite")
        with open(self.model, "wb") as file:
            file.write(b"weights" * 20_000)
        self.write_tool(f"cat <<'END'\n{_NEW}\nEND")
        self.server = self.enterContext(
            adb_server.AdbServer(folder, {"tin-1": "device", "tin-2": "device"})
        )
        self.enterContext(
            mock.patch.dict(os.environ, ADB_SERVER_SOCKET=self.server.address)
        )

    def write_tool(self, script):
        with open(self.tool, "w", encoding="utf-8") as file:
            file.write(f"#!/bin/sh\n{script}\n")

    def time(self, serials=("tin-1",), **arguments):
        arguments = {"cool_down": 0.0} | arguments
        return list(
            android.time_on_devices(self.model, self.tool, serials=serials, **arguments)
        )

    def left(self):
        return [
            name
            for serial in self.server.states
            for name in os.listdir(self.root(serial))
        ]

    def root(self, serial):
        return self.server.root(serial)

    def test_every_setting_on_every_device_and_nothing_left(self):
        pauses = []
        runs = self.time(
            ("tin-1", "tin-2"),
            delegates=("none", "gpu"),
            threads=(1, 4),
            cool_down=7.0,
            sleep=pauses.append,
        )
        self.assertEqual(
            [(run.device.serial, run.delegate, run.threads) for run in runs],
            [
                (serial, delegate, threads)
                for serial in ("tin-1", "tin-2")
                for delegate in ("none", "gpu")
                for threads in (1, 4)
            ],
        )
        self.assertEqual(runs[0].device.label, "Tin Phone (tin-1), Android 14")
        self.assertAlmostEqual(runs[0].output.mean_ms, 5.5555)
        self.assertEqual(pauses, [7.0] * 7)
        self.assertEqual(self.left(), [])

    def test_the_tool_gets_the_file_and_the_settings(self):
        record = os.path.join(self.root("tin-1"), "record")
        self.write_tool(
            f'echo "$@" > {record}; wc -c < $(dirname $0)/model.tflite >> {record}\n'
            f"cat <<'END'\n{_OLD}\nEND"
        )
        (run,) = self.time(
            delegates=("nnapi",), threads=(3,), runs=11, warmup=2, profile=True
        )
        with open(record, encoding="utf-8") as file:
            arguments, size = file.read().splitlines()
        for argument in (
            "--num_threads=3",
            "--num_runs=11",
            "--warmup_runs=2",
            "--use_nnapi=true",
            "--enable_op_profiling=true",
        ):
            self.assertIn(argument, arguments.split())
        self.assertEqual(int(size), 7 * 20_000)
        # The output above says nothing of the delegate.
        self.assertIsNone(run.output)
        self.assertIn("does not say that it applied the NNAPI delegate", run.error)

    def test_nothing_is_left_after_a_failure(self):
        self.write_tool("echo ERROR: out of memory; exit 3")
        (run,) = self.time()
        self.assertIsNone(run.output)
        self.assertIn("failed (exit code 3): ERROR: out of memory", run.error)
        self.write_tool("echo STARTING!")
        (run,) = self.time()
        self.assertIn("gave no timings: STARTING!", run.error)
        self.assertEqual(self.left(), [])

    def test_a_setting_that_fails_does_not_end_the_others(self):
        self.write_tool(
            f"case $* in *use_gpu*) echo 'WARN: Unconsumed cmdline flags: "
            f"--use_gpu=true';; esac\ncat <<'END'\n{_OLD}\nEND"
        )
        runs = self.time(delegates=("gpu", "none"))
        self.assertEqual([run.output is None for run in runs], [True, False])
        self.assertIn("no flag --use_gpu", runs[0].error)

    def test_no_device(self):
        self.server.states.clear()
        with self.assertRaisesRegex(UserError, "no Android device: connect one"):
            self.time(serials=())

    def test_devices_that_are_not_ready(self):
        self.server.states.update({"tin-1": "unauthorized", "tin-2": "offline"})
        with self.assertRaisesRegex(UserError, "tin-1 is unauthorized: accept this"):
            self.time()
        with self.assertRaisesRegex(UserError, "tin-2 is offline: plug it in again"):
            self.time(("tin-2",))

    def test_which_device(self):
        with self.assertRaisesRegex(UserError, "2 devices .*--serial=.* tin-1, tin-2"):
            self.time(serials=())
        with self.assertRaisesRegex(UserError, "no device 'tin-3' .*tin-1, tin-2"):
            self.time(("tin-3",))
        del self.server.states["tin-2"]
        self.assertLen(self.time(serials=()), 1)

    def test_a_device_that_is_pulled_out(self):
        with self.assertRaisesRegex(UserError, "'tin-1' not found"):
            for _ in android.time_on_devices(
                self.model, self.tool, serials=("tin-1",), threads=(1, 2), cool_down=0
            ):
                del self.server.states["tin-1"]


if __name__ == "__main__":
    absltest.main()
