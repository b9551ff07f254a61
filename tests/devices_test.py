"""One training on several devices: two logical ones of a CPU."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

from absl.testing import absltest

ROOT = pathlib.Path(__file__).resolve().parent.parent

# In a process of its own: devices are set before TensorFlow computes anything.
TWO_DEVICES = """
import json
import pathlib
import tempfile

import keras
import numpy as np
import tensorflow as tf

from layernas_tf.training.checkpoint import Checkpoint
from layernas_tf.training.devices import all_devices
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.evaluate import evaluate_model
from layernas_tf.training.train import train_model
from tests import small_networks

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
dataset = small_networks.stripes(96)
recipe = Recipe(3, 32, ema=0.9, mixup=0.2, learning_rate=0.01)


def trained(**options):
    keras.utils.set_random_seed(0)
    model = small_networks.network((8,), dropout=0.1)
    return train_model(model, dataset, recipe, seed=0, **options), model


alone, _ = trained()
with all_devices() as devices, tempfile.TemporaryDirectory() as folder:
    checkpoint = Checkpoint(pathlib.Path(folder) / "checkpoint.npz", {})
    together, _ = trained(checkpoint=checkpoint)
    again, model = trained(checkpoint=checkpoint)
    scores = evaluate_model(model, dataset.test)
images = dataset.test.images.astype(np.float32)
outputs = model.predict(images, verbose=0)
print(json.dumps({
    "devices": devices,
    "alone": alone.train_loss,
    "together": [epoch["loss"] for epoch in together.history],
    "losses": [together.valid_loss, again.valid_loss],
    "accuracy": scores.accuracy,
    "predicted": float((outputs.argmax(axis=1) == dataset.test.labels).mean()),
}))
"""


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
    """Runs Python in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"}
        | variables,
        capture_output=True,
        text=True,
        check=False,
    )


class DevicesTest(absltest.TestCase):
    def test_two_devices_train_as_one_does(self):
        result = run("-c", TWO_DEVICES)
        self.assertEqual(result.returncode, 0, result.stderr)
        found = json.loads(result.stdout.strip().splitlines()[-1])
        self.assertEqual(found["devices"], 2)
        self.assertLen(found["together"], 3)
        self.assertLess(found["together"][-1], found["together"][0])
        # The statistics of batch normalization are of each device's half.
        self.assertAlmostEqual(found["together"][-1], found["alone"], delta=0.2)
        self.assertAlmostEqual(*found["losses"], places=5)
        self.assertEqual(found["accuracy"], found["predicted"])

    def test_a_tpu_that_is_not_there_is_one_line(self):
        code = (
            "from layernas_tf.training.devices import all_devices\n"
            "from layernas_tf.core.errors import UserError\n"
            "try:\n"
            "    with all_devices('local'):\n"
            "        pass\n"
            "except UserError as error:\n"
            "    print(error)\n"
        )
        result = run("-c", code, TF_CPP_MIN_LOG_LEVEL="3")
        self.assertEqual(result.returncode, 0, result.stderr)
        line = result.stdout.strip()
        self.assertStartsWith(line, "`tpu`=local: no TPU can be reached there")
        self.assertNotIn("\n", line)


if __name__ == "__main__":
    absltest.main()
