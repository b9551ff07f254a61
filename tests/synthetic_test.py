"""The synthetic benchmark: what it promises, checked against comparing everything."""

from __future__ import annotations

import itertools

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, parse_budget
from layernas_tf.tabular.table import all_architectures
from search_spaces.tabular.synthetic import parse_synthetic, synthetic


def _compared(table, low, high):
    """The greatest `valid` inside a band, one query at a time; None if it is empty."""
    inside = [
        table.query(architecture).valid
        for architecture in itertools.product(
            *(range(len(layer.options)) for layer in table.space.layers)
        )
        if Budget("cost", low, high).holds(table.space.costs(architecture))
    ]
    return max(inside, default=None)


class SyntheticTest(parameterized.TestCase):
    @settings(max_examples=40, deadline=None)
    @given(
        layers=st.integers(1, 4),
        options=st.integers(2, 4),
        spare=st.integers(0, 20),
        interaction=st.sampled_from([0.0, 0.7]),
        noise=st.sampled_from([0.0, 0.4]),
        seed=st.integers(0, 10_000),
        ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    )
    def test_best_is_that_of_comparing_all(
        self, layers, options, spare, interaction, noise, seed, ends
    ):
        table = synthetic(layers, options, layers + spare, interaction, noise, seed)
        most_expensive = table.space.chain.most_expensive((), "cost")
        low, high = sorted(end * most_expensive for end in ends)
        expected = _compared(table, low, high)
        if expected is None:
            with self.assertRaisesRegex(UserError, "no architecture is inside"):
                table.best([Budget("cost", low, high)])
        else:
            best = table.best([Budget("cost", low, high)])
            self.assertAlmostEqual(best.valid, expected)
            costs = table.space.costs(best.architecture)
            self.assertTrue(Budget("cost", low, high).holds(costs))

    def test_without_interaction_an_option_adds_the_same_everywhere(self):
        table = synthetic(layers=4, options=3, buckets=20, seed=3)
        changes = [
            table.query((a, b, 2, d)).valid - table.query((a, b, 0, d)).valid
            for a, b, d in itertools.product(range(3), repeat=3)
        ]
        np.testing.assert_allclose(changes, changes[0])

    def test_with_interaction_it_depends_on_the_neighbours_only(self):
        table = synthetic(layers=4, options=3, buckets=20, interaction=1.0, seed=3)

        def change(a, b, d):
            return table.query((a, b, 2, d)).valid - table.query((a, b, 0, d)).valid

        self.assertGreater(abs(change(0, 0, 0) - change(0, 1, 0)), 1e-3)
        self.assertGreater(abs(change(0, 0, 0) - change(0, 0, 1)), 1e-3)
        self.assertAlmostEqual(change(0, 0, 0), change(1, 0, 0))

    @parameterized.parameters((5, 3, 5), (10, 5, 60), (40, 4, 100), (7, 20, 30))
    def test_costs_are_whole_units_of_which_the_most_expensive_has_at_most_h(
        self, layers, options, buckets
    ):
        space = synthetic(layers, options, buckets).space
        self.assertLen(space.layers, layers)
        self.assertEqual(space.size, options**layers)
        costs = [row for rows in space.chain.cost["cost"] for row in rows[0]]
        self.assertTrue(all(float(cost).is_integer() and cost >= 1 for cost in costs))
        self.assertLessEqual(space.chain.most_expensive((), "cost"), buckets)
        self.assertEqual(
            space.costs(space.default)["cost"], space.chain.most_expensive((), "cost")
        )

    def test_noise_has_its_strength_and_is_the_same_at_every_query(self):
        table = synthetic(layers=6, options=5, noise=0.25, seed=9)
        valid, test = table.rewards(all_architectures(table.space))
        noise = (valid - test) / 0.25
        self.assertLess(abs(noise.mean()), 0.03)
        self.assertLess(abs(noise.std() - 1), 0.03)
        self.assertLess(abs((np.abs(noise) < 1).mean() - 0.683), 0.02)
        # Neighbours in the order of architectures must not share their noise.
        self.assertLess(abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]), 0.03)
        index = 1234
        again = table.query(tuple(all_architectures(table.space)[index].tolist()))
        self.assertEqual((again.valid, again.test), (valid[index], test[index]))

    def test_the_seed_decides_everything(self):
        first, same = synthetic(noise=0.1, seed=4), synthetic(noise=0.1, seed=4)
        other = synthetic(noise=0.1, seed=5)
        architecture = (0, 1, 2, 3, 4, 0, 1, 2, 3, 4)
        self.assertEqual(first.query(architecture), same.query(architecture))
        self.assertNotEqual(first.query(architecture), other.query(architecture))

    def test_best_of_forty_layers_beats_every_change_of_one_or_two_layers(self):
        table = synthetic(layers=40, options=4, buckets=200, interaction=0.4)
        budget = Budget("cost", 0, 100)
        best = table.best([budget])
        for layers in itertools.combinations(range(40), 2):
            for options in itertools.product(range(4), repeat=2):
                other = list(best.architecture)
                for layer, option in zip(layers, options):
                    other[layer] = option
                other = tuple(other)
                if table.space.chain.walk(other)[1]["cost"] <= 100:
                    self.assertLessEqual(
                        table.rewards(np.array([other]))[0][0], best.valid + 1e-9
                    )

    def test_best_sum_is_the_best_where_nothing_interacts_and_never_better(self):
        plain = synthetic(layers=6, options=4, buckets=60, noise=0.2)
        budgets = [parse_budget("cost<=50%", plain.space)]
        alone = synthetic(layers=6, options=4, buckets=60)
        self.assertEqual(plain.best_sum(budgets).test, alone.best(budgets).test)
        mixed = synthetic(layers=6, options=4, buckets=60, interaction=0.5)
        found, best = mixed.best_sum(budgets), mixed.best(budgets)
        self.assertLess(found.test, best.test)
        self.assertTrue(budgets[0].holds(mixed.space.costs(found.architecture)))

    def test_text_gives_the_same_table_as_arguments(self):
        table = parse_synthetic("layers=6, options=3,interaction=0.5,seed=2")
        self.assertEqual(
            table.dataset,
            "layers=6,options=3,buckets=60,interaction=0.5,noise=0,seed=2",
        )
        expected = synthetic(layers=6, options=3, interaction=0.5, seed=2)
        np.testing.assert_array_equal(table.pair, expected.pair)
        again = parse_synthetic(table.dataset)
        np.testing.assert_array_equal(table.unary, again.unary)

    @parameterized.parameters(
        ("layers=x", "cannot read 'layers=x'"),
        ("depth=3", "cannot read 'depth=3'"),
        ("layers=0", "layers must be at least 1, got 0"),
        ("options=1", "options must be at least 2, got 1"),
        ("layers=9,buckets=8", "buckets must be at least 9, got 8"),
        ("noise=-1", "noise must be at least 0, got -1"),
        ("noise=nan", "noise must be at least 0, got nan"),
    )
    def test_bad_arguments_are_one_clear_line(self, text, message):
        with self.assertRaisesRegex(UserError, message):
            parse_synthetic(text)

    def test_best_of_a_noisy_table_too_large_to_compare_is_that_without_noise(self):
        noisy = synthetic(layers=12, options=4, interaction=0.2, noise=0.1)
        plain = synthetic(layers=12, options=4, interaction=0.2)
        budgets = [parse_budget("cost<=50%", noisy.space)]
        self.assertEqual(noisy.best(budgets), plain.best(budgets))


if __name__ == "__main__":
    absltest.main()
