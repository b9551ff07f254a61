"""A search that is resumed is the same search, or says what changed."""

from __future__ import annotations

import dataclasses
import errno
import pathlib
import tempfile
from unittest import mock

import numpy as np
from absl.testing import absltest, parameterized
from PIL import Image

import layernas_tf
from layernas_tf.core.errors import UserError
from layernas_tf.core.workdir import lock_workdir
from layernas_tf.datasets.split import ArraySplit
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.fingerprint import (
    DATA,
    RECIPE,
    SPACE,
    _recipe,
    _without_names,
    fingerprint,
)
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.load_task import load_task
from layernas_tf.space import Layer
from layernas_tf.training.recipe import Recipe
from search_spaces.registry import check_name, get_space
from search_spaces.tabular.burger import burger

_SPACE = """
import keras
from layernas_tf.space import Option, State
from search_spaces.blocks import ConvBlock, ConvHead, Rescale, Stem
from search_spaces.blocks import BlockLayer, block_space, fixed

def net(resolution=32, classes=10, channels=3):
    options = tuple(Option.of(filters=f) for f in (8, 16))
    return block_space(
        "net",
        State.of_image(channels, resolution),
        (
            fixed("stem", Stem(Rescale(), ConvBlock(8, 3, stride=2))),
            BlockLayer("a", options, 0, lambda o: ConvBlock(o["filters"], 3)),
            fixed("head", ConvHead(ConvBlock(16), classes)),
        ),
        {"resolution": resolution, "classes": classes, "channels": channels},
    )
"""


def _task(**changes):
    config = SearchConfig(space="mobilenet_v2", limit=100, **changes)
    return load_task(config, Inputs(get_space, check_name))


class FingerprintTest(parameterized.TestCase):
    def test_the_same_search_has_the_same_digests(self):
        self.assertEqual(fingerprint(_task()), fingerprint(_task()))

    @parameterized.parameters(
        ({"learning_rate": 0.1}, {RECIPE}),
        ({"seed": 3}, {DATA}),
        ({"stem_stride": 2}, {SPACE}),
    )
    def test_what_differs_is_named(self, changes, parts):
        before, after = fingerprint(_task()), fingerprint(_task(**changes))
        self.assertEqual(
            {part for part in before if before[part] != after[part]}, parts
        )

    def test_one_pixel_counts(self):
        task = _task()
        images = np.array(task.dataset.valid.images)
        images[0, 0, 0, 0] ^= 1
        valid = ArraySplit(images, task.dataset.valid.labels)
        other = dataclasses.replace(
            task, dataset=dataclasses.replace(task.dataset, valid=valid)
        )
        self.assertNotEqual(fingerprint(task)[DATA], fingerprint(other)[DATA])

    def test_an_edited_activation_counts_though_names_and_costs_stay(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        found = []
        relu = _SPACE.replace("ConvBlock(16)", 'ConvBlock(16, activation="relu")')
        for text in (_SPACE, relu):
            path = folder / "net.py"
            path.write_text(text)
            task = load_task(
                SearchConfig(space=f"{path}:net", limit=100, budget=()),
                Inputs(get_space, check_name),
            )
            found.append((fingerprint(task)[SPACE], task.space.costs((0, 1, 0))))
        self.assertEqual(found[0][1], found[1][1])
        self.assertNotEqual(found[0][0], found[1][0])

    def test_names_that_keras_counts_up_do_not_count(self):
        import keras

        inputs = keras.Input((3,))

        def network():
            x = keras.layers.Dense(4, activation="softmax")(inputs)
            return keras.Model(inputs, keras.layers.Softmax()(x)).get_config()

        first, second = network(), network()
        self.assertNotEqual(first, second)
        self.assertEqual(_without_names(first), _without_names(second))

    def test_files_of_a_streamed_folder_count_and_copies_are_the_same(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        for label in ("a", "b"):
            (folder / label).mkdir()
            for number in range(6):
                pixels = np.full((9, 9, 3), 40 * number + 5, np.uint8)
                Image.fromarray(pixels).save(folder / label / f"{number}.png")
        self.enter_context(mock.patch("layernas_tf.datasets.folder.HELD_BYTES", 1))
        config = SearchConfig(
            space="mobilenet_v2",
            dataset=f"folder:{folder}",
            resolution="32",
            budget=(),
        )

        def digest():
            task = load_task(config, Inputs(get_space, check_name))
            return fingerprint(task)[DATA]

        before = digest()
        file = folder / "a" / "3.png"
        content = file.read_bytes()
        file.unlink()
        file.write_bytes(content)
        self.assertEqual(digest(), before)
        noise = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
        Image.fromarray(noise).save(file)
        self.assertNotEqual(digest(), before)

    def test_of_a_recipe_what_is_by_default_does_not_count(self):
        self.assertEqual(_recipe(None), {})
        self.assertEqual(_recipe(Recipe(3)), {"epochs": 3})
        self.assertEqual(
            _recipe(Recipe(3, class_weights="balanced")),
            {"epochs": 3, "class_weights": "balanced"},
        )


class ResumeTest(absltest.TestCase):
    def search(self, folder: str, space, trials: int, **options):
        return layernas_tf.run_search(
            space=space,
            budget="price<=60%",
            evaluator=lambda candidate: float(sum(candidate.architecture)),
            algorithm="random",
            trials=trials,
            workdir=folder,
            verbose=0,
            **options,
        )

    def test_old_rewards_are_refused_or_kept_without_being_believed(self):
        folder = self.enter_context(tempfile.TemporaryDirectory())
        space = burger()
        self.search(folder, space, 5)

        def at_double_cost(layer: Layer) -> Layer:
            def transition(state, option):
                after, costs = layer.transition(state, option)
                return after, {name: 2 * cost for name, cost in costs.items()}

            return dataclasses.replace(layer, transition=transition)

        other = dataclasses.replace(
            space, layers=(at_double_cost(space.layers[0]), *space.layers[1:])
        )
        with self.assertRaisesRegex(
            UserError, "the search space changed since .*`accept_changes`"
        ) as caught:
            self.search(folder, other, 9)
        self.assertNotIn("\n", str(caught.exception))

        result = self.search(folder, other, 9, accept_changes=True)
        rewards = list(result.trials["reward"].notna())
        self.assertEqual(rewards, [False] * 5 + [True] * 4)
        self.assertTrue(pathlib.Path(folder, "before_1", "trials.csv").exists())
        self.assertGreaterEqual(result.winner.trial, 5)
        # The change was accepted once; from then on, this is the search.
        again = self.search(folder, other, 12)
        self.assertEqual(list(again.trials["reward"].notna()), [False] * 5 + [True] * 7)

    def test_a_search_that_never_began_leaves_nothing(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        with self.assertRaises(UserError):
            self.search(
                str(folder / "a" / "b"),
                burger(),
                3,
                storage="postgresql://x@127.0.0.1:1/y",
            )
        self.assertEmpty(list(folder.iterdir()))

    def test_a_file_system_without_locks_is_told_as_that(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        refused = OSError(errno.ENOLCK, "No locks available")
        with mock.patch("fcntl.flock", side_effect=refused):
            with self.assertRaisesRegex(UserError, "a file system without locks"):
                with lock_workdir(folder):
                    pass


if __name__ == "__main__":
    absltest.main()
