"""The sentence that compares the winner with the baseline."""

from __future__ import annotations

from absl.testing import absltest

from layernas_tf.report.verdict import comparison_sentence, equal_cost, verdict
from layernas_tf.training.paired import Comparison
from search_spaces.mobile.mobilenet_v3 import mobilenet_v3_small


class VerdictTest(absltest.TestCase):
    def test_a_difference_that_can_be_told(self):
        better = Comparison(0.023, 0.004, 0.042, 0.02, images=1000, seeds=3)
        worse = Comparison(-0.023, -0.042, -0.004, 0.02, images=1000, seeds=1)
        self.assertEqual(
            verdict(better, "default network of width 0.62", "at equal MAdds"),
            "The winner is 2.3 points above the default network of width 0.62 at equal "
            "MAdds (95 % interval 0.4 to 4.2, 1,000 test images, mean of 3 trainings "
            "each).",
        )
        self.assertEqual(
            verdict(worse, "default network", "at equal MAdds"),
            "The winner is 2.3 points below the default network at equal MAdds (95 % "
            "interval 0.4 to 4.2, 1,000 test images, one training each).",
        )

    def test_no_difference_is_said_as_well(self):
        unknown = Comparison(0.005, -0.014, 0.025, 0.6, images=359, seeds=1)
        self.assertEqual(
            verdict(unknown, "default network", "at equal MAdds"),
            "No difference from the default network at equal MAdds can be told with "
            "359 test images (95 % interval −1.4 to +2.5 points, one training each).",
        )
        # Told by the interval but not by the exact test: not told.
        border = Comparison(0.02, 0.001, 0.04, 0.07, images=359, seeds=1)
        self.assertIn("No difference", verdict(border, "default network", ""))

    def test_costs_are_compared_under_every_budget(self):
        space = mobilenet_v3_small(resolution=32, classes=10)
        costs = {"madds": 3e6, "params": 8e5, "peak_memory_bytes": 1e5}
        other = {"madds": 2.9e6, "params": 1e6, "peak_memory_bytes": 1.01e5}
        self.assertEqual(
            equal_cost(costs, other, list(costs), space),
            "at equal MAdds and peak memory and 20 % less params",
        )
        self.assertEqual(
            equal_cost(costs, other, ["params"], space), "at 20 % less params"
        )

    def test_nothing_to_compare(self):
        def sentence(**changes):
            about = {"same": False, "baseline": "default network", "cost": ""}
            return comparison_sentence(None, **{**about, **changes})

        self.assertIn("no other network", sentence(baseline=None))
        self.assertIn("is the default network itself", sentence(same=True))
        self.assertIn("could not be trained", sentence())


if __name__ == "__main__":
    absltest.main()
