"""A search among the parts of a network proposes nothing larger than it."""

from __future__ import annotations

import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.algorithms.registry import NAMES, make_algorithm
from layernas_tf.space.budget import Budget
from layernas_tf.space.parts import is_part, parts_of
from layernas_tf.space.types import Option
from search_spaces.registry import get_space


class IsPartTest(parameterized.TestCase):
    @parameterized.parameters(
        (Option.of(kernel=3, expansion=2, se=False), True),
        (Option.of(kernel=5, expansion=6, se=True), True),
        (Option.of(drop=True), True),
        (Option.of(kernel=7, expansion=2, se=False), False),
        (Option.of(kernel=3, expansion=8, se=False), False),
        (Option.of(kernel=3, expansion=6, se=False, filters=8), False),
    )
    def test_nothing_of_it_is_larger(self, option, expected):
        whole = Option.of(kernel=5, expansion=6, se=True)
        self.assertEqual(is_part(option, whole), expected)

    def test_squeeze_and_excite_is_not_added(self):
        whole = Option.of(kernel=5, se=False)
        self.assertFalse(is_part(Option.of(kernel=3, se=True), whole))
        self.assertTrue(is_part(Option.of(kernel=3, se=False), whole))

    def test_of_a_dropped_block_only_that_is_a_part(self):
        whole = Option.of(drop=True)
        self.assertTrue(is_part(whole, whole))
        self.assertFalse(is_part(Option.of(kernel=3), whole))


class PartsOfTest(parameterized.TestCase):
    def test_other_costs_are_as_before(self):
        space = get_space("mobilenet_v3_small", resolution=32)
        marked, parts = parts_of(space, space.default)
        rng = np.random.default_rng(0)
        sizes = [len(layer.options) for layer in space.layers]
        for _ in range(50):
            architecture = tuple(rng.integers(0, sizes).tolist())
            costs = marked.costs(architecture)
            wholly = all(
                is_part(layer.options[index], layer.options[layer.default])
                for layer, index in zip(space.layers, architecture)
            )
            self.assertEqual(parts.holds(costs), wholly)
            del costs["larger"]
            self.assertEqual(costs, space.costs(architecture))

    @parameterized.parameters(*(name for name in NAMES if name != "gp"))
    def test_every_algorithm_proposes_parts_only(self, name):
        space = get_space("mobilenet_v2", resolution=32)
        marked, parts = parts_of(space, space.default)
        limit = Budget("madds", 0, 0.6 * space.costs(space.default)["madds"])
        algorithm = make_algorithm(name, marked, [limit, parts], seed=0)
        for number in range(12):
            candidate = algorithm.ask()
            assert candidate is not None
            for layer, index in zip(space.layers, candidate.architecture):
                whole = layer.options[layer.default]
                self.assertTrue(is_part(layer.options[index], whole))
            algorithm.tell(candidate, float(number % 5))


if __name__ == "__main__":
    absltest.main()
