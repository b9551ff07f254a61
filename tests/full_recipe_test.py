"""The full recipe through `python -m layernas_tf.train`, killed and resumed."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl.testing import absltest

from search_spaces.registry import get_space
from tests import imagenet_files

ROOT = pathlib.Path(__file__).resolve().parent.parent

SPACE = """
import dataclasses

from layernas_tf.space import State
from tests import small_networks


def tiny(resolution=16, classes=1000, channels=3, dropout=0.0):
    space = small_networks.space(
        lambda architecture: small_networks.photos(resolution, classes, dropout)
    )
    return dataclasses.replace(space, start=State(channels, resolution, resolution))
"""

FLAGS = (
    "--epochs=6",
    "--batch_size=8",
    "--optimizer=rmsprop",
    "--learning_rate=0.01",
    "--weight_decay=0.001",
    "--warmup_epochs=1",
    "--label_smoothing=0.1",
    "--augment=crop_flip",
    "--randaugment=5",
    "--mixup=0.2",
    "--ema=0.99",
    "--dropout=0.3",
    "--valid_fraction=0.25",
)


class FullRecipeTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="recipe"))
        cls.data = imagenet_files.write(cls.folder, train=48, test=6)
        code = cls.folder / "own.py"
        code.write_text(SPACE)
        space = get_space(f"{code}:tiny", resolution=16)
        architecture = cls.folder / "architecture.json"
        architecture.write_text(json.dumps(space.to_json((0, 0, 0))))
        cls.inputs = (
            f"--architecture={architecture}",
            f"--space={space.name}",
            "--dataset=tfds:imagenet2012",
        )

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)
        super().tearDownClass()

    def start(self, workdir: str, *flags: str) -> subprocess.Popen:
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "layernas_tf.train"),
                *(*self.inputs, f"--workdir={self.folder / workdir}", *flags),
            ],
            cwd=ROOT,
            env=os.environ
            | {
                "PYTHONPATH": str(ROOT),
                "CUDA_VISIBLE_DEVICES": "-1",
                "TFDS_DATA_DIR": str(self.data),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_a_training_that_was_killed_ends_as_if_it_had_not_been(self):
        process = self.start("whole", *FLAGS)
        _, errors = process.communicate()
        self.assertEqual(process.returncode, 0, errors)

        process = self.start("killed", *FLAGS)
        checkpoint = self.folder / "killed" / "checkpoint.npz"
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        self.assertEqual(process.returncode, -signal.SIGKILL)
        with np.load(checkpoint) as archive:
            finished = len(json.loads(str(archive["history"])))
        self.assertBetween(finished, 1, 5)
        self.assertFalse((self.folder / "killed" / "metrics.json").exists())

        process = self.start("killed", *FLAGS, "--mixup=0.4")
        _, errors = process.communicate()
        self.assertEqual(process.returncode, 2)
        self.assertIn("mixup was 0.2, is 0.4", errors.strip().splitlines()[-1])

        process = self.start("killed", *FLAGS)
        _, errors = process.communicate()
        self.assertEqual(process.returncode, 0, errors)
        self.assertFalse(checkpoint.exists())
        whole, resumed = (
            json.loads((self.folder / name / "metrics.json").read_text())
            for name in ("whole", "killed")
        )
        for name in ("train_loss", "valid_loss", "test_loss"):
            self.assertAlmostEqual(whole[name], resumed[name], places=4)
        recipe = whole["recipe"]
        self.assertEqual(
            (recipe["mixup"], recipe["ema"], recipe["randaugment"]), (0.2, 0.99, 5)
        )
        self.assertEqual(whole["arguments"]["dropout"], 0.3)
        import keras

        weights = [
            keras.models.load_model(
                self.folder / name / "model.keras", safe_mode=True
            ).get_weights()
            for name in ("whole", "killed")
        ]
        for one, two in zip(*weights, strict=True):
            np.testing.assert_allclose(one, two, atol=1e-4)

    def test_bad_values_are_one_line(self):
        for flag, word in (
            ("--randaugment=11", "randaugment must be a number from 0 to 10"),
            ("--ema=1", "ema must be"),
            ("--augment=mirror", "crop_flip"),
        ):
            process = self.start("refused", flag)
            _, errors = process.communicate()
            self.assertEqual(process.returncode, 2, errors)
            self.assertIn(word, errors.strip().splitlines()[-1])


if __name__ == "__main__":
    absltest.main()
