"""What a child takes over from its parent, and the files that it comes from."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import tempfile

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import TrialFailure
from layernas_tf.evaluators.keras_evaluator import KerasEvaluator
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_file import check_resume, save_config
from layernas_tf.space.candidate import Candidate
from layernas_tf.training import inherit, weight_store
from layernas_tf.training.recipe import Recipe
from layernas_tf.training.surgery import make_donor, transplant
from layernas_tf.workers.child_process import ChildProcess
from tests import small_networks
from tests.small_blocks import small_space

SPACE = small_space(resolution=16, classes=3, channels=1)
PARENT = (0, 0, 1, 0, 0)
RECIPE = Recipe(1, 32, learning_rate=0.02, warmup_epochs=0)


def trained(architecture=PARENT, seed: int = 0) -> keras.Model:
    """A network whose every weight, statistics too, differs from a fresh one's."""
    model = SPACE.build(architecture)
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def evaluator(weights: pathlib.Path | None, builder=None) -> KerasEvaluator:
    """Trains on the stripes for one epoch."""
    space = dataclasses.replace(SPACE, builder=builder) if builder else SPACE
    return KerasEvaluator(
        space, small_networks.stripes(96), RECIPE, seed=1, weights=weights
    )


def inherited(*architecture: int, parent=PARENT) -> tuple[keras.Model, float]:
    """A child with what it inherits of `trained(parent)`, and the share."""
    weights = inherit.weights_of(trained(parent))
    donor = inherit.donor_of(SPACE, parent, weights)
    child = SPACE.build(architecture)
    return child, transplant(donor, child).share


class NetworkTest(parameterized.TestCase):
    def assertComputesAs(self, child, parent, **tolerance):
        images = np.random.default_rng(0).uniform(0, 255, (4, 16, 16, 1))
        np.testing.assert_allclose(
            child(images, training=False), parent(images, training=False), **tolerance
        )

    def test_an_equal_child_computes_the_same(self):
        child, share = inherited(*PARENT)
        self.assertEqual(share, 1.0)
        self.assertComputesAs(child, trained(), rtol=0)

    def test_a_larger_kernel_has_the_old_one_in_its_centre(self):
        child, share = inherited(0, 1, 1, 0, 0)
        weights = inherit.weights_of(child)
        before = inherit.weights_of(trained())
        kernel = "first_depthwise_conv/kernel"
        for name in weights.keys() - {kernel}:
            np.testing.assert_array_equal(weights[name], before[name], name)
        np.testing.assert_array_equal(weights[kernel][1:4, 1:4], before[kernel])
        self.assertEqual(
            np.count_nonzero(weights[kernel]), np.count_nonzero(before[kernel])
        )
        self.assertEqual(share, 1.0)

    def test_more_filters_leave_the_function_as_it_is(self):
        child, _ = inherited(0, 2, 1, 0, 0)
        self.assertComputesAs(child, trained(), atol=1e-5)

    def test_fewer_filters_are_the_ones_with_the_largest_weights(self):
        wide = (0, 2, 1, 0, 0)
        parent = trained(wide)
        strong = np.arange(16) % 2 == 1
        variable = parent.get_layer("first_project_conv").kernel
        variable.assign(np.asarray(variable) * np.where(strong, 100.0, 1.0))
        kernel = np.asarray(variable)
        donor = inherit.donor_of(SPACE, wide, inherit.weights_of(parent))
        child = SPACE.build(PARENT)
        transplant(donor, child)
        np.testing.assert_array_equal(
            child.get_layer("first_project_conv").kernel, kernel[..., strong]
        )

    @parameterized.parameters(((0, 0, 0, 0, 0), PARENT), (PARENT, (0, 0, 0, 0, 0)))
    def test_a_dropped_block_leaves_the_others_alone(self, architecture, parent):
        child, _ = inherited(*architecture, parent=parent)
        weights = inherit.weights_of(child)
        before = inherit.weights_of(trained(parent))
        for name in weights:
            if not name.startswith("second"):
                np.testing.assert_array_equal(weights[name], before[name], name)

    def test_weights_of_another_architecture_are_no_donor(self):
        weights = inherit.weights_of(trained())
        self.assertIsNone(inherit.donor_of(SPACE, (0, 2, 1, 0, 0), weights))

    def test_layers_of_other_kinds_are_copied_where_they_are_alike(self):
        def attention(units):
            image = keras.Input((4, 8))
            layer = keras.layers.MultiHeadAttention(2, units, name="attention")
            return keras.Model(image, layer(image, image))

        parent, child = attention(3), attention(3)
        self.assertEqual(transplant(make_donor(parent, "l2"), child).share, 1)
        for one, other in zip(parent.get_weights(), child.get_weights()):
            np.testing.assert_array_equal(one, other)
        self.assertEqual(transplant(make_donor(parent, "l2"), attention(4)).share, 0)

    def test_networks_with_invented_names_are_refused(self):
        inherit.check_names(SPACE.build(PARENT))
        with self.assertRaisesRegex(UserError, "'conv2d.*name that Keras made up"):
            inherit.check_names(small_networks.network())


class ChoiceTest(absltest.TestCase):
    def test_shared_layers_take_the_same_shape_in(self):
        self.assertEqual(inherit.shared_layers(SPACE, PARENT, PARENT), 5)
        self.assertEqual(inherit.shared_layers(SPACE, PARENT, (0, 1, 1, 0, 0)), 4)
        # More channels leave equal only the stem before them.
        self.assertEqual(inherit.shared_layers(SPACE, PARENT, (0, 2, 1, 0, 0)), 1)

    def test_the_parent_comes_first_then_the_most_alike_then_the_best(self):
        def kept(number, reward, *architecture):
            path = pathlib.Path("nowhere")
            return weight_store.KeptWeights(path, number, architecture, reward, 1)

        others = [
            kept(0, 0.9, 0, 2, 1, 0, 0),
            kept(1, 0.5, 0, 0, 2, 0, 0),
            kept(2, 0.6, 0, 0, 0, 0, 0),
            kept(3, 0.1, *PARENT),
            kept(4, 0.6, 0, 0, 1, 0, 0),
        ]

        def order(parent):
            candidate = Candidate((0, 0, 2, 0, 0), 9, 2, parent)
            ordered = inherit.nearest_first(SPACE, candidate, others)
            return [other.number for other in ordered]

        self.assertEqual(order(PARENT), [4, 3, 1, 2, 0])
        self.assertEqual(order(None), [1, 2, 4, 3, 0])
        self.assertEqual(order((0, 2, 1, 0, 0)), [0, 1, 2, 4, 3])


class FilesTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.weights = {"a/kernel": np.arange(600, dtype=np.float32).reshape(2, 300)}

    def keep(self, number: int, reward: float) -> pathlib.Path:
        weight_store.keep(self.folder, number, PARENT, reward, 1, self.weights)
        return self.folder / f"trial_{number:05d}.npz"

    def before(self, number: int) -> list[int]:
        found = weight_store.kept_before(self.folder, SPACE, number)
        return [kept.number for kept in found]

    def test_what_is_written_is_read(self):
        self.keep(3, 0.5)
        (kept,) = weight_store.kept_before(self.folder, SPACE, 4)
        self.assertEqual(
            dataclasses.astuple(kept)[1:], (3, PARENT, 0.5, 1), "number, ..., lineage"
        )
        weights = weight_store.read_weights(kept)
        np.testing.assert_array_equal(weights["a/kernel"], self.weights["a/kernel"])

    def test_only_the_best_stay_and_a_repeated_trial_finds_the_same(self):
        most = weight_store.MOST
        for number in range(most):
            self.keep(number, number / 100)
        everybody = list(reversed(range(most)))
        self.assertEqual(self.before(most), everybody)
        self.keep(most, 0.99)
        self.assertEqual(self.before(most), everybody)  # killed before it was told
        self.assertEqual(self.before(most + 1), [most, *everybody[:-1]])
        self.assertLen(list(self.folder.iterdir()), most)

    def test_damaged_files_are_passed_over(self):
        good = self.keep(0, 0.1).read_bytes()
        (self.folder / "trial_0001.npz").write_text("a table")
        (self.folder / "trial_00002.npz").write_bytes(b"")
        np.save(self.folder / "trial_00003.npy", np.zeros(2))
        (self.folder / "trial_00003.npy").rename(self.folder / "trial_00003.npz")
        pickled = np.array([{"a": 1}], dtype=object)
        np.savez(self.folder / "trial_00004.npz", architecture=pickled)
        np.savez(self.folder / "trial_00005.npz", architecture=np.array([9, 9]))
        rng = np.random.default_rng(0)
        (kept,) = weight_store.kept_before(self.folder, SPACE, 9)
        self.assertEqual(kept.number, 0)
        for _ in range(300):
            cut = int(rng.integers(len(good)))
            damaged = bytearray(good[:cut] if rng.integers(2) else good)
            if damaged:
                damaged[int(rng.integers(len(damaged)))] ^= 0xFF
            kept.path.write_bytes(damaged)
            weight_store.kept_before(self.folder, SPACE, 9)
            weights = weight_store.read_weights(kept)
            if weights is not None and "a/kernel" in weights:
                np.testing.assert_array_equal(
                    weights["a/kernel"], self.weights["a/kernel"]
                )
        kept.path.unlink()
        self.assertIsNone(weight_store.read_weights(kept))

    def test_a_folder_that_cannot_be_written_costs_no_trial(self):
        self.folder.joinpath("weights").write_text("a file")
        self.assertFalse(
            weight_store.keep(self.folder / "weights", 0, PARENT, 0.5, 1, self.weights)
        )


def evaluator_in(folder: str) -> KerasEvaluator:
    """What the child process makes."""
    return evaluator(pathlib.Path(folder))


class EvaluatorTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

    def test_a_search_interrupted_anywhere_inherits_the_same(self):
        folder = self.folder / "weights"
        evaluate = evaluator(folder)
        algorithm, candidates, evaluations = LayerNAS(SPACE, seed=3), [], []
        for _ in range(3):
            candidates.append(algorithm.ask())
            evaluations.append(evaluate(candidates[-1]))
            algorithm.tell(candidates[-1], evaluations[-1].reward)
        for number, evaluation in enumerate(evaluations):
            self.assertEqual(evaluation.metrics["lineage"] > 1, number > 0)
            self.assertEqual(evaluation.metrics["inherited_share"] > 0, number > 0)
            self.assertEqual(evaluation.metrics["weights_kept"], 1)
        # The last trial left its weights, but its reward was never recorded.
        child = ChildProcess(functools.partial(evaluator_in, str(folder)), 100)
        self.addCleanup(child.close)
        last = candidates[-1]
        self.assertEqual(_figures(child(last)), _figures(evaluations[-1]))
        child.close()
        with self.subTest("missing and damaged files mean a fresh start"):
            (folder / "trial_00000.npz").unlink()
            path = folder / "trial_00001.npz"
            path.write_bytes(path.read_bytes()[:-100])
            alone = evaluate(last)
            fresh = evaluator(None)(last)
            self.assertEqual(alone.metrics["lineage"], 1)
            self.assertEqual(alone.metrics["inherited_share"], 0)
            self.assertNotIn("lineage", fresh.metrics)
            for name, value in _figures(fresh).items():
                self.assertEqual(_figures(alone)[name], value, name)
            self.assertNotEqual(
                fresh.metrics["valid_loss"], evaluations[-1].metrics["valid_loss"]
            )

    def test_weights_are_kept_with_the_reward(self):
        evaluate = KerasEvaluator(
            SPACE,
            small_networks.stripes(96),
            RECIPE,
            weights=self.folder,
            reward="valid_loss",
        )
        evaluation = evaluate(Candidate(PARENT, 0))
        (kept,) = weight_store.kept_before(self.folder, SPACE, 1)
        self.assertEqual(kept.reward, evaluation.reward)

    def test_a_space_without_names_fails_with_the_reason(self):
        def build(architecture):
            return small_networks.network()

        with self.assertRaisesRegex(
            (UserError, TrialFailure), "`inherit_weights`: layer 'conv2d"
        ):
            evaluator(self.folder, build)(Candidate(PARENT, 0))

    def test_the_flag_matters_for_a_resume(self):
        path = self.folder / "config.json"
        save_config(SearchConfig(), path)
        self.assertFalse(SearchConfig().inherit_weights)
        with self.assertRaisesRegex(UserError, "`inherit_weights` was False, is True"):
            check_resume(SearchConfig(inherit_weights=True), path)


def _figures(evaluation) -> dict[str, float]:
    kept = {k: v for k, v in evaluation.metrics.items() if not k.endswith("_seconds")}
    return kept | {"reward": evaluation.reward}


if __name__ == "__main__":
    absltest.main()
