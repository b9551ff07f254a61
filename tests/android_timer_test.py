"""Blocks timed on an Android device: the real adb, a server in place of the phone."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
import unittest
from unittest import mock

from absl.testing import absltest

from export.timing.android_timer import AndroidTimer
from layernas_tf.core.errors import UserError
from tests.adb_server import AdbServer

# As benchmark_model prints its figures; every byte of a file takes a microsecond.
_TOOL = """#!/bin/sh
for argument; do case $argument in --graph=*) graph=${argument#--graph=};; esac; done
size=$(wc -c < $graph)
echo "INFO: Init: 1000, Inference (avg): $size"
echo "INFO: count=10 first=9 curr=9 min=$size max=$size avg=$size std=0"
"""


@unittest.skipIf(shutil.which("adb") is None, "needs the command adb")
class AndroidTimerTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = self.enter_context(tempfile.TemporaryDirectory())
        devices = pathlib.Path(self.folder) / "devices"
        devices.mkdir()
        self.server = self.enter_context(AdbServer(str(devices), {"tin": "device"}))
        self.enter_context(
            mock.patch.dict(os.environ, {"ADB_SERVER_SOCKET": self.server.address})
        )

    def timer(self, tool: str = _TOOL) -> AndroidTimer:
        path = os.path.join(self.folder, "benchmark_model")
        pathlib.Path(path).write_text(tool, encoding="utf-8")
        return AndroidTimer.connect("adb", "", path, 1, 2, "float32")

    def test_times_every_file_and_leaves_nothing_behind(self):
        timer = self.timer()
        self.assertEqual(timer.device, "android: Tin Phone, Android 14")
        files = {f"network {n}": b"x" * (1000 * n) for n in range(1, 13)}
        times = timer.networks(files)
        self.assertEqual(times, {name: len(files[name]) / 1000 for name in files})
        self.assertEmpty(list(self.server.root("tin").iterdir()))

    def test_what_an_inference_of_nothing_takes_is_not_the_blocks(self):
        times = self.timer().blocks({"small": b"x", "large": b"x" * 10**6})
        self.assertEqual(times["small"], 0.0)
        self.assertBetween(times["large"], 990, 1000)

    def test_a_tool_that_fails_is_said_and_leaves_nothing_behind(self):
        with self.assertRaises(UserError):
            self.timer("#!/bin/sh\necho ERROR: no such model\nexit 1\n").networks(
                {"a": b"x"}
            )
        self.assertEmpty(list(self.server.root("tin").iterdir()))

    def test_a_block_that_fails_is_named_and_no_number(self):
        tool = _TOOL + "case $graph in *3.tflite) echo Segfault; exit 139;; esac\n"
        files = {f"network {n}": b"x" * 1000 for n in range(5)}
        with self.assertRaisesRegex(UserError, "network 3: .*exit code 139"):
            self.timer(tool).networks(files)
        self.assertEmpty(list(self.server.root("tin").iterdir()))

    def test_without_the_tool_it_says_where_to_get_it(self):
        with self.assertRaisesRegex(UserError, "`benchmark_model`: expected .*got no"):
            AndroidTimer.connect("adb", "", "", 1, 1, "float32")


if __name__ == "__main__":
    absltest.main()
