"""The baselines do what their names promise, and are no straw men."""

from __future__ import annotations

import random

import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.algorithms.evolution import RegularizedEvolution
from layernas_tf.algorithms.history import History
from layernas_tf.algorithms.local_search import LocalSearch, neighbours_inside
from layernas_tf.algorithms.optuna_search import OptunaSearch
from layernas_tf.algorithms.ppo import PPO
from layernas_tf.algorithms.random_search import RandomSearch
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.algorithms.untried import Untried
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, inside, parse_budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.testing.chains import everything, random_space
from search_spaces.tabular.synthetic import synthetic


def _task(seed=0, layers=6, options=5):
    table = synthetic(layers, options, 10 * layers, interaction=0.2, seed=seed)
    return table, [parse_budget("cost<=50%", table.space)]


def _best_after(algorithm, table, trials):
    for _ in range(trials):
        candidate = algorithm.ask()
        algorithm.tell(candidate, table.query(candidate.architecture).valid)
    return algorithm.best.reward


class RandomSearchTest(absltest.TestCase):
    def test_is_uniform_inside_the_budget(self):
        space = random_space(2, layers=3, options=3)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, float(np.quantile(costs, 0.5)))]
        fitting = int((costs <= budgets[0].upper).sum())
        firsts = [
            RandomSearch(space, budgets, seed=seed).ask().architecture
            for seed in range(60 * fitting)
        ]
        _, counts = np.unique(np.array(firsts), axis=0, return_counts=True)
        self.assertLen(counts, fitting)
        # Chi-squared with `fitting - 1` degrees of freedom stays below this.
        statistic = float(((counts - 60) ** 2 / 60).sum())
        self.assertLess(statistic, fitting + 5 * np.sqrt(2 * fitting))

    def test_reaches_what_a_rounded_table_cannot_count(self):
        space = random_space(4, layers=4, options=3, fractions=True)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, float(np.quantile(costs, 0.5)))]
        history = History(space, budgets)
        rounded = BudgetedChain(space.chain, budgets, exact_entries=1)
        self.assertFalse(rounded.exact)
        untried = Untried(history, rounded)
        seen = 0
        while (architecture := untried.sample(history.rng(seen))) is not None:
            history.record(Candidate(architecture, seen), 0.0)
            seen += 1
        self.assertEqual(seen, int((costs <= budgets[0].upper).sum()))


class EvolutionTest(absltest.TestCase):
    def test_children_differ_from_a_member_of_the_population_by_one_layer(self):
        table, budgets = _task()
        evolution = RegularizedEvolution(
            table.space, budgets, population=20, tournament=5
        )
        told = []
        for number in range(60):
            child = evolution.ask().architecture
            if number >= 20:
                changes = [sum(a != b for a, b in zip(child, p)) for p in told[-20:]]
                self.assertEqual(min(changes), 1)
            told.append(child)
            evolution.tell(Candidate(child, number), table.query(child).valid)

    def test_leaves_the_random_module_as_it_was(self):
        table, budgets = _task()
        evolution = RegularizedEvolution(table.space, budgets, population=10)
        _best_after(evolution, table, 12)
        random.seed(5)
        evolution.ask()
        after = random.random()
        random.seed(5)
        self.assertEqual(after, random.random())

    def test_the_random_module_does_not_matter(self):
        table, budgets = _task()
        asked = []
        for seed in (1, 2):
            random.seed(seed)
            evolution = RegularizedEvolution(table.space, budgets, population=10)
            _best_after(evolution, table, 30)
            asked.append(list(evolution.history.rewards))
        self.assertEqual(asked[0], asked[1])


class LocalSearchTest(absltest.TestCase):
    def test_neighbours_are_all_one_layer_changes_inside(self):
        space = random_space(3)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, float(np.quantile(costs, 0.6)))]
        architecture = tuple(map(int, everything(space)[costs.argmin()]))
        expected = {
            tuple(map(int, a))
            for a in everything(space)
            if sum(x != y for x, y in zip(a, architecture)) == 1
            and inside(budgets, space.costs(tuple(map(int, a))))
        }
        self.assertBetween(len(expected), 1, 7)
        self.assertEqual(set(neighbours_inside(space, budgets, architecture)), expected)

    def test_climbs_from_the_first_improvement_and_restarts_at_a_top(self):
        table, budgets = _task(seed=1)
        search = LocalSearch(table.space, budgets, seed=1)
        current, starts = None, 0
        for number in range(300):
            candidate = search.ask()
            value = table.query(candidate.architecture).valid
            near = current and candidate.architecture in neighbours_inside(
                table.space, budgets, current
            )
            if not near:
                if current is not None:
                    around = neighbours_inside(table.space, budgets, current)
                    values = [search.history.rewards[a] for a in around]
                    self.assertLessEqual(max(values), search.history.rewards[current])
                current, starts = None, starts + 1
            search.tell(Candidate(candidate.architecture, number), value)
            if current is None or value > search.history.rewards[current]:
                current = candidate.architecture
            # Better neighbours that are known already are climbed to for free.
            while True:
                around = neighbours_inside(table.space, budgets, current)
                known = [a for a in around if a in search.history.rewards]
                top = max(known, key=search.history.rewards.get, default=current)
                if search.history.rewards[top] <= search.history.rewards[current]:
                    break
                current = top
        self.assertGreater(starts, 3)


class PPOTest(absltest.TestCase):
    def test_untrained_controller_is_uniform_inside_the_budget(self):
        space = random_space(2, layers=3, options=3)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, float(np.quantile(costs, 0.5)))]
        fitting = int((costs <= budgets[0].upper).sum())
        firsts = [
            PPO(space, budgets, seed=seed).ask().architecture
            for seed in range(20 * fitting)
        ]
        _, counts = np.unique(np.array(firsts), axis=0, return_counts=True)
        self.assertLen(counts, fitting)
        statistic = float(((counts - 20) ** 2 / 20).sum())
        self.assertLess(statistic, fitting + 5 * np.sqrt(2 * fitting))

    def test_controller_learns_which_option_pays(self):
        space = random_space(2, layers=4, options=4, states=1)
        search = PPO(space, [], seed=0)
        for number in range(96):
            architecture = search.ask().architecture
            search.tell(Candidate(architecture, number), float(architecture[1] == 2))
        drawn = [search._draw(np.random.default_rng(i), 1.0)[1] for i in range(200)]
        self.assertGreater(np.mean(np.array(drawn) == 2), 0.6)


class OptunaTest(parameterized.TestCase):
    @parameterized.parameters("tpe", "nsga2")
    def test_studies_know_the_constraints(self, sampler):
        table, budgets = _task()
        search = OptunaSearch(table.space, budgets, sampler=sampler)
        _best_after(search, table, 90)
        trials = [t for t in search._study.trials if t.values is not None]
        feasible = 0
        for trial in trials:
            architecture = tuple(
                trial.params[layer.name] for layer in table.space.layers
            )
            fits = inside(budgets, table.space.costs(architecture))
            self.assertEqual(trial.constraints["cost"] <= 0, fits)
            feasible += fits
        self.assertGreaterEqual(feasible, 90)
        self.assertGreater(len(trials), feasible)

    def test_nsga2_has_generations(self):
        table, budgets = _task()
        search = OptunaSearch(table.space, budgets, sampler="nsga2")
        _best_after(search, table, 160)
        generations = [
            t.system_attrs.get("NSGAIISampler:generation") for t in search._study.trials
        ]
        self.assertNotIn(None, generations)
        self.assertGreater(max(generations), 2)

    def test_unknown_sampler_is_refused(self):
        table, budgets = _task()
        with self.assertRaisesRegex(UserError, "'cma': expected one of tpe"):
            OptunaSearch(table.space, budgets, sampler="cma")


class HonestyTest(parameterized.TestCase):
    """None of them is worse than it should be: they all beat random search."""

    @parameterized.parameters("regularized_evolution", "ppo", "tpe", "nsga2")
    def test_beats_random_search(self, name):
        better = []
        for seed in range(2):
            table, budgets = _task(seed=seed)
            own = _best_after(
                make_algorithm(name, table.space, budgets, seed), table, 120
            )
            chance = _best_after(
                RandomSearch(table.space, budgets, seed=seed), table, 120
            )
            better.append(own - chance)
        self.assertGreater(np.mean(better), 0)


class RewardShapeTest(absltest.TestCase):
    _BUDGETS = (Budget("madds", 0, 100.0), Budget("params", 0, 10.0))

    def test_mnasnet(self):
        shape = RewardShape("mnasnet", exponent=-0.07)
        costs = {"madds": 200.0, "params": 10.0}
        self.assertAlmostEqual(
            shape.shaped(0.75, costs, self._BUDGETS), 0.75 * 2**-0.07
        )

    def test_tunas(self):
        shape = RewardShape("tunas", beta=-0.1)
        costs = {"madds": 150.0, "params": 8.0}
        self.assertAlmostEqual(
            shape.shaped(0.75, costs, self._BUDGETS), 0.75 - 0.1 * 0.5 - 0.1 * 0.2
        )

    def test_rejection_leaves_the_reward_and_keeps_the_budgets(self):
        shape = RewardShape()
        self.assertEqual(shape.shaped(0.75, {"madds": 1.0, "params": 1.0}, ()), 0.75)
        self.assertEqual(shape.proposal_budgets(self._BUDGETS), self._BUDGETS)
        self.assertEqual(RewardShape("tunas").proposal_budgets(self._BUDGETS), ())

    def test_what_is_wrong_is_said(self):
        with self.assertRaisesRegex(UserError, "'penalty': expected one of rejection"):
            RewardShape("penalty")
        with self.assertRaisesRegex(UserError, "must be negative"):
            RewardShape("tunas", beta=0.1)


if __name__ == "__main__":
    absltest.main()
