"""The import rules in pyproject.toml hold, and a forbidden import breaks them."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
import tempfile

from absl.testing import absltest, parameterized

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PACKAGES = ("layernas_tf", "search_spaces", "export")


class ImportContractsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self._root = pathlib.Path(scratch.name)
        for package in _PACKAGES:
            shutil.copytree(
                _ROOT / package,
                self._root / package,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        shutil.copy(_ROOT / "pyproject.toml", self._root)

    def _lint(self) -> subprocess.CompletedProcess[str]:
        program = (
            "import sys; from importlinter.cli import lint_imports_command as c; c()"
        )
        return subprocess.run(
            [sys.executable, "-c", program, "--no-cache"],
            cwd=self._root,
            env={"PYTHONPATH": str(self._root), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )

    def test_every_import_keeps_the_contracts(self):
        linted = self._lint()

        self.assertEqual(linted.returncode, 0, linted.stdout + linted.stderr)
        self.assertIn("0 broken", linted.stdout)

    @parameterized.named_parameters(
        ("upwards", "layernas_tf/costs/latency.py", "layernas_tf.study.study"),
        ("spaces_from_the_library", "layernas_tf/study/study.py", "search_spaces"),
        ("export_from_the_library", "layernas_tf/report/data.py", "export.tflite"),
        ("study_from_a_space", "search_spaces/registry.py", "layernas_tf.study.study"),
        ("circle", "search_spaces/blocks/heads.py", "search_spaces.mobile.stages"),
        ("spaces_from_export", "export/exporter.py", "search_spaces.registry"),
    )
    def test_forbidden_import_breaks_them(self, importer, imported):
        with open(self._root / importer, "a", encoding="utf-8") as file:
            file.write(f"\n\ndef lazy():\n    import {imported}\n")

        linted = self._lint()

        self.assertEqual(linted.returncode, 1, linted.stdout + linted.stderr)
        self.assertIn("BROKEN", linted.stdout)
        self.assertIn(f"-> {imported}", linted.stdout)


if __name__ == "__main__":
    absltest.main()
