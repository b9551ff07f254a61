"""The notebook of the examples runs from its first cell to its last."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile

import nbclient
import nbformat
from absl.testing import absltest

_ROOT = pathlib.Path(__file__).resolve().parent.parent


class NotebookTest(absltest.TestCase):
    def test_first_search_ends_with_a_file_for_a_phone(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        shutil.copy(_ROOT / "examples" / "my_space.py", folder)
        paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
        self.enter_context(
            absltest.mock.patch.dict(
                os.environ,
                PYTHONPATH=os.pathsep.join(filter(None, paths)),
                # The home folder need not be writable.
                IPYTHONDIR=str(folder / "ipython"),
                JUPYTER_RUNTIME_DIR=str(folder / "runtime"),
            )
        )
        notebook = nbformat.read(_ROOT / "examples" / "first_search.ipynb", 4)
        for cell in notebook.cells:
            self.assertFalse(
                cell.get("outputs"), "the notebook is kept without outputs"
            )

        nbclient.NotebookClient(
            notebook, timeout=900, resources={"metadata": {"path": str(folder)}}
        ).execute()

        self.assertIn(b"TFL3", (folder / "first_search.tflite").read_bytes()[:8])
        shown = [
            output.data
            for cell in notebook.cells
            for output in cell.get("outputs", [])
            if "data" in output
        ]
        self.assertTrue(any("image/png" in data for data in shown))


if __name__ == "__main__":
    absltest.main()
