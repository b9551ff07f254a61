"""What an optional package is missing for says so in one line."""

from __future__ import annotations

import pathlib
import sys
import tomllib
import typing
from unittest import mock

from absl.testing import absltest, parameterized

from export.quantization.quantize import check_packages
from export.tflite import runtime
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.core.extras import Extra, needs_extra
from layernas_tf.datasets.options import Options
from layernas_tf.datasets.tensorflow_datasets import load_tfds
from layernas_tf.study.open_storage import open_storage
from layernas_tf.testing import random_space
from layernas_tf.workers.ray_cluster import connect

_ROOT = pathlib.Path(__file__).resolve().parent.parent


class ExtrasTest(parameterized.TestCase):
    def test_import_that_works_leaves_no_trace(self):
        with needs_extra("ray", "this"):
            import json

        self.assertEqual(json.loads("1"), 1)

    def test_other_errors_stay_as_they_are(self):
        with self.assertRaisesRegex(KeyError, "x"), needs_extra("ray", "this"):
            raise KeyError("x")

    @parameterized.named_parameters(
        ("ray", "ray", "ray", lambda: connect("")),
        ("qat", "qat", "tensorflow_model_optimization", check_packages),
        ("gp", "gp", "torch", lambda: make_algorithm("gp", random_space(0), ())),
        (
            "tfds",
            "tfds",
            "tensorflow_datasets",
            lambda: load_tfds("tfds:mnist", "mnist", Options(None, 0.2, 0, None)),
        ),
        (
            "postgres",
            "postgres",
            "psycopg",
            lambda: open_storage("postgresql+psycopg://localhost/x", "x"),
        ),
    )
    def test_missing_package_is_one_line_with_its_extra(self, extra, package, call):
        advice = rf"needs the extra '{extra}': pip install 'layernas-tf\[{extra}\]'"
        with (
            mock.patch.dict(sys.modules, {package: None}),
            self.assertRaisesRegex(UserError, rf"^.+ {advice}( \(.*{package}.*\))?$"),
        ):
            call()

    def test_missing_runtime_names_its_extra(self):
        with (
            mock.patch.object(runtime, "installed_runtimes", lambda: ("tf.lite",)),
            self.assertRaisesRegex(UserError, "tflite-runtime.*not installed.* needs"),
        ):
            runtime.resolve_runtime("tflite-runtime")

    def test_extras_are_those_of_the_distribution(self):
        project = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))[
            "project"
        ]

        self.assertEqual(
            {"all", *typing.get_args(Extra)}, set(project["optional-dependencies"])
        )


if __name__ == "__main__":
    absltest.main()
