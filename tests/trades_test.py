import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.algorithms.option_worth import OptionWorth
from layernas_tf.algorithms.trades import Trades
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.testing.chains import everything, random_space

_LAW = settings(max_examples=20, deadline=None)


def _budgets(space, kind, share):
    costs = space.chain.costs(everything(space))
    madds = costs["madds"]
    if kind == "band":
        low, high = np.quantile(madds, (0.5 * share, share))
        return [Budget("madds", float(low), float(high))]
    limit = Budget("madds", 0, float(np.quantile(madds, share)))
    if kind == "limit":
        return [limit]
    peak = costs["peak_memory_bytes"]
    return [limit, Budget("peak_memory_bytes", 0, float(np.quantile(peak, 0.9)))]


class TradesTest(absltest.TestCase):
    @_LAW
    @given(
        st.integers(0, 10**6),
        st.sampled_from(["limit", "band", "two"]),
        st.floats(0.3, 0.9),
    )
    def test_every_searchable_prefix_is_completed_inside(self, seed, kind, share):
        space = random_space(seed, layers=4)
        budgets = _budgets(space, kind, share)
        every = everything(space)
        if not any(inside(budgets, space.costs(tuple(a.tolist()))) for a in every):
            return
        budgeted = BudgetedChain(space.chain, budgets)
        trades = Trades(space, budgeted)
        rng = np.random.default_rng(seed)
        parent = trades.even()
        self.assertTrue(inside(budgets, space.costs(parent)))
        for _ in range(20):
            start = tuple(every[rng.integers(len(every))].tolist())
            fixed = int(rng.integers(1, len(start)))
            worth = rng.normal(size=trades.rank.shape)
            found = trades.complete(start, fixed, parent, worth)
            self.assertEqual(found is not None, budgeted.searchable(start[:fixed]))
            if found is not None:
                self.assertEqual(found[:fixed], start[:fixed])
                self.assertTrue(inside(budgets, space.costs(found)))

    def test_the_even_network_uses_the_budget_and_spares_no_layer(self):
        for seed in range(5):
            space = random_space(seed, layers=12, options=6, states=1)
            high = 0.5 * space.chain.most_expensive((), "madds")
            budgeted = BudgetedChain(space.chain, [Budget("madds", 0, high)])
            trades = Trades(space, budgeted)
            even = trades.even()
            self.assertGreater(space.costs(even)["madds"], 0.9 * high)
            ranks = trades.rank[np.arange(len(even)), even]
            defaults = trades.rank[np.arange(len(even)), space.default]
            # No layer is at its cheapest unless its default is about that.
            self.assertTrue(np.all((ranks > -1) | (defaults < 0.5)))

    def test_a_default_inside_the_budget_is_the_base(self):
        space = random_space(3)
        high = space.costs(space.default)["madds"]
        budgeted = BudgetedChain(space.chain, [Budget("madds", 0, high)])
        self.assertEqual(Trades(space, budgeted).even(), space.default)

    def test_the_change_of_the_highest_worth_is_made(self):
        space = random_space(1, layers=6, options=4, states=1)
        every = everything(space)
        costs = space.chain.costs(every)["madds"]
        budget = Budget("madds", 0, float(np.quantile(costs, 0.5)))
        trades = Trades(space, BudgetedChain(space.chain, [budget]))
        over = tuple(every[int(np.argmax(costs))].tolist())
        worth = np.zeros(trades.rank.shape)
        worth[4, 1] = 5.0
        found = trades.complete(over, 2, trades.even(), worth)
        self.assertEqual(found[4], 1 if over[4] != 1 else over[4])


class OptionWorthTest(absltest.TestCase):
    def test_before_there_are_data_expensive_options_are_worth_more(self):
        worth = OptionWorth(np.array([[-1.0, 0.0, 1.0]] * 4))
        draws = [worth.draw(np.random.default_rng(n)) for n in range(2000)]
        mean = np.mean(draws, axis=0)
        self.assertTrue(np.all(np.diff(mean, axis=1) > 0.1))

    def test_the_better_option_is_found_and_its_uncertainty_shrinks(self):
        worth = OptionWorth(np.zeros((2, 2)))
        rng = np.random.default_rng(0)
        before = np.std([worth.draw(np.random.default_rng(n)) for n in range(300)], 0)
        for _ in range(100):
            architecture = tuple(rng.integers(2, size=2).tolist())
            worth.add(architecture, 1.0 * architecture[0] + 0.1 * rng.normal())
        draws = [worth.draw(np.random.default_rng(n)) for n in range(300)]
        mean, after = np.mean(draws, axis=0), np.std(draws, axis=0)
        self.assertGreater(mean[0, 1] - mean[0, 0], 1.0)
        self.assertLess(abs(mean[1, 1] - mean[1, 0]), 0.7)
        self.assertTrue(np.all(after < 0.3 * before))

    def test_equal_rewards_say_nothing(self):
        worth = OptionWorth(np.zeros((2, 2)))
        for architecture in ((0, 0), (1, 1), (0, 1)):
            worth.add(architecture, 0.3)
        drawn = worth.draw(np.random.default_rng(0))
        self.assertLess(np.abs(drawn).max(), 5.0)


if __name__ == "__main__":
    absltest.main()
