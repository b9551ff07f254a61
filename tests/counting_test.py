import collections

import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.testing.chains import everything, random_space

_LAW = settings(max_examples=40, deadline=None)


def _band(costs, metric, share):
    """From half the share of architectures to the share."""
    return Budget(metric, *np.quantile(costs[metric], (share / 2, share)))


def _budgets(costs, kind, share):
    """Budgets of several kinds, reached by at least one architecture."""
    madds = np.quantile(costs["madds"], share)
    limits = {
        "upper": [Budget("madds", 0, madds)],
        "band": [Budget("madds", np.quantile(costs["madds"], share / 2), madds)],
        "two sums": [
            Budget("madds", 0, madds),
            Budget("params", 0, np.quantile(costs["params"], 0.9)),
        ],
        "sum and peak": [
            Budget("madds", 0, madds),
            Budget(
                "peak_memory_bytes", 0, np.quantile(costs["peak_memory_bytes"], 0.8)
            ),
        ],
        "two bands": [_band(costs, "madds", share), _band(costs, "params", 0.9)],
        "three sums": [
            Budget("madds", 0, madds),
            Budget("params", 0, np.quantile(costs["params"], 0.9)),
            Budget("latency_ms", 0, np.quantile(costs["latency_ms"], 0.8)),
        ],
        "three sums, two bands, and peak": [
            _band(costs, "latency_ms", 0.9),
            Budget("params", 0, np.quantile(costs["params"], 0.9)),
            _band(costs, "madds", share),
            Budget("peak_memory_bytes", 0, costs["peak_memory_bytes"].max() - 1),
        ],
        "peak": [
            Budget("peak_memory_bytes", 0, np.quantile(costs["peak_memory_bytes"], 0.5))
        ],
        "none": [],
    }
    return limits[kind]


_KINDS = st.sampled_from(
    [
        "upper",
        "band",
        "two sums",
        "two bands",
        "three sums",
        "three sums, two bands, and peak",
        "sum and peak",
        "peak",
        "none",
    ]
)


def _inside(costs, budgets):
    return np.array(
        [
            inside(budgets, {name: values[row] for name, values in costs.items()})
            for row in range(len(costs["madds"]))
        ]
    )


class CountingTest(absltest.TestCase):
    @_LAW
    @given(st.integers(0, 10**6), _KINDS, st.floats(0.05, 0.95), st.booleans())
    def test_exact_counts_equal_enumeration(self, seed, kind, share, fractions):
        space = random_space(seed, fractions=fractions, third=True)
        architectures = everything(space)
        costs = space.chain.costs(architectures)
        budgets = _budgets(costs, kind, share)
        held = _inside(costs, budgets)
        try:
            budgeted = BudgetedChain(space.chain, budgets)
        except UserError:
            self.assertFalse(held.any())
            return
        self.assertTrue(budgeted.exact)
        self.assertEqual(budgeted.count(), held.sum())
        for length in (1, 2, 4):
            prefix = tuple(architectures[seed % len(architectures)][:length].tolist())
            same = np.all(architectures[:, :length] == prefix, axis=1)
            self.assertEqual(budgeted.count(prefix), (held & same).sum())

    @_LAW
    @given(st.integers(0, 10**6), _KINDS, st.floats(0.3, 0.95))
    def test_rounded_samples_are_never_outside(self, seed, kind, share):
        space = random_space(seed, fractions=True, third=True)
        costs = space.chain.costs(everything(space))
        budgets = _budgets(costs, kind, share)
        try:
            budgeted = BudgetedChain(space.chain, budgets, exact_entries=0)
        except UserError:
            return
        self.assertFalse(budgeted.exact)
        if not budgeted.nearest:  # then it is an estimate
            self.assertLessEqual(budgeted.count(), _inside(costs, budgets).sum())
        rng = np.random.default_rng(seed)
        for _ in range(10):
            self.assertTrue(inside(budgets, space.costs(budgeted.sample(rng))))

    def test_a_band_of_few_units_is_sampled_and_completed_inside(self):
        seen = 0
        for seed in range(12):
            space = random_space(seed, layers=6, options=4, fractions=True, third=True)
            architectures = everything(space)
            costs = space.chain.costs(architectures)
            budgets = [
                Budget("madds", *np.quantile(costs["madds"], (0.45, 0.55))),
                Budget("params", 0, np.quantile(costs["params"], 0.7)),
                Budget("latency_ms", 0, np.quantile(costs["latency_ms"], 0.7)),
            ]
            budgeted = BudgetedChain(space.chain, budgets, exact_entries=0)
            seen += budgeted.nearest
            rng = np.random.default_rng(seed)
            for preferred in rng.choice(architectures, 20):
                preferred = tuple(preferred.tolist())
                for found in (budgeted.sample(rng), budgeted.complete((), preferred)):
                    self.assertTrue(inside(budgets, space.costs(found)))
        self.assertGreater(seen, 0)

    @_LAW
    @given(st.integers(0, 10**6), st.floats(0.0, 0.9), st.booleans())
    def test_searchable_is_exact_at_any_resolution(self, seed, share, exact):
        space = random_space(seed, third=True)
        architectures = everything(space)
        costs = space.chain.costs(architectures)
        budgets = _budgets(costs, "upper", share)
        held = _inside(costs, budgets)
        entries = 10**6 if exact else 0
        budgeted = BudgetedChain(space.chain, budgets, exact_entries=entries)
        for length in range(5):
            prefix = tuple(architectures[seed % len(architectures)][:length].tolist())
            same = np.all(architectures[:, :length] == prefix, axis=1)
            self.assertEqual(budgeted.searchable(prefix), (held & same).any())

    def test_a_budget_that_excludes_nothing_needs_no_axis(self):
        space = random_space(0, third=True)
        costs = space.chain.costs(everything(space))
        binding = Budget("madds", 0, float(np.median(costs["madds"])))
        others = [
            Budget("params", 0, float(costs["params"].max())),
            Budget("latency_ms", float(costs["latency_ms"].min()), 1e9),
        ]
        budgeted = BudgetedChain(space.chain, [*others, binding])
        self.assertEqual(budgeted.axes, (binding,))
        self.assertEqual(budgeted.count(), _inside(costs, [binding]).sum())
        self.assertEqual(BudgetedChain(space.chain, others).count(), space.size)

    def test_samples_are_uniform(self):
        space = random_space(3, third=True)
        costs = space.chain.costs(everything(space))
        budgeted = BudgetedChain(space.chain, _budgets(costs, "upper", 0.2))
        rng = np.random.default_rng(0)
        draws = 200 * int(budgeted.count())
        seen = collections.Counter(budgeted.sample(rng) for _ in range(draws))
        self.assertLen(seen, int(budgeted.count()))
        # 200 expected of each: six standard deviations are 85.
        self.assertBetween(min(seen.values()), 115, 285)
        self.assertBetween(max(seen.values()), 115, 285)

    @_LAW
    @given(
        st.integers(0, 10**6),
        _KINDS,
        st.floats(0.0, 0.9),
        st.integers(0, 4),
        st.booleans(),
    )
    def test_completion_is_inside_or_none(self, seed, kind, share, length, exact):
        space = random_space(seed, third=True)
        architectures = everything(space)
        costs = space.chain.costs(architectures)
        budgets = _budgets(costs, kind, share)
        entries = 10**6 if exact else 0
        try:
            budgeted = BudgetedChain(space.chain, budgets, exact_entries=entries)
        except UserError:
            return
        prefix = tuple(architectures[seed % len(architectures)][:length].tolist())
        completed = budgeted.complete(prefix, space.default)
        if not budgeted.nearest:  # then `searchable` is an estimate
            self.assertEqual(completed is not None, budgeted.searchable(prefix))
        if completed is not None:
            self.assertEqual(completed[:length], prefix)
            self.assertTrue(inside(budgets, space.costs(completed)))

    def test_an_empty_budget_is_refused_with_the_cheapest_cost(self):
        space = random_space(0)
        cheapest = space.chain.cheapest((), "madds")
        with self.assertRaisesRegex(
            UserError, f"cheapest possible is madds={cheapest:g}"
        ):
            BudgetedChain(space.chain, [Budget("madds", 0, cheapest - 1)])

    def test_budgets_that_fit_one_by_one_but_not_together_are_refused(self):
        space = random_space(0)
        costs = space.chain.costs(everything(space))
        least = costs["params"] == costs["params"].min()
        madds = costs["madds"][least].min() - 1
        with self.assertRaisesRegex(UserError, "no architecture is inside"):
            BudgetedChain(
                space.chain,
                [
                    Budget("madds", 0, madds),
                    Budget("params", 0, costs["params"].min()),
                ],
            )

    def test_a_lower_end_on_a_maximum_is_refused(self):
        with self.assertRaisesRegex(UserError, "peak_memory_bytes is a maximum"):
            BudgetedChain(random_space(0).chain, [Budget("peak_memory_bytes", 1, 9)])


if __name__ == "__main__":
    absltest.main()
