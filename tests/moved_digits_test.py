"""`moved_digits`: what its images are made of."""

from __future__ import annotations

import numpy as np
from absl.testing import absltest
from sklearn.datasets import load_digits as sklearn_digits

from layernas_tf.datasets import load_dataset
from layernas_tf.datasets.moved_digits import COPIES, _drawn, _originals
from layernas_tf.datasets.options import Options


class MovedDigitsTest(absltest.TestCase):
    def test_each_digit_is_in_one_split_and_the_test_digits_are_always_the_same(self):
        labels = sklearn_digits().target
        before = _originals(labels, Options(None, 0.2, 0, None))
        other = _originals(labels, Options(None, 0.3, 5, None))
        for splits in (before, other):
            whole = np.concatenate(list(splits.values()))
            np.testing.assert_array_equal(np.sort(whole), np.arange(len(labels)))
        np.testing.assert_array_equal(before["test"], other["test"])
        self.assertGreater(len(other["valid"]), len(before["valid"]))

    def test_images_are_the_same_each_time_and_copies_of_one_digit_differ(self):
        one, other = load_dataset("moved_digits"), load_dataset("moved_digits")
        self.assertEqual(one.shape, (32, 32, 1))
        for split in COPIES:
            mine, yours = getattr(one, split), getattr(other, split)
            np.testing.assert_array_equal(mine.images, yours.images)
            self.assertEqual(mine.size % COPIES[split], 0)
            groups = mine.labels.reshape(-1, COPIES[split])
            self.assertTrue(np.all(groups == groups[:, :1]))
            self.assertFalse(np.array_equal(mine.images[0], mine.images[1]))

    def test_a_digit_is_drawn_where_and_as_large_as_asked(self):
        square = np.ones((1, 8, 8), np.float32)
        (picture,) = _drawn(square, np.array([16.0]), np.array([[12, 20]]), np.zeros(1))
        rows, columns = np.indices((32, 32))
        self.assertAlmostEqual(float(picture.sum()), 256, delta=40)
        for axis, middle in ((rows, 12), (columns, 20)):
            found = float((picture * (axis + 0.5)).sum() / picture.sum())
            self.assertAlmostEqual(found, middle, places=3)
        (turned,) = _drawn(
            square, np.array([16.0]), np.array([[12, 20]]), np.full(1, np.pi / 2)
        )
        np.testing.assert_allclose(turned, picture, atol=1e-6)


if __name__ == "__main__":
    absltest.main()
