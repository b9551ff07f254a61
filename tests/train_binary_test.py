"""`python -m layernas_tf.train`, as a user runs it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from absl.testing import absltest
from PIL import Image

from search_spaces.registry import get_space
from tests import small_networks

ROOT = pathlib.Path(__file__).resolve().parent.parent

SPACE = """
from tests import small_networks


def three_blocks(resolution=16, classes=3, channels=1):
    print("the space's code ran")
    return small_networks.space()
"""


def train(*arguments: str) -> subprocess.CompletedProcess:
    """Runs the binary in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "layernas_tf.train", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
    )


class TrainBinaryTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(
            self.enter_context(tempfile.TemporaryDirectory(prefix="train"))
        )

    def write_inputs(self) -> list[str]:
        """A space of the user's own, an architecture of it, and a data set."""
        code = self.folder / "own.py"
        code.write_text(SPACE)
        space = get_space(f"{code}:three_blocks")
        self.architecture = self.folder / "architecture.json"
        self.architecture.write_text(json.dumps(space.to_json((0, 1, 0))))
        dataset = small_networks.stripes(96)
        np.savez(
            self.folder / "stripes.npz",
            x_train=dataset.train.images,
            y_train=dataset.train.labels,
            x_test=dataset.test.images,
            y_test=dataset.test.labels,
        )
        return [
            f"--architecture={self.architecture}",
            f"--space={space.name}",
            f"--dataset=npz:{self.folder}/stripes.npz",
            f"--workdir={self.folder}/out",
            "--epochs=6",
            "--batch_size=32",
            "--learning_rate=0.02",
        ]

    def assert_refused(self, *arguments: str, words: tuple[str, ...]):
        result = train(*arguments)
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertNotIn("Traceback", result.stderr)
        lines = result.stderr.strip().splitlines()
        self.assertStartsWith(lines[-1], "error: ")
        for word in words:
            self.assertIn(word, lines[-1])

    def test_trains_and_writes_the_model_and_its_figures(self):
        result = train(*self.write_inputs())
        self.assertEqual(result.returncode, 0, result.stderr)
        metrics = json.loads((self.folder / "out" / "metrics.json").read_text())
        self.assertGreater(metrics["test_accuracy"], 0.8)
        self.assertEqual(metrics["recipe"]["epochs"], 6)
        self.assertIn(f"{metrics['test_accuracy']:.4f}", result.stdout)
        import keras

        model = keras.models.load_model(
            self.folder / "out" / "model.keras", safe_mode=True
        )
        test = small_networks.stripes(96).test
        outputs = model.predict(test.images.astype(np.float32), verbose=0)
        self.assertAlmostEqual(
            float((outputs.argmax(axis=1) == test.labels).mean()),
            metrics["test_accuracy"],
            places=6,
        )
        self.assertTrue(list((self.folder / "out" / "tensorboard").rglob("*tfevents*")))

    def test_a_teacher_is_trained_once_and_is_on_record(self):
        inputs = self.write_inputs()
        result = train(*inputs, "--distill=logits")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("teacher (the published network)", result.stdout)
        metrics = json.loads((self.folder / "out" / "metrics.json").read_text())
        teacher = self.folder / "out" / "teacher" / f"{metrics['teacher']}.keras"
        trained = teacher.stat().st_mtime_ns
        result = train(*inputs, "--distill=logits")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(teacher.stat().st_mtime_ns, trained)
        result = train(*inputs, "--distill=none")
        self.assertEqual(result.returncode, 0, result.stderr)
        metrics = json.loads((self.folder / "out" / "metrics.json").read_text())
        self.assertNotIn("teacher", metrics)

    def test_pictures_that_cannot_be_read_are_left_out_if_that_is_asked_for(self):
        inputs = [a for a in self.write_inputs() if not a.startswith("--dataset")]
        split = small_networks.stripes(96).train
        for number, label in enumerate(split.labels):
            place = self.folder / "pictures" / f"class{label}" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(split.images[number, :, :, 0].astype(np.uint8)).save(place)
        (self.folder / "pictures" / "class0" / "broken.png").write_bytes(b"no picture")
        inputs.append(f"--dataset=folder:{self.folder}/pictures")
        self.assert_refused(*inputs, words=("broken.png",))
        result = train(*inputs, "--skip_unreadable", "--fit=pad")
        self.assertEqual(result.returncode, 0, result.stderr)
        metrics = json.loads((self.folder / "out" / "metrics.json").read_text())
        self.assertEqual(metrics["fit"], "pad")

    def test_an_architecture_file_alone_runs_no_code(self):
        arguments = [a for a in self.write_inputs() if not a.startswith("--space")]
        result = train(*arguments)
        self.assertEqual(result.returncode, 2)
        self.assertIn("--space=", result.stderr)
        self.assertNotIn("code ran", result.stdout)

    def test_refuses_bad_architecture_files_and_flags(self):
        broken = self.folder / "architecture.json"
        out = f"--workdir={self.folder}/out"
        self.assert_refused(out, words=("--architecture",))
        self.assert_refused(
            f"--architecture={broken}",
            out,
            "--seed=-1",
            words=("--seed: expected 0 to",),
        )
        self.assert_refused(f"--architecture={broken}", out, words=("cannot be read",))
        broken.write_text("{")
        self.assert_refused(f"--architecture={broken}", out, words=("not JSON",))
        broken.write_text("[1, 2]")
        self.assert_refused(f"--architecture={broken}", out, words=("'arguments'",))
        broken.write_text('{"space": "no_such", "arguments": {}, "architecture": [0]}')
        self.assert_refused(f"--architecture={broken}", out, words=("no_such",))
        self.assertFalse((self.folder / "out" / "metrics.json").exists())


if __name__ == "__main__":
    absltest.main()
