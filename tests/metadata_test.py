"""Metadata in .tflite files: written, read back, and no burden to any runtime."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import unittest
import zipfile

import numpy as np
from absl.testing import absltest

from export.conversion.convert import convert_all
from export.tflite import runtime
from export.tflite.flatbuffer import read_model, schema
from export.tflite.metadata import Metadata, read_metadata, with_metadata
from layernas_tf.core.errors import UserError
from tests import classifier

_LABELS = tuple(f"digit {number}" for number in range(9)) + ("größte",)
_METADATA = Metadata("net", "made for a test", _LABELS)


def setUpModule():
    global _FOLDER, _PLAIN
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    _FOLDER = folder.name
    _PLAIN = {
        name: os.path.join(_FOLDER, f"{name}.tflite") for name in ("float32", "int8")
    }
    convert_all(
        classifier.small_mobilenet_v3(),
        _PLAIN,
        representative_images=classifier.digits().train.images[:20],
    )


def content(path):
    with open(path, "rb") as file:
        return file.read()


def written(name, metadata=_METADATA):
    path = os.path.join(_FOLDER, f"described_{name}.tflite")
    with open(path, "wb") as file:
        file.write(with_metadata(content(_PLAIN[name]), metadata))
    return path


class MetadataTest(absltest.TestCase):
    def test_what_is_written_is_read_back(self):
        self.assertIsNone(read_metadata(_PLAIN["int8"]))
        self.assertEqual(read_metadata(written("int8")), _METADATA)
        per_channel = Metadata("n", "d", ("a", "b"), (1.0, 2.5), (3.0, 0.5), (-1, 1))
        self.assertEqual(read_metadata(written("int8", per_channel)), per_channel)

    def test_later_metadata_take_the_place_of_earlier(self):
        other = Metadata("other", "again", ("yes", "no"))
        twice = with_metadata(content(written("int8")), other)
        path = os.path.join(_FOLDER, "twice.tflite")
        with open(path, "wb") as file:
            file.write(twice)
        self.assertEqual(read_metadata(path), other)
        model = read_model(twice, path)
        self.assertEqual([e.name for e in model.metadata].count(b"TFLITE_METADATA"), 1)

    def test_every_runtime_gives_the_same_outputs_as_without(self):
        images = classifier.digits().test.images[:8]
        for name, plain in _PLAIN.items():
            described = written(name)
            self.assertEqual(runtime.operators(described), runtime.operators(plain))
            for installed in runtime.installed_runtimes():
                np.testing.assert_array_equal(
                    runtime.load(described, runtime=installed).run(images),
                    runtime.load(plain, runtime=installed).run(images),
                )

    def test_weights_stay_where_kernels_may_load_them(self):
        packed = content(written("float32"))
        model = schema().Model.GetRootAs(packed, 0)
        checked = 0
        for index in range(model.BuffersLength()):
            table = model.Buffers(index)._tab
            if field := table.Offset(4):
                self.assertEqual(table.Vector(field) % 16, 0)
                checked += 1
        self.assertGreater(checked, 10)

    def test_it_is_the_format_of_tflite_metadata(self):
        packed = content(written("int8"))
        # The labels: a file that is stored as it is, in an archive behind the model.
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            (entry,) = archive.infolist()
            self.assertEqual(entry.filename, "labels.txt")
            self.assertEqual(entry.compress_type, zipfile.ZIP_STORED)
            self.assertEqual(archive.read(entry).decode().splitlines(), list(_LABELS))
        # The rest: a flatbuffer with the identifier of ModelMetadata.
        model = read_model(packed, "")
        (entry,) = [e for e in model.metadata if e.name == b"TFLITE_METADATA"]
        data = bytes(model.buffers[entry.buffer].data)
        self.assertEqual(data[4:8], b"M001")

    def test_the_same_model_gives_the_same_file(self):
        plain = content(_PLAIN["float32"])
        self.assertEqual(
            with_metadata(plain, _METADATA), with_metadata(plain, _METADATA)
        )

    def test_conversion_adds_the_labels(self):
        path = os.path.join(_FOLDER, "labelled.tflite")
        convert_all(classifier.small_mobilenet_v3(), {"float32": path}, labels=_LABELS)
        metadata = read_metadata(path)
        self.assertEqual(metadata.labels, _LABELS)
        self.assertEqual((metadata.mean, metadata.std), ((0.0,), (1.0,)))
        self.assertEqual(metadata.pixel_range, (0.0, 255.0))
        self.assertIn("float32", metadata.description)


class RefusalTest(absltest.TestCase):
    def test_labels_that_are_no_lines(self):
        for label in ("two\nlines", "", " "):
            with self.assertRaisesRegex(UserError, "expected names of one line each"):
                with_metadata(content(_PLAIN["int8"]), Metadata("n", "d", ("a", label)))

    def test_files_that_are_none(self):
        with self.assertRaisesRegex(UserError, "'gone.tflite' cannot be read"):
            read_metadata("gone.tflite")
        with self.assertRaisesRegex(UserError, "is not a .tflite file"):
            with_metadata(b"something else", _METADATA)

    def test_labels_that_were_cut_off(self):
        path = os.path.join(_FOLDER, "cut.tflite")
        with open(path, "wb") as file:
            file.write(content(written("int8"))[:-30])
        with self.assertRaisesRegex(UserError, "metadata of .*cut.tflite' are damaged"):
            read_metadata(path)


class BinaryTest(absltest.TestCase):
    def run_binary(self, path):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        return subprocess.run(
            [sys.executable, "-m", "export.tflite.metadata", f"--model={path}"],
            env=os.environ | {"PYTHONPATH": os.pathsep.join([root, *sys.path])},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_prints_json(self):
        done = self.run_binary(written("int8"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout)["labels"], list(_LABELS))

    def test_says_where_there_is_none(self):
        done = self.run_binary(_PLAIN["int8"])
        self.assertEqual(done.returncode, 2)
        self.assertEqual(done.stderr, f"error: {_PLAIN['int8']!r} has no metadata\n")


if __name__ == "__main__":
    absltest.main()
