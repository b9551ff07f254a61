"""Grey folders give networks of one channel, wide folders rectangular ones."""

from __future__ import annotations

import os
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

from export.conversion.convert import convert_all
from export.tflite.metadata import read_metadata
from export.tflite.runtime import resolve_runtime
from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution, resolution_name
from layernas_tf.costs.keras_profiler import profile
from layernas_tf.datasets import load_dataset
from layernas_tf.space.types import State
from search_spaces.registry import get_space

SPACES = (
    "mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0",
    "mnasnet",
)  # fmt: skip


class OneChannelTest(parameterized.TestCase):
    @parameterized.parameters(*SPACES)
    def test_every_space_builds_for_grey_rectangles(self, name):
        space = get_space(name, resolution="32x48", classes=3, channels=1)
        self.assertEqual(space.start, State(1, 32, 48))
        again = get_space(name, **space.arguments)
        self.assertEqual(again.costs(again.default), space.costs(space.default))
        model = space.build(space.default)
        self.assertEqual(model.input_shape, (None, 32, 48, 1))
        self.assertEqual(profile(model)["madds"], space.costs(space.default)["madds"])

    def test_a_grey_folder_comes_to_a_file_that_says_how_to_feed_it(self):
        root = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        for label, low in (("dark", 20), ("light", 180)):
            (root / label).mkdir()
            for number in range(6):
                pixels = np.full((32, 48), low + 5 * number, np.uint8)
                pixels[:8] = 255 - low
                Image.fromarray(pixels).save(root / label / f"{number}.png")
        dataset = load_dataset(f"folder:{root}", channels=1, resolution="32x48")
        self.assertEqual(dataset.shape, (32, 48, 1))
        self.assertNotIn("channels=1", " ".join(dataset.check.lines()))
        space = get_space(
            "mobilenet_v3_small", resolution="32x48", classes=2, channels=1, width=0.5
        )
        path = os.path.join(root, "model.tflite")
        convert_all(
            space.build(space.default),
            {"int8": path},
            representative_images=dataset.train.images.astype(np.float32),
            labels=dataset.class_names,
            frame=dataset.frame,
        )
        recipe = read_metadata(path).recipe
        self.assertEqual(recipe, dataset.frame.recipe())
        self.assertEqual((recipe["height"], recipe["width"]), (32, 48))
        self.assertIn("grey", recipe["color"])
        self.assertTrue(resolve_runtime("auto"))


class ResolutionTest(parameterized.TestCase):
    @parameterized.parameters(
        (96, (96, 96)), ("96", (96, 96)), ("96x160", (96, 160)), ((8, 9), (8, 9))
    )
    def test_forms(self, text, sides):
        self.assertEqual(parse_resolution(text), sides)
        self.assertEqual(parse_resolution(resolution_name(*sides)), sides)

    @parameterized.parameters(
        "", "x", "0", "-1", "1e3", "96x", "96x0", "5000", "1x2x3", 1.5, None, True, "٣"
    )
    def test_others_are_refused(self, text):
        with self.assertRaisesRegex(UserError, "resolution must be"):
            parse_resolution(text)


if __name__ == "__main__":
    absltest.main()
