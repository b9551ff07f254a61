"""The comparison of two networks on the same images."""

from __future__ import annotations

import numpy as np
import scipy.stats
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.training.paired import (
    accuracy_interval,
    compare_paired,
    pack,
    paired_noise,
    unpack,
)


def trainings(
    rng: np.random.Generator,
    seeds: int,
    images: int,
    gain: float = 0.0,
    spread: float = 0.01,
) -> tuple[np.ndarray, np.ndarray]:
    """Two networks on images of any difficulty; accuracies about 0.8 and 0.8 + gain."""
    difficulty = rng.beta(0.6, 2.4, images)  # most are easy, a few are hard

    def one(shift: float) -> np.ndarray:
        fail = difficulty - shift - rng.normal(0, spread, (seeds, 1))
        return rng.random((seeds, images)) > np.clip(fail, 0, 1)

    return one(gain), one(0.0)


class CompareTest(parameterized.TestCase):
    @parameterized.parameters((1, 400, 0.0), (2, 400, 0.01), (3, 400, 0.01))
    def test_intervals_cover_no_difference_about_as_often_as_they_say(
        self, seeds, images, spread
    ):
        rng = np.random.default_rng(seeds)
        found = [
            compare_paired(*trainings(rng, seeds, images, 0.0, spread))
            for _ in range(200)
        ]
        told = np.mean([each.told for each in found])
        covered = np.mean([each.low <= 0 <= each.high for each in found])

        self.assertLessEqual(told, 0.08)
        self.assertGreaterEqual(covered, 0.92)

    @parameterized.parameters(1, 3)
    def test_a_difference_of_many_images_is_told(self, seeds):
        rng = np.random.default_rng(0)
        better, worse = trainings(rng, seeds, 4000, 0.1, 0.002)
        comparison = compare_paired(better, worse)

        self.assertTrue(comparison.told)
        self.assertGreater(comparison.low, 0.03)
        self.assertEqual((comparison.images, comparison.seeds), (4000, seeds))

    def test_one_training_each_is_mcnemars_test(self):
        first = np.array([[True] * 8 + [False] * 2 + [True] * 90])
        second = np.array([[False] * 8 + [True] * 2 + [True] * 90])
        comparison = compare_paired(first, second)
        p_value = scipy.stats.binomtest(8, 10).pvalue

        self.assertAlmostEqual(comparison.difference, 0.06)
        self.assertAlmostEqual(comparison.p_value, p_value)
        self.assertFalse(comparison.told)
        noise = np.sqrt((0.10 - 0.06**2) / 100)
        self.assertAlmostEqual(paired_noise(first[0], second[0]), noise)

    def test_the_same_network_has_no_difference(self):
        same = np.array([[True] * 70 + [False] * 30])
        comparison = compare_paired(same, same)

        self.assertEqual(comparison.difference, 0)
        self.assertEqual(comparison.p_value, 1)
        self.assertFalse(comparison.told)
        self.assertLess(comparison.low, 0)
        self.assertGreater(comparison.high, 0)

    @given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 80), st.integers())
    @settings(max_examples=20, deadline=None)
    def test_exchanging_the_networks_changes_the_sign(self, one, two, images, seed):
        rng = np.random.default_rng(abs(seed))
        first = rng.random((one, images)) < 0.7
        second = rng.random((two, images)) < 0.6
        there, back = compare_paired(first, second), compare_paired(second, first)

        self.assertAlmostEqual(there.difference, -back.difference)
        self.assertAlmostEqual(there.low, -back.high, places=9)
        self.assertBetween(there.p_value, 0, 1)

    def test_other_images_are_refused(self):
        with self.assertRaisesRegex(ValueError, "the same images"):
            compare_paired(np.ones((1, 3), bool), np.ones((1, 4), bool))


class AccuracyIntervalTest(absltest.TestCase):
    def test_it_is_wilsons(self):
        low, high = accuracy_interval(0.9, 100)
        self.assertAlmostEqual(low, 0.8256, places=3)
        self.assertAlmostEqual(high, 0.9448, places=3)
        self.assertAlmostEqual(accuracy_interval(1.0, 10)[1], 1.0)


class PackTest(absltest.TestCase):
    @given(st.lists(st.booleans(), max_size=40))
    @settings(deadline=None)
    def test_what_is_packed_is_unpacked(self, values):
        correct = np.array(values, bool)
        np.testing.assert_array_equal(unpack(pack(correct)), correct)

    def test_other_texts_are_refused(self):
        for text in ("", "7", "20:AA==", "x:AA==", "8:%%"):
            with self.assertRaises(ValueError):
                unpack(text)


if __name__ == "__main__":
    absltest.main()
