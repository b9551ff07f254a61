"""Rewards of candidates, and what becomes of one that cannot be trained."""

from __future__ import annotations

import dataclasses

import keras
import tensorflow as tf
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import TrialFailure
from layernas_tf.evaluators.keras_evaluator import KerasEvaluator
from layernas_tf.space.candidate import Candidate
from layernas_tf.training.result import REWARDS
from layernas_tf.training.train import Recipe
from tests import small_networks

RECIPE = Recipe(3, 32, learning_rate=0.02, warmup_epochs=1)


def candidate(*architecture: int) -> Candidate:
    """A candidate as an algorithm would propose it."""
    return Candidate(architecture, 0)


def evaluator(builder=None, recipe: Recipe = RECIPE, **changes) -> KerasEvaluator:
    """An evaluator on the stripes; nobody may look at their test split."""
    dataset = small_networks.without_test(small_networks.stripes())
    return KerasEvaluator(
        dataclasses.replace(small_networks.space(builder), **changes),
        dataset,
        recipe,
        seed=1,
    )


class KerasEvaluatorTest(parameterized.TestCase):
    def test_the_reward_is_a_reproducible_validation_accuracy(self):
        evaluate = evaluator()
        first = evaluate(candidate(0, 1, 0))
        other = evaluate(candidate(1, 1, 1))
        again = evaluate(candidate(0, 1, 0))
        self.assertGreater(first.reward, 0.8)
        self.assertLessEqual(first.reward, 1.0)
        self.assertEqual(first.reward, again.reward)
        self.assertEqual(first.metrics["valid_loss"], again.metrics["valid_loss"])
        self.assertNotEqual(first.metrics["valid_loss"], other.metrics["valid_loss"])
        self.assertGreater(first.metrics["train_seconds"], 0)

    def test_losses_as_rewards_are_negative(self):
        dataset = small_networks.stripes()
        space = small_networks.space()
        found = {
            reward: KerasEvaluator(space, dataset, RECIPE, seed=1, reward=reward)(
                candidate(0, 1, 0)
            )
            for reward in REWARDS
        }
        metrics = found["valid_loss"].metrics
        self.assertEqual(found["valid_loss"].reward, -metrics["valid_loss"])
        self.assertEqual(found["accuracy"].reward, metrics["valid_accuracy"])
        # The loss of all epochs is greater than that of the last one.
        self.assertLess(found["train_loss_sum"].reward, -metrics["train_loss"])

    @parameterized.named_parameters(
        ("memory", MemoryError(), "out of memory"),
        (
            "device_memory",
            tf.errors.ResourceExhaustedError(None, None, "OOM when allocating\ntrace"),
            "out of memory",
        ),
        ("other", RuntimeError("first line\nsecond line"), "RuntimeError: first line"),
        ("silent", ValueError(), "ValueError"),
    )
    def test_one_broken_candidate_fails_alone(self, error, reason):
        def build(architecture):
            if architecture[0] == 1:
                raise error
            return small_networks.network((8,))

        evaluate = evaluator(build)
        with self.assertRaisesRegex(TrialFailure, reason) as caught:
            evaluate(candidate(1, 0, 0))
        self.assertNotIn("\n", str(caught.exception))
        self.assertIsNone(caught.exception.__cause__)
        self.assertGreater(evaluate(candidate(0, 0, 0)).reward, 0.5)

    def test_a_loss_that_is_not_finite_fails_the_trial(self):
        recipe = Recipe(1, 32, optimizer="sgd", learning_rate=1e30)
        with self.assertRaisesRegex(TrialFailure, "loss became .* in epoch"):
            evaluator(recipe=recipe)(candidate(0, 0, 0))

    def test_networks_that_are_no_chain_are_trained_by_keras(self):
        def build(architecture):
            x = keras.Input((16, 16, 1))
            shared = keras.layers.Conv2D(8, 3, padding="same", activation="relu")
            y = keras.layers.Conv2D(8, 1)(keras.layers.Rescaling(1 / 255)(x))
            y = keras.layers.GlobalAveragePooling2D()(shared(shared(y)))
            return keras.Model(x, keras.layers.Dense(3, activation="softmax")(y))

        self.assertGreater(evaluator(build)(candidate(0, 0, 0)).reward, 0.3)

    def test_a_space_that_does_not_fit_the_images_is_refused_at_once(self):
        with self.assertRaisesRegex(UserError, r"\(16, 16, 3\).*\(16, 16, 1\)"):
            evaluator(
                start=dataclasses.replace(small_networks.space().start, channels=3)
            )
        with self.assertRaisesRegex(UserError, "no Keras builder"):
            KerasEvaluator(
                dataclasses.replace(small_networks.space(), builder=None),
                small_networks.stripes(),
                RECIPE,
                seed=0,
            )


if __name__ == "__main__":
    absltest.main()
