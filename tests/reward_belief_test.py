import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.algorithms import reward_belief
from layernas_tf.algorithms.layernas_bayes import LayerNASBayes
from layernas_tf.algorithms.reward_belief import RewardBelief
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.testing.chains import everything, random_space
from layernas_tf.testing.searches import rewards
from search_spaces.tabular.synthetic import synthetic


def _drawn(table, count, seed):
    """Architectures of a table, drawn evenly, without repeats."""
    rng = np.random.default_rng(seed)
    sizes = [len(layer.options) for layer in table.space.layers]
    found = {tuple(int(rng.integers(size)) for size in sizes) for _ in range(count)}
    return sorted(found)


class RewardBeliefTest(absltest.TestCase):
    def test_nothing_is_expected_of_nothing(self):
        self.assertEmpty(RewardBelief(random_space(0)).expected_quality())

    def test_of_noisy_sums_the_expected_are_closer_to_the_truth_than_the_told(self):
        told, expected = [], []
        for seed in range(3):
            table = synthetic(layers=8, options=5, noise=1.0, seed=seed)
            belief = RewardBelief(table.space)
            rows = [table.query(a) for a in _drawn(table, 120, seed)]
            for row in rows:
                belief.add(row.architecture, row.valid)
            truth = np.array([row.test for row in rows])
            told.append(np.std([row.valid for row in rows] - truth))
            expected.append(np.std(belief.expected_quality() - truth))
        self.assertLess(np.mean(expected), 0.8 * np.mean(told))

    def test_what_the_sum_leaves_over_is_kept_where_it_is_no_noise(self):
        # Pairs of neighbours interact in a way that no attribute describes, and no
        # reward is noisy: the sum alone is wrong about most architectures.
        table = synthetic(layers=8, options=5, interaction=0.6, seed=1)
        belief = RewardBelief(table.space)
        rows = [table.query(a) for a in _drawn(table, 250, 1)]
        for row in rows:
            belief.add(row.architecture, row.valid)
        truth = np.array([row.test for row in rows])
        mean, unit = belief.unit()
        weights = belief.weights().mean
        summed = [
            belief.effects.row(row.architecture) @ weights[:-1] + weights[-1]
            for row in rows
        ]
        left = np.std(mean + unit * np.array(summed) - truth)
        self.assertLess(np.std(belief.expected_quality() - truth), 0.7 * left)

    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 10**6), st.floats(0.1, 50.0), st.floats(-100.0, 100.0))
    def test_the_unit_of_the_rewards_does_not_matter(self, seed, factor, shift):
        space = random_space(seed)
        reward = rewards(seed, space)
        one, other = RewardBelief(space), RewardBelief(space)
        for row in everything(space)[:40]:
            architecture = tuple(row.tolist())
            one.add(architecture, reward(architecture))
            other.add(architecture, shift + factor * reward(architecture))
        np.testing.assert_allclose(
            other.expected_quality(),
            shift + factor * one.expected_quality(),
            rtol=1e-5,
            atol=1e-5 * factor,
        )

    def test_of_long_searches_the_best_are_modelled_together(self):
        table = synthetic(layers=8, options=5, noise=0.5, seed=2)
        belief = RewardBelief(table.space)
        rows = [table.query(a) for a in _drawn(table, 700, 2)]
        self.assertGreater(len(rows), reward_belief._MOST_JOINT)
        for row in rows:
            belief.add(row.architecture, row.valid)
        truth = np.array([row.test for row in rows])
        error = belief.expected_quality() - truth
        self.assertLess(np.std(error), 0.25)


class RecommendationTest(absltest.TestCase):
    def test_the_answer_is_what_is_expected_to_be_best_not_the_luckiest(self):
        gains = []
        for seed in range(4):
            table = synthetic(layers=6, options=5, noise=1.0, seed=seed)
            most_expensive = table.space.chain.most_expensive((), "cost")
            budgets = [Budget("cost", 0, 0.5 * most_expensive)]
            search = LayerNASBayes(table.space, budgets, seed=seed)
            for _ in range(80):
                candidate = search.ask()
                search.tell(candidate, table.query(candidate.architecture).valid)
            answer, luckiest = search.best, search.history.best
            self.assertLessEqual(answer.reward, luckiest.reward)
            self.assertTrue(inside(budgets, table.space.costs(answer.architecture)))
            self.assertEqual(answer.reward, table.query(answer.architecture).valid)
            gains.append(
                table.query(answer.architecture).test
                - table.query(luckiest.architecture).test
            )
        self.assertGreater(np.mean(gains), 0)

    def test_what_was_told_from_outside_the_budget_is_never_recommended(self):
        space = random_space(5)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, float(np.quantile(costs, 0.3)))]
        search = LayerNASBayes(space, budgets)
        most_expensive = tuple(everything(space)[int(np.argmax(costs))].tolist())
        self.assertFalse(inside(budgets, space.costs(most_expensive)))
        search.tell(Candidate(most_expensive, 0), 100.0)
        self.assertIsNone(search.best)
        candidate = search.ask()
        search.tell(candidate, 1.0)
        self.assertEqual(search.best.architecture, candidate.architecture)


if __name__ == "__main__":
    absltest.main()
