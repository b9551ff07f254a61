"""One suite for every algorithm: what drivers and studies rely on."""

from __future__ import annotations

import importlib.util

import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.algorithms.registry import NAMES, make_algorithm, takes_reward_shape
from layernas_tf.algorithms.reward_shaping import KINDS, RewardShape
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Option
from tests.chains import everything, random_space

# Optuna's Gaussian process needs PyTorch, which nothing else here does.
_NAMES = tuple(
    name
    for name in NAMES
    if name != "gp" or importlib.util.find_spec("torch") is not None
)
# LayerNAS trains children whose later layers are still at their defaults.
_LEAVE_THE_BUDGET = ("layernas", "layernas_layerwise")
_STAY_INSIDE = tuple(name for name in _NAMES if name not in _LEAVE_THE_BUDGET)
_SHAPED = tuple(
    (name, kind) for name in _NAMES if takes_reward_shape(name) for kind in KINDS
)


def _task(seed=3, layers=5, options=4, share=0.4):
    space = random_space(seed, layers=layers, options=options)
    costs = space.chain.costs(everything(space))["madds"]
    return space, [Budget("madds", 0, float(np.quantile(costs, share)))]


def _rewards(seed, space):
    """A reward per option, and a little for each pair of neighbours."""
    rng = np.random.default_rng(seed)
    widest = max(len(layer.options) for layer in space.layers)
    unary = rng.normal(size=(len(space.layers), widest))
    pair = 0.3 * rng.normal(size=(len(space.layers), widest, widest))

    def reward(architecture):
        return 10 + sum(
            unary[i, option] + pair[i, architecture[i - 1], option]
            for i, option in enumerate(architecture)
        )

    return reward


def _play(algorithm, reward, steps, workers=1, failing=()):
    """Asks and tells with several pending; returns the events and the candidates."""
    events, pending, asked = [], [], []
    rng = np.random.default_rng(0)
    for step in range(steps):
        candidate = algorithm.ask() if len(pending) < workers else None
        if candidate is not None:
            events.append(("ask", candidate.number, candidate.architecture))
            pending.append(candidate)
            asked.append(candidate)
        elif not pending:
            break
        if pending and (candidate is None or rng.random() < 0.5):
            told = pending.pop(rng.integers(len(pending)))
            value = None if step in failing else reward(told.architecture)
            algorithm.tell(told, value)
            events.append(("tell", told, value))
    return events, asked, pending


def _replayed(algorithm, events):
    for kind, first, second in events:
        if kind == "tell":
            algorithm.tell(first, second)
        else:
            candidate = algorithm.ask(first)
            assert candidate.architecture == second, (candidate, second)
    return algorithm


def _single_layer_space():
    space = random_space(1, layers=3, options=4)
    fixed = Layer("stem", (Option.of(level=1),), 0, space.layers[0].transition)
    layers = (fixed, space.layers[1], space.layers[2])
    return SearchSpace("fixed_stem", space.start, layers, space.metrics)


class ConformanceTest(parameterized.TestCase):
    @parameterized.parameters(*_NAMES)
    def test_never_asks_what_was_evaluated_or_is_pending(self, name):
        space, budgets = _task()
        algorithm = make_algorithm(name, space, budgets, seed=1)
        _, asked, _ = _play(algorithm, _rewards(1, space), 120, workers=4)
        architectures = [candidate.architecture for candidate in asked]
        self.assertLen(set(architectures), len(architectures))
        self.assertGreater(len(architectures), 40)

    @parameterized.parameters(*_NAMES)
    def test_answers_within_the_budget_with_the_reward_it_was_told(self, name):
        space, budgets = _task()
        reward = _rewards(2, space)
        algorithm = make_algorithm(name, space, budgets, seed=2)
        self.assertIsNone(algorithm.best)
        _, asked, _ = _play(algorithm, reward, 120)
        answer = algorithm.best
        self.assertTrue(inside(budgets, space.costs(answer.architecture)))
        trained = {
            candidate.architecture: reward(candidate.architecture)
            for candidate in asked
            if inside(budgets, space.costs(candidate.architecture))
        }
        self.assertEqual(answer.reward, max(trained.values()))

    @parameterized.parameters(*_STAY_INSIDE)
    def test_never_asks_outside_the_budget(self, name):
        space, budgets = _task(seed=5, share=0.15)
        algorithm = make_algorithm(name, space, budgets, seed=3)
        _, asked, _ = _play(algorithm, _rewards(3, space), 90)
        self.assertNotEmpty(asked)
        for candidate in asked:
            self.assertTrue(inside(budgets, space.costs(candidate.architecture)))

    @parameterized.parameters(*_NAMES)
    def test_a_band_and_a_second_budget_hold_too(self, name):
        space, _ = _task()
        costs = space.chain.costs(everything(space))
        low, high = np.quantile(costs["madds"], (0.2, 0.6))
        budgets = [
            Budget("madds", float(low), float(high)),
            Budget(
                "peak_memory_bytes", 0, float(np.median(costs["peak_memory_bytes"]))
            ),
        ]
        algorithm = make_algorithm(name, space, budgets, seed=3)
        _, asked, _ = _play(algorithm, _rewards(3, space), 90)
        self.assertNotEmpty(asked)
        self.assertTrue(inside(budgets, space.costs(algorithm.best.architecture)))
        if name in _STAY_INSIDE:
            for candidate in asked:
                self.assertTrue(inside(budgets, space.costs(candidate.architecture)))

    @parameterized.product(name=_NAMES, sums=(2, 3), band=(False, True))
    def test_several_budgets_on_sums_hold_together(self, name, sums, band):
        space = random_space(11, layers=5, options=4, fractions=True, third=True)
        costs = space.chain.costs(everything(space))
        budgets = []
        for metric in ("madds", "latency_ms", "params")[:sums]:
            low, high = np.quantile(costs[metric], (0.15, 0.6))
            low = float(low) if band and metric != "params" else 0.0
            budgets.append(Budget(metric, low, float(high)))
        peak = np.quantile(costs["peak_memory_bytes"], 0.8)
        budgets.append(Budget("peak_memory_bytes", 0, float(peak)))
        algorithm = make_algorithm(name, space, budgets, seed=3)
        reward = _rewards(3, space)
        for _ in range(12 if name == "gp" else 40):  # a Gaussian process is slow
            candidate = algorithm.ask()
            if candidate is None:
                break
            if name in _STAY_INSIDE:
                self.assertTrue(inside(budgets, space.costs(candidate.architecture)))
            algorithm.tell(candidate, reward(candidate.architecture))
            # At any moment: a search may be ended there.
            answer = algorithm.best
            if answer is not None:
                self.assertTrue(inside(budgets, space.costs(answer.architecture)))
        self.assertIsNotNone(algorithm.best)

    @parameterized.product(name=_NAMES, workers=(1, 3), cut=(17, 70))
    def test_a_replayed_history_goes_on_as_the_live_run(self, name, workers, cut):
        space, budgets = _task()
        reward = _rewards(4, space)
        live = make_algorithm(name, space, budgets, seed=4)
        events, _, pending = _play(live, reward, cut, workers, failing=(5, 11))
        again = _replayed(make_algorithm(name, space, budgets, seed=4), events)
        self.assertEqual(again.best, live.best)
        self.assertEqual(
            _play(again, reward, 30, workers + len(pending))[0],
            _play(live, reward, 30, workers + len(pending))[0],
        )

    @parameterized.parameters(*_NAMES)
    def test_takes_over_what_others_evaluated(self, name):
        space, budgets = _task()
        reward = _rewards(5, space)
        known = [tuple(map(int, a)) for a in everything(space)[::13]]
        algorithm = make_algorithm(name, space, budgets, seed=5)
        for number, architecture in enumerate(known):
            algorithm.tell(Candidate(architecture, number), reward(architecture))
        fitting = [a for a in known if inside(budgets, space.costs(a))]
        self.assertEqual(algorithm.best.reward, max(map(reward, fitting)))
        _, asked, _ = _play(algorithm, reward, 60)
        self.assertGreater(len(asked), 20)
        self.assertEqual(asked[0].number, len(known))
        self.assertEmpty({c.architecture for c in asked} & set(known))

    @parameterized.parameters(*_NAMES)
    def test_a_failed_trial_is_not_asked_again(self, name):
        space, budgets = _task(layers=3, options=3)
        reward = _rewards(6, space)
        algorithm = make_algorithm(name, space, budgets, seed=6)
        failing = set(range(0, 200, 2))
        events, asked, _ = _play(algorithm, reward, 200, failing=failing)
        architectures = [candidate.architecture for candidate in asked]
        self.assertLen(set(architectures), len(architectures))
        self.assertTrue(any(e[0] == "tell" and e[2] is None for e in events))
        self.assertTrue(algorithm.finished)

    @parameterized.parameters(*_NAMES)
    def test_survives_when_everything_fails(self, name):
        space, budgets = _task(layers=3, options=3)
        algorithm = make_algorithm(name, space, budgets, seed=6)
        _play(algorithm, _rewards(6, space), 100, failing=range(100))
        self.assertTrue(algorithm.finished)
        self.assertIsNone(algorithm.best)

    @parameterized.product(name=_NAMES, workers=(1, 4))
    def test_ends_by_itself_on_a_tiny_space_with_the_best(self, name, workers):
        space, budgets = _task(layers=3, options=3, share=0.5)
        reward = _rewards(7, space)
        algorithm = make_algorithm(name, space, budgets, seed=7)
        self.assertFalse(algorithm.finished)
        _, _, pending = _play(algorithm, reward, 300, workers)
        self.assertEmpty(pending)
        self.assertTrue(algorithm.finished)
        self.assertIsNone(algorithm.ask())
        if name in _STAY_INSIDE:
            best = max(
                reward(tuple(map(int, a)))
                for a in everything(space)
                if inside(budgets, space.costs(tuple(map(int, a))))
            )
            self.assertEqual(algorithm.best.reward, best)

    @parameterized.parameters(*_NAMES)
    def test_same_seed_same_run_other_seed_other_run(self, name):
        space, budgets = _task()
        reward = _rewards(8, space)
        runs = [
            _play(make_algorithm(name, space, budgets, seed=s), reward, 70)[1]
            for s in (8, 8, 9)
        ]
        self.assertEqual(runs[0], runs[1])
        self.assertNotEqual(runs[0], runs[2])

    @parameterized.parameters(*_NAMES)
    def test_layers_without_a_choice_and_no_budget(self, name):
        space = _single_layer_space()
        reward = _rewards(9, space)
        algorithm = make_algorithm(name, space, [], seed=9)
        _, asked, _ = _play(algorithm, reward, 200)
        self.assertTrue(algorithm.finished)
        self.assertTrue(all(c.architecture[0] == 0 for c in asked))
        if name in _STAY_INSIDE:
            self.assertLen(asked, space.size)

    @parameterized.parameters(*_NAMES)
    def test_an_impossible_budget_is_said_in_one_line(self, name):
        space, _ = _task()
        with self.assertRaisesRegex(UserError, "no architecture is inside madds<="):
            make_algorithm(name, space, [Budget("madds", 0, 0.5)])

    @parameterized.parameters(*_SHAPED)
    def test_reward_shapes_replay_and_answer_within_the_budget(self, name, kind):
        space, budgets = _task()
        reward = _rewards(10, space)
        shape = RewardShape(kind, exponent=-0.5, beta=-2.0)
        live, again = (
            make_algorithm(name, space, budgets, seed=1, shape=shape) for _ in range(2)
        )
        events, asked, _ = _play(live, reward, 90, workers=2)
        _replayed(again, events)
        self.assertEqual(_play(again, reward, 9, 2)[0], _play(live, reward, 9, 2)[0])
        self.assertTrue(inside(budgets, space.costs(live.best.architecture)))
        leaves = [c for c in asked if not inside(budgets, space.costs(c.architecture))]
        self.assertEqual(bool(leaves), not shape.rejects)


class RegistryTest(absltest.TestCase):
    def test_unknown_names_and_options_are_refused(self):
        space, budgets = _task()
        with self.assertRaisesRegex(UserError, "'hill': expected one of layernas, "):
            make_algorithm("hill", space, budgets)
        with self.assertRaisesRegex(UserError, "no option 'tournaments': expected one"):
            make_algorithm("regularized_evolution", space, budgets, tournaments=3)
        with self.assertRaisesRegex(UserError, "no option 'sampler': expected none"):
            make_algorithm("tpe", space, budgets, sampler="gp")

    def test_gp_without_pytorch_says_what_to_install(self):
        space, budgets = _task()
        if importlib.util.find_spec("torch") is None:
            with self.assertRaisesRegex(UserError, "needs PyTorch.*pip install -r"):
                make_algorithm("gp", space, budgets)
        else:
            self.assertIsNotNone(make_algorithm("gp", space, budgets).ask())


if __name__ == "__main__":
    absltest.main()
