"""The winner's folder: its files are all of the same network."""

from __future__ import annotations

import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

from layernas_tf.api.result import SearchResult
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.export_winner import export_finals
from layernas_tf.pipeline.final_trainer import Training
from layernas_tf.pipeline.targets import Target
from tests import small_networks


class WinnerFilesTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.exported = []

    def exporter(self, model, dataset, folder, formats, *, input_type, network):
        """Writes the name of the network's weights in place of a file."""
        self.exported.append((formats, input_type, network[1]))
        for form in formats:
            content = network[1] + tuple(map(len, (form, input_type)))
            pathlib.Path(folder, f"model_{form}.tflite").write_text(str(content))
        return []

    def export(self, architecture, **options):
        """What the search does when this architecture wins."""
        config = SearchConfig(**{"formats": "float32", **options})
        weights = self.folder / f"{''.join(map(str, architecture))}.keras"
        small_networks.network().save(weights)
        training = Training(architecture, 0, 0.5, 1.0, 1.0, test_accuracy=0.5)
        finals = mock.Mock(
            target=Target("winner", ()), weights=weights, winner_trainings=(training,)
        )
        finals.winner.architecture = architecture
        space = small_networks.space()
        task = mock.Mock(config=config, space=space, dataset=object())
        export_finals(task, finals, self.folder, self.exporter)
        return SearchResult(mock.Mock(folder=self.folder, finals=finals, task=task))

    def test_a_new_winner_leaves_no_files_of_an_earlier_one(self):
        self.export((0, 0, 0), formats="float32,int8")
        self.export((1, 0, 0))
        files = {path.name for path in (self.folder / "winner").iterdir()}
        self.assertEqual(
            files, {"model.keras", "architecture.json", "model_float32.tflite"}
        )

    def test_a_file_that_is_asked_for_later_is_of_the_present_winner(self):
        out = self.folder / "out.tflite"
        with mock.patch("export.exporter.export_winner", self.exporter):
            self.export((0, 0, 0)).export(out)
            first = out.read_text()
            self.export((1, 0, 0), export_input_type="int8").export(out)
        self.assertNotEqual(out.read_text(), first)
        self.assertEqual(self.exported[-1], (("int8",), "int8", (1, 0, 0)))


if __name__ == "__main__":
    absltest.main()
