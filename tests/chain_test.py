import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State
from layernas_tf.testing.chains import everything, random_space


class ChainTest(absltest.TestCase):
    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 10**6), st.booleans())
    def test_batch_costs_equal_the_walk(self, seed, fractions):
        space = random_space(seed, fractions=fractions)
        architectures = everything(space)
        costs = space.chain.costs(architectures)
        for row in range(0, len(architectures), 7):
            steps = list(space.steps(tuple(architectures[row].tolist())))
            for metric in space.metrics:
                join = sum if metric.kind == "sum" else max
                one = join(step.costs[metric.name] for step in steps)
                self.assertAlmostEqual(costs[metric.name][row], one)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 10**6), st.integers(0, 4))
    def test_bounds_of_a_prefix_equal_brute_force(self, seed, length):
        space = random_space(seed)
        architectures = everything(space)
        costs = space.chain.costs(architectures)
        prefix = tuple(architectures[seed % len(architectures)][:length].tolist())
        same = np.all(architectures[:, :length] == prefix, axis=1)
        for metric, values in costs.items():
            self.assertEqual(space.chain.cheapest(prefix, metric), values[same].min())
            self.assertEqual(
                space.chain.most_expensive(prefix, metric), values[same].max()
            )

    def test_a_transition_that_forgets_a_cost_is_named(self):
        layer = Layer("stem", (Option.of(k=1),), 0, lambda s, o: (s, {"params": 1}))
        space = SearchSpace("toy", State(1, 1, 1), (layer,), (Metric("madds"),))
        with self.assertRaisesRegex(UserError, "'stem' returned no cost 'madds'"):
            _ = space.chain

    def test_a_cost_that_is_no_number_is_named(self):
        layer = Layer(
            "stem", (Option.of(k=1),), 0, lambda s, o: (s, {"madds": float("nan")})
        )
        space = SearchSpace("toy", State(1, 1, 1), (layer,), (Metric("madds"),))
        with self.assertRaisesRegex(UserError, "finite number >= 0, got nan"):
            _ = space.chain


if __name__ == "__main__":
    absltest.main()
