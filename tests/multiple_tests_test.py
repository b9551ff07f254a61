"""Holm's correction."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st
import numpy as np
from absl.testing import absltest

from layernas_tf.comparison.multiple_tests import holm

_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30)


class HolmTest(absltest.TestCase):
    def test_worked_example(self):
        np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])

    def test_no_tests_have_no_values(self):
        self.assertEqual(holm([]), [])

    @hypothesis.given(_VALUES)
    def test_between_the_value_and_bonferronis_and_in_the_same_order(self, values):
        corrected = holm(values)
        for value, found in zip(values, corrected):
            self.assertGreaterEqual(found, value)
            self.assertLessEqual(found, min(1.0, value * len(values)) + 1e-12)
        order = np.argsort(values, kind="stable")
        self.assertTrue(np.all(np.diff(np.array(corrected)[order]) >= 0))


if __name__ == "__main__":
    absltest.main()
