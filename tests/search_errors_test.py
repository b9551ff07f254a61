"""Wrong input ends a search with one clear line, before anything is written."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from rich.console import Console

from layernas_tf import search
from layernas_tf.core.errors import UserError
from layernas_tf.core.workdir import lock_workdir, open_workdir
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_check import check_config
from layernas_tf.pipeline.config_file import check_resume, save_config
from search_spaces.registry import get_space
from tests.small_blocks import table_of

_ROOT = pathlib.Path(__file__).resolve().parent.parent

_SPACE_FILE = """
from layernas_tf.space import Layer, Option, SearchSpace, State

def raises(resolution, classes, channels):
    return [1, 2][classes]

def no_space(resolution, classes, channels):
    return "space"

def no_cost(resolution, classes, channels):
    layer = Layer("a", (Option.of(k=1), Option.of(k=2)), 0, lambda s, o: (s, {}))
    return SearchSpace("x", State(1, 1, 1), (layer,), builder=print)

def broken(resolution, classes, channels):
    layer = Layer("a", (Option.of(k=1), Option.of(k=2)), 0, lambda s, o: 1 / 0)
    return SearchSpace("x", State(1, 1, 1), (layer,), builder=print)
"""


def images(**arrays) -> dict[str, np.ndarray]:
    """A small valid data set of 32x32 images, with some arrays replaced."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
        "y_train": np.arange(40) % 4,
        "x_test": rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8),
        "y_test": np.arange(8) % 4,
        **arrays,
    }


class InProcessTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.workdir = self.folder / "workdir"
        np.savez(self.folder / "good.npz", **images())
        self.good = f"npz:{self.folder / 'good.npz'}"

    def refused(self, pattern: str, **flags):
        """Runs a search with these flags, which must end with a line like `pattern`."""
        config = SearchConfig(**{"dataset": self.good, **flags})
        with self.assertRaisesRegex(UserError, pattern) as caught:
            search.run(config, str(self.workdir), Console(quiet=True))
        self.assertNotIn("\n", str(caught.exception))
        self.assertFalse((self.workdir / "config.json").exists())

    def test_unknown_space(self):
        self.refused("space 'nope': expected one of .*mobilenet_v3_small", space="nope")

    def test_space_that_cannot_be_trained(self):
        self.refused("'burger' takes no argument 'resolution'", space="burger")

    def test_latency_budget_without_a_table(self):
        self.refused("needs a latency table of the device", budget=("latency_ms<=4",))

    def test_latency_table_of_another_resolution(self):
        space = get_space("mobilenet_v2", resolution=64, classes=4, channels=3)
        path = self.folder / "table.json"
        path.write_text(json.dumps(table_of(space)))
        self.refused(
            "with resolution=64, not with resolution=32: make another",
            space="mobilenet_v2",
            latency_table=str(path),
            budget=("latency_ms<=4",),
        )

    def test_unknown_algorithm(self):
        self.refused("algorithm 'sgd': expected one of layernas", algorithm="sgd")

    def test_unknown_option_of_the_algorithm(self):
        self.refused("has no option 'depth'", algorithm_option=("depth=3",))
        self.refused(
            "buckets: expected at least 1",
            algorithm="layernas",
            algorithm_option=("buckets=0",),
        )

    @parameterized.parameters("cifar", "npz:", "tar:x", "", "digit")
    def test_unknown_data_set(self, dataset):
        self.refused("unknown data set .* expected one of digits", dataset=dataset)

    @parameterized.parameters(
        ("madds<3M", "expected the form 'madds<=3M'"),
        ("madds<=lots", "cannot read the amount 'lots'"),
        ("flops<=3M", "no cost 'flops': expected one of madds"),
        ("madds<=10k", r"cannot be met: the cheapest .* costs madds=\d[\d,]+$"),
        (
            "madds=900G..950G",
            r"cannot be met: the most exp.* costs madds=\d[\d,]+$",
        ),
        ("madds=3M..2M", "lower end is above"),
    )
    def test_budget(self, budget, pattern):
        self.refused(pattern, budget=(budget,))

    def test_budgets_that_exclude_each_other(self):
        self.refused(
            "no architecture is inside .* and .*the cheapest possible",
            budget=("params<=330k", "madds=6M..7M"),
        )

    @parameterized.named_parameters(
        ("empty", b""), ("broken", b"PK\x03\x04 not a zip file"), ("text", b"x,y\n1,2")
    )
    def test_file_that_is_no_npz(self, content):
        path = self.folder / "bad.npz"
        path.write_bytes(content)
        self.refused("bad.npz: not a NumPy .npz", dataset=f"npz:{path}")

    @parameterized.named_parameters(
        ("missing_array", {"y_train": None}, "no array of training labels"),
        ("label", {"y_test": np.full(8, 9)}, "label 9 in y_test is out of range"),
        ("negative", {"y_train": np.arange(40) - 1}, "negative label -1"),
        ("rank", {"x_train": np.zeros((40, 32))}, r"x_train has shape \(40, 32\)"),
        ("none", {"x_test": np.zeros((0, 32, 32, 3))}, "x_test is empty"),
        ("count", {"y_train": np.arange(30) % 4}, "40 images and y_train 30 labels"),
        ("pixels", {"x_train": np.full((40, 32, 32), 300)}, "pixels from 0 to 300"),
    )
    def test_arrays(self, changes, pattern):
        path = self.folder / "bad.npz"
        arrays = {
            name: array
            for name, array in images(**changes).items()
            if array is not None
        }
        np.savez(path, **arrays)
        self.refused(pattern, dataset=f"npz:{path}")

    def test_missing_npz(self):
        self.refused("no such file: 'none.npz'", dataset="npz:none.npz")

    @parameterized.parameters(
        ("raises", "raised IndexError: list index out of range .*line 5"),
        ("no_space", "must return a .*SearchSpace, got str"),
        ("no_cost", "layer 'a' returned no cost 'madds'"),
        ("broken", "transition raised ZeroDivisionError: division by zero"),
        ("nothing", "has no function 'nothing'"),
    )
    def test_space_file(self, function, pattern):
        path = self.folder / "mine.py"
        path.write_text(_SPACE_FILE)
        self.refused(pattern, space=f"{path}:{function}")

    def test_space_file_that_does_not_run(self):
        path = self.folder / "mine.py"
        path.write_text("import no_such_module\n")
        self.refused("ModuleNotFoundError.*line 1", space=f"{path}:f")
        path.write_text("def f(:\n")
        self.refused("SyntaxError.*line 1", space=f"{path}:f")

    def test_workdir_below_a_file(self):
        self.workdir.write_text("a file")
        self.workdir = self.workdir / "below"
        with self.assertRaisesRegex(UserError, "workdir .* cannot be written: .*file"):
            search.run(
                SearchConfig(dataset=self.good), str(self.workdir), Console(quiet=True)
            )

    def test_workdir_that_the_system_refuses(self):
        with self.assertRaisesRegex(UserError, "workdir '/proc/.* cannot be written"):
            search.run(
                SearchConfig(dataset=self.good), "/proc/nowhere", Console(quiet=True)
            )

    def test_corrupt_study(self):
        self.workdir.mkdir()
        (self.workdir / "study.db").write_bytes(b"no database" * 1000)
        self.refused("study .*study.db' is corrupt; restore a copy")

    def test_study_that_another_search_holds(self):
        with lock_workdir(open_workdir(self.workdir)):
            self.refused("in use by another search")

    @parameterized.parameters(
        ({"trials": 0}, "`trials`: expected at least 1, got 0"),
        ({"seed": -1}, "`seed`: expected 0 to 4294967295, got -1"),
        ({"seed": 2**32}, "`seed`: expected 0 to 4294967295, got 4294967296"),
        ({"finalists": 0}, "`finalists`"),
        ({"epochs": 0}, "`epochs`"),
        ({"valid_fraction": 1.0}, "`valid_fraction`: expected a share"),
        ({"algorithm_option": ("buckets",)}, "expected the form name=value"),
    )
    def test_flag_out_of_range(self, flags, pattern):
        with self.assertRaisesRegex(UserError, pattern):
            check_config(SearchConfig(**flags))

    def test_recipe_out_of_range(self):
        self.refused("optimizer must be one of sgd", optimizer="adam")
        self.refused("`learning_rate`: learning_rate must be", learning_rate=-1.0)
        self.refused("`final_patience`: patience must be", final_patience=3.0)


class ResumeTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.path = folder / "config.json"
        self.config = SearchConfig(epochs=3)
        save_config(self.config, self.path)

    def test_same_flags_and_more_trials_resume(self):
        check_resume(self.config, self.path)
        check_resume(dataclasses.replace(self.config, trials=99), self.path)
        check_resume(dataclasses.replace(self.config, finalists=5), self.path)

    @parameterized.parameters(
        ({"seed": 7}, "`seed` was 0, is 7"),
        ({"space": "mobilenet_v2"}, "`space` was mobilenet_v3_small, is mobilenet_v2"),
        ({"budget": ("madds<=2M",)}, "`budget` was madds<=3M, is madds<=2M"),
        ({"epochs": None}, "`epochs` was 3, is the default"),
        ({"resolution": 16}, "`resolution` was the default, is 16"),
    )
    def test_other_flags_are_refused_by_name(self, changes, text):
        with self.assertRaisesRegex(UserError, text):
            check_resume(dataclasses.replace(self.config, **changes), self.path)

    def test_all_differences_are_named(self):
        other = dataclasses.replace(self.config, seed=1, dataset="npz:x")
        with self.assertRaisesRegex(UserError, "`dataset` was .*; `seed` was"):
            check_resume(other, self.path)

    def test_file_of_an_earlier_version_lacks_new_flags(self):
        stored = json.loads(self.path.read_text())
        del stored["limit"]
        self.path.write_text(json.dumps(stored))
        check_resume(self.config, self.path)
        with self.assertRaisesRegex(UserError, "`limit` was the default, is 5"):
            check_resume(dataclasses.replace(self.config, limit=5), self.path)

    @parameterized.parameters("", "{", "[]", "null")
    def test_broken_file_is_refused(self, content):
        self.path.write_text(content)
        with self.assertRaisesRegex(UserError, "config.json"):
            check_resume(self.config, self.path)

    def test_password_of_the_storage_is_not_stored(self):
        url = "postgresql://me:secret@host/db"
        config = dataclasses.replace(self.config, storage=url)
        save_config(config, self.path)
        self.assertNotIn("secret", self.path.read_text())
        check_resume(config, self.path)


class CommandTest(parameterized.TestCase):
    def command(self, *arguments: str) -> str:
        """Runs a search that must fail and leave nothing; returns its stderr."""
        environment = dict(os.environ)
        environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
        with tempfile.TemporaryDirectory() as folder:
            finished = subprocess.run(
                [sys.executable, "-m", "layernas_tf.search"]
                + [f"--workdir={folder}/workdir", *arguments],
                capture_output=True,
                text=True,
                cwd=_ROOT,
                env=environment,
            )
            self.assertEmpty(os.listdir(folder))
        self.assertEqual(finished.returncode, 2)
        self.assertEqual(finished.stdout, "")
        self.assertEqual(finished.stderr.count("\n"), 1, finished.stderr)
        return finished.stderr

    @parameterized.parameters(
        ("--space=nope", "error: space 'nope': expected one of"),
        ("--trials=many", "error: flag --trials=many"),
        ("--wordkir=x", "error: Unknown command line flag 'wordkir'"),
        ("runs/x", "error: unexpected argument 'runs/x'"),
    )
    def test_prints_one_line_and_exits_with_2(self, argument, line):
        self.assertStartsWith(self.command(argument), line)

    def test_unreachable_budget_on_digits_says_the_cheapest(self):
        self.assertRegex(
            self.command("--budget=madds<=1k"),
            r"^error: budget 'madds<=1k' cannot be met: .*madds=[\d,]+\n$",
        )


if __name__ == "__main__":
    absltest.main()
