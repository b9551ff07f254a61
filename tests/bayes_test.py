import dataclasses

import numpy as np
from absl.testing import absltest
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.algorithms.bayesian_regression import (
    Moments,
    Prior,
    learn_scales,
    log_evidence,
    posterior,
)
from layernas_tf.algorithms.layernas_bayes import LayerNASBayes
from layernas_tf.algorithms.memorial_solver import MemorialSolver
from layernas_tf.algorithms.reward_belief import RewardBelief
from layernas_tf.algorithms.reward_features import GROUPS, Effects
from layernas_tf.space.budget import Budget, inside, parse_budget
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.parts import is_part, parts_of
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State
from layernas_tf.testing.chains import everything, random_space
from search_spaces.registry import get_space
from search_spaces.tabular.synthetic import synthetic

_LAW = settings(max_examples=20, deadline=None)


def _limit(space, share):
    costs = space.chain.costs(everything(space))
    return [Budget("madds", 0, np.quantile(costs["madds"], share))]


def _move(state, option):
    after = State(int(option.get("filters", state.channels)), 1, 1)
    return after, {"madds": after.channels * option.get("kernel", 1)}


def _attributed_space():
    """Two stages whose options have numbers, a truth value and one that is dropped."""
    first = tuple(
        Option.of(filters=f, kernel=k, se=se)
        for f in (8, 16)
        for k in (3, 5)
        for se in (False, True)
    )
    second = (Option.of(drop=True), *(Option.of(kernel=k) for k in (3, 5, 7)))
    layers = (
        Layer("a", first, 0, _move),
        Layer("stem", (Option.of(kernel=1),), 0, _move),
        Layer("b", second, 1, _move),
        Layer("c", first, 3, _move),
    )
    return SearchSpace("toy", State(3, 1, 1), layers, (Metric("madds"),))


class SolverTest(absltest.TestCase):
    @_LAW
    @given(st.integers(0, 10**6), st.floats(0.05, 1.0))
    def test_solutions_come_in_order_and_are_all_that_is_inside(self, seed, share):
        space = random_space(seed)
        budgets = _limit(space, share)
        effects = Effects(space)
        # Costs are small whole numbers, so the table is exact.
        solver = MemorialSolver(effects, BudgetedChain(space.chain, budgets))
        weights = np.random.default_rng(seed).standard_normal(len(effects))
        found = list(solver.solutions(effects.scores(weights)))
        expected = {
            architecture: float(effects.row(architecture) @ weights)
            for architecture in map(tuple, everything(space).tolist())
            if inside(budgets, space.costs(architecture))
        }
        self.assertEqual({architecture for _, architecture in found}, set(expected))
        self.assertLen(found, len(expected))
        scores = [score for score, _ in found]
        np.testing.assert_allclose(scores, [expected[a] for _, a in found], atol=1e-9)
        np.testing.assert_allclose(scores, sorted(scores, reverse=True), atol=1e-9)

    @_LAW
    @given(st.integers(0, 10**6), st.sampled_from(["band", "two", "peak"]))
    def test_other_budgets_hold_too(self, seed, kind):
        space = random_space(seed)
        costs = space.chain.costs(everything(space))
        madds = np.quantile(costs["madds"], [0.4, 0.8])
        budgets = {
            "band": [Budget("madds", *madds)],
            "two": [
                Budget("madds", 0, madds[1]),
                Budget("params", 0, np.quantile(costs["params"], 0.8)),
            ],
            "peak": [
                Budget("peak_memory_bytes", 0, costs["peak_memory_bytes"].min() + 1)
            ],
        }[kind]
        effects = Effects(space)
        solver = MemorialSolver(effects, BudgetedChain(space.chain, budgets))
        weights = np.random.default_rng(seed).standard_normal(len(effects))
        found = [a for _, a in solver.solutions(effects.scores(weights))]
        held = sum(
            inside(budgets, {name: values[row] for name, values in costs.items()})
            for row in range(space.size)
        )
        self.assertLen(found, held)
        for architecture in found:
            self.assertTrue(inside(budgets, space.costs(architecture)))


class EffectsTest(absltest.TestCase):
    def test_scores_along_the_chain_sum_to_the_row(self):
        space = _attributed_space()
        effects = Effects(space)
        weights = np.random.default_rng(0).standard_normal(len(effects))
        scores = effects.scores(weights)
        for architecture in map(tuple, everything(space).tolist()):
            node, total = 0, 0.0
            for layer, score, option in zip(effects.layers, scores, architecture):
                total += score[node, option]
                node = layer.next_node[node, option]
            self.assertAlmostEqual(total, effects.row(architecture) @ weights)

    def test_capacity_is_the_same_number_per_doubling(self):
        effects = Effects(_attributed_space())
        names = [name for group, _, name in effects.names if group == "slope"]
        self.assertIn("filters", names)
        self.assertIn(("se", True), names)
        column = effects.names.index(("slope", None, "filters"))
        small, large = (0, 0, 1, 3), (4, 0, 1, 3)
        gain = effects.row(large)[column] - effects.row(small)[column]
        self.assertAlmostEqual(gain, np.log(2))

    def test_a_dropped_block_has_the_least_numbers_and_an_effect_of_its_own(self):
        effects = Effects(_attributed_space())
        dropped, least = (effects.row((0, 0, option, 0)) for option in (0, 1))
        names = {name for name, a, b in zip(effects.names, dropped, least) if a != b}
        self.assertIn(("dropped", None, "dropped"), names)
        self.assertNotIn("kernel", {name for _, _, name in names})

    def test_a_layer_without_a_choice_has_no_effect(self):
        effects = Effects(_attributed_space())
        self.assertEmpty(effects.layers[1].columns)


class LinearModelTest(absltest.TestCase):
    def test_posterior_equals_the_textbook_formula(self):
        rng = np.random.default_rng(0)
        rows, rewards = rng.standard_normal((30, 4)), rng.standard_normal(30)
        prior = Prior(
            np.array([0, 0, 1, 1]), np.array([1.0, 0, 0, 2]), np.array([0.5, 2]), 0.7
        )
        found = posterior(prior, _moments(rows, rewards))
        weight = np.diag([4, 4, 0.25, 0.25])
        covariance = np.linalg.inv(rows.T @ rows / 0.49 + weight)
        mean = covariance @ (rows.T @ rewards / 0.49 + weight @ prior.mean)
        np.testing.assert_allclose(found.mean, mean)
        draws = np.array([found.draw(rng) for _ in range(20_000)])
        np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.01)

    def test_scales_and_noise_are_learned(self):
        rng = np.random.default_rng(1)
        group = np.repeat([0, 1], 40)
        truth = rng.standard_normal(80) * np.where(group == 0, 2.0, 0.1)
        rows = rng.standard_normal((600, 80))
        rewards = rows @ truth + 0.5 * rng.standard_normal(600)
        first = Prior(group, np.zeros(80), np.array([0.5, 0.5]), 0.1)
        learned = learn_scales(first, first, _moments(rows, rewards), evaluations=60)
        self.assertAlmostEqual(learned.noise, 0.5, delta=0.06)
        self.assertAlmostEqual(learned.scale[0], 2.0, delta=0.5)
        self.assertAlmostEqual(learned.scale[1], 0.13, delta=0.06)

    def test_the_slopes_of_the_evidence_are_its_derivatives(self):
        rng = np.random.default_rng(2)
        group = np.array([0, 0, 0, 1, 1, 2])
        rows, rewards = rng.standard_normal((9, 6)), rng.standard_normal(9)
        prior = Prior(group, rng.standard_normal(6), np.array([0.5, 2, 1]), 0.7)
        data = _moments(rows, rewards)
        covariance = rows @ np.diag(prior.scale[group] ** 2) @ rows.T + 0.49 * np.eye(9)
        departure = rewards - rows @ prior.mean
        value, slopes = log_evidence(prior, data)
        textbook = -0.5 * np.linalg.slogdet(covariance)[1]
        textbook -= 0.5 * departure @ np.linalg.solve(covariance, departure)
        self.assertAlmostEqual(value, textbook)
        step = 1e-5
        for i in range(3):
            scale = prior.scale * np.exp(step * (np.arange(3) == i))
            moved, _ = log_evidence(dataclasses.replace(prior, scale=scale), data)
            self.assertAlmostEqual((moved - value) / step, slopes[i], delta=1e-3)
        noise = prior.noise * np.exp(step)
        moved, _ = log_evidence(dataclasses.replace(prior, noise=noise), data)
        self.assertAlmostEqual((moved - value) / step, slopes[3], delta=1e-3)


def _moments(rows, rewards):
    return Moments(rows.T @ rows, rows.T @ rewards, rewards @ rewards, len(rewards))


class LayerNASBayesTest(absltest.TestCase):
    def test_finds_the_optimum_of_a_sum_in_few_trials(self):
        for seed in range(3):
            space = random_space(seed, layers=6, options=4, states=1)
            budgets = _limit(space, 0.4)
            rng = np.random.default_rng(seed)
            worth = rng.standard_normal((6, 4))
            search = LayerNASBayes(space, budgets, seed=seed)
            for _ in range(80):
                candidate = search.ask()
                self.assertTrue(inside(budgets, space.costs(candidate.architecture)))
                reward = sum(w[o] for w, o in zip(worth, candidate.architecture))
                search.tell(candidate, reward)
            architectures = everything(space)
            totals = worth[np.arange(6), architectures].sum(axis=1)
            held = space.chain.costs(architectures)["madds"] <= budgets[0].upper
            self.assertAlmostEqual(search.best.reward, totals[held].max())

    def test_whether_few_large_blocks_are_better_is_found_at_once(self):
        space = get_space("mobilenet_v3_small", resolution=32, classes=10)
        budgets = [parse_budget("madds<=40%", space)]
        dropped = [
            {n for n, option in enumerate(layer.options) if option.get("drop")}
            for layer in space.layers
        ]
        possible = sum(bool(options) for options in dropped)
        search = LayerNASBayes(space, budgets)
        most = 0
        for _ in range(12):
            candidate = search.ask()
            kept = zip(candidate.architecture, dropped)
            count = sum(option in options for option, options in kept)
            most = max(most, count)
            search.tell(candidate, 0.1 * count)
        self.assertGreaterEqual(most, possible - 1)

    def test_the_first_ask_uses_the_budget_up(self):
        space = _attributed_space()
        high = space.chain.most_expensive((), "madds")
        candidate = LayerNASBayes(space, [Budget("madds", 0, high)]).ask()
        self.assertEqual(space.costs(candidate.architecture)["madds"], high)

    def test_learned_effects_name_what_each_layer_wants(self):
        space = _attributed_space()
        search = LayerNASBayes(space)
        for _ in range(40):
            candidate = search.ask()
            wants_se = space.layers[3].options[candidate.architecture[3]]["se"]
            wants_five = (
                space.layers[2].options[candidate.architecture[2]].get("kernel")
            )
            search.tell(candidate, 3.0 * wants_se + 1.0 * (wants_five == 5))
        effects = {(e.layer, e.option): e for e in search.learned_effects()}
        self.assertNotIn("stem", {layer for layer, _ in effects})
        gain = effects["c", "f16 k3 se"].worth - effects["c", "f16 k3"].worth
        self.assertAlmostEqual(gain, 3.0, delta=0.5)
        gain = effects["b", "k5"].worth - effects["b", "k3"].worth
        self.assertAlmostEqual(gain, 1.0, delta=0.5)
        for effect in effects.values():
            self.assertGreaterEqual(effect.deviation, 0)

    def test_learned_effects_leave_out_what_no_architecture_inside_has(self):
        space, parts = parts_of(_attributed_space(), (0, 0, 0, 0))
        search = LayerNASBayes(space, [parts])
        for effect in search.learned_effects():
            layer = next(la for la in space.layers if la.name == effect.layer)
            option = layer.options[effect.index]
            self.assertEqual(option.label, effect.option)
            self.assertTrue(is_part(option, layer.options[0]))

    def test_a_long_chain_is_believed_as_cautiously_as_a_short_one(self):
        # Otherwise the belief in capacity would outweigh a hundred rewards there.
        for layers in (5, 40):
            table = synthetic(layers=layers, options=6, buckets=8 * layers)
            belief = RewardBelief(table.space)
            rng = np.random.default_rng(0)
            tried = rng.integers(0, 6, (400, layers)).tolist()
            rows = np.array([belief.effects.row(tuple(a)) for a in tried])
            expected = rows @ belief.weights().mean[:-1]
            self.assertAlmostEqual(float(expected.std()), 0.7, delta=0.1)

    def test_groups_are_all_used(self):
        self.assertEqual(
            set(Effects(_attributed_space()).group), set(range(len(GROUPS)))
        )


if __name__ == "__main__":
    absltest.main()
