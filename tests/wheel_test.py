"""The wheel, built offline: its packages, their data, its commands."""

from __future__ import annotations

import ast
import configparser
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from email.parser import HeaderParser

from absl.testing import absltest

import layernas_tf

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PACKAGES = ("layernas_tf", "search_spaces", "export")
_EXTRAS = {"all", "gp", "postgres", "qat", "ray", "tfds", "tflite-runtime"}
_COMMANDS = {
    "layernas-benchmark",
    "layernas-compare",
    "layernas-describe",
    "layernas-export",
    "layernas-latency-table",
    "layernas-search",
    "layernas-train",
}


class WheelTest(absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        scratch = tempfile.TemporaryDirectory()
        cls.addClassCleanup(scratch.cleanup)
        cls._scratch = pathlib.Path(scratch.name)
        source = cls._scratch / "source"  # setuptools leaves files beside what it reads
        source.mkdir()
        for package in _PACKAGES:
            shutil.copytree(
                _ROOT / package,
                source / package,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        for name in ("LICENSE", "README.md", "pyproject.toml"):
            shutil.copy(_ROOT / name, source)
        built = subprocess.run(
            [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"]
            + ["--no-index", "--quiet", "--wheel-dir", scratch.name, str(source)],
            capture_output=True,
            text=True,
        )
        if built.returncode:
            raise AssertionError(built.stdout + built.stderr)
        (cls._path,) = cls._scratch.glob("layernas_tf-*.whl")
        cls._wheel = zipfile.ZipFile(cls._path)
        cls.addClassCleanup(cls._wheel.close)

    def _metadata(self, name: str) -> str:
        (path,) = (
            each
            for each in self._wheel.namelist()
            if each.endswith(f".dist-info/{name}")
        )
        return self._wheel.read(path).decode()

    def test_holds_the_packages_and_their_data_alone(self):
        expected = {
            path.relative_to(_ROOT).as_posix()
            for package in _PACKAGES
            for path in (_ROOT / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
            if path.name != "BUILD"
        }

        found = {name for name in self._wheel.namelist() if ".dist-info/" not in name}

        self.assertEqual(found, expected)
        self.assertIn("layernas_tf/report/style.css", found)
        self.assertIn("layernas_tf/py.typed", found)

    def test_version_is_that_of_the_package(self):
        metadata = HeaderParser().parsestr(self._metadata("METADATA"))

        self.assertEqual(metadata["Name"], "layernas-tf")
        self.assertEqual(metadata["Version"], layernas_tf.__version__)
        self.assertEqual(set(metadata.get_all("Provides-Extra")), _EXTRAS)

    def test_tflite_runtime_is_asked_for_where_it_exists(self):
        metadata = HeaderParser().parsestr(self._metadata("METADATA"))

        (asked,) = (
            each
            for each in metadata.get_all("Requires-Dist")
            if each.startswith("tflite-runtime")
        )

        self.assertIn('python_version < "3.12"', asked)

    def test_commands_lead_to_functions(self):
        parser = configparser.ConfigParser()
        parser.read_string(self._metadata("entry_points.txt"))

        commands = dict(parser["console_scripts"])

        self.assertEqual(set(commands), _COMMANDS)
        for command, reference in commands.items():
            with self.subTest(command):
                module, _, name = reference.partition(":")
                source = self._wheel.read(f"{module.replace('.', '/')}.py").decode()
                functions = {
                    each.name: each
                    for each in ast.parse(source).body
                    if isinstance(each, ast.FunctionDef)
                }
                self.assertEmpty(functions[name].args.args)

    def test_command_lists_its_flags_outside_of_the_checkout(self):
        installed = self._scratch / "installed"
        self._wheel.extractall(installed)
        script = self._scratch / "layernas-search"
        script.write_text(
            f"import sys\nsys.path.insert(0, {str(installed)!r})\n"
            "from layernas_tf.search import cli\ncli()\n"
        )

        shown = subprocess.run(
            [sys.executable, "-P", str(script), "--help"],
            cwd=self._scratch,
            env={"PATH": "/usr/bin:/bin", "HOME": str(self._scratch)},
            capture_output=True,
            text=True,
        )

        self.assertEqual(shown.stderr, "")
        for text in ("Searches for a network", "--budget:", "--workdir:"):
            self.assertIn(text, shown.stdout)


if __name__ == "__main__":
    absltest.main()
