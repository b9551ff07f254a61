"""Odd spaces, budgets, rewards and options: they work or are refused in one line."""

from __future__ import annotations

import dataclasses
import sys
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf import profile_architecture, run_search
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.describe import cost_table
from layernas_tf.pipeline.targets import read_targets
from layernas_tf.space.budget import Budget, inside, parse_budget
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.even_cuts import even_cuts
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State
from layernas_tf.testing.chains import everything, random_space
from search_spaces.registry import get_space


def _move(state: State, option: Option) -> tuple[State, dict[str, float]]:
    kernel = option["kernel"]
    return state, {"madds": 1 if kernel == "pool" else float(kernel)}


def _space(*options: Option, layers: int = 3) -> SearchSpace:
    made = tuple(Layer(f"layer {i}", options, 0, _move) for i in range(layers))
    return SearchSpace("own", State(1, 1, 1), made, (Metric("madds"),))


_POOL = Option.of(kernel="pool", pad=0)
_MIXED = _space(_POOL, *(Option.of(kernel=kernel, pad=0) for kernel in (3, 5)))


class OddSpacesTest(parameterized.TestCase):
    @parameterized.parameters("layernas_bayes", "layernas", "random")
    def test_an_attribute_may_be_a_number_here_and_a_word_there(self, name):
        search = make_algorithm(name, _MIXED, (), 0)
        found = []
        while (candidate := search.ask()) is not None and len(found) < 27:
            found.append(candidate.architecture)
            search.tell(candidate, float(sum(candidate.architecture)))
        self.assertEqual(search.best.architecture, (2, 2, 2))

    def test_cuts_pass_over_attributes_that_are_words_or_zero(self):
        layers = tuple(dataclasses.replace(x, default=2) for x in _MIXED.layers)
        space = dataclasses.replace(_MIXED, layers=layers)
        found = even_cuts(space, [parse_budget("madds<=60%", space)])
        self.assertTrue(all(space.costs(a)["madds"] <= 9 for a in found))

    def test_a_transition_that_raises_is_one_line_wherever_it_is_called(self):
        def misspelt(state, option):
            return state, {"madds": option["kernels"]}

        layers = tuple(
            dataclasses.replace(x, transition=misspelt) for x in _MIXED.layers
        )
        space = dataclasses.replace(_MIXED, layers=layers)
        for call in (
            lambda: cost_table(space),
            lambda: list(space.steps(space.default)),
            lambda: profile_architecture(space),
        ):
            with self.assertRaisesRegex(UserError, "transition raised KeyError"):
                call()

    def test_a_space_needs_a_metric(self):
        with self.assertRaisesRegex(UserError, "at least one metric"):
            dataclasses.replace(_MIXED, metrics=())

    def test_a_space_without_a_choice_is_searched_once_however_often_resumed(self):
        folder = tempfile.mkdtemp()
        space = _space(Option.of(kernel=3), layers=1)
        seen = []

        def evaluate(candidate):
            seen.append(candidate.architecture)
            return 1.0

        for _ in range(3):
            run_search(
                space=space, evaluator=evaluate, trials=3, workdir=folder, verbose=0
            )
        self.assertEqual(seen, [(0,)])


class OddBudgetsTest(parameterized.TestCase):
    def test_every_architecture_of_a_narrow_band_of_fractions_is_proposed(self):
        for seed in range(6):
            space = random_space(seed, layers=5, options=4, fractions=True)
            every = everything(space)
            costs = np.sort(space.chain.costs(every)["madds"])
            middle = len(costs) // 2
            budgets = (Budget("madds", costs[middle], costs[middle + 4]),)
            fitting = [
                a for a in map(tuple, every.tolist()) if inside(budgets, space.costs(a))
            ]
            search = make_algorithm("layernas_bayes", space, budgets, 0)
            found = []
            while (candidate := search.ask()) is not None:
                found.append(candidate.architecture)
                search.tell(candidate, 1.0 + len(found) / 100)
            self.assertCountEqual(found, fitting)

    @parameterized.parameters("layernas_bayes", "layernas", "random")
    def test_a_maximum_that_nothing_meets_is_refused_at_once(self, name):
        space = get_space("mobilenet_v3_small", resolution=32, classes=10)
        with self.assertRaisesRegex(UserError, "no architecture is inside peak"):
            make_algorithm(name, space, (Budget("peak_memory_bytes", 0, 1),), 0)

    @parameterized.product(
        case=(
            ("mobilenet_v3_small", "madds=50%..55%", "params<=70%", "model_bytes<=70%"),
            ("mobilenet_v2", "madds=45%..60%", "params<=70%", "float32_bytes<=68%"),
            ("mobilenet_v2", "madds<=60%", "params=50%..51.5%"),
        ),
        algorithm=("layernas_bayes", "layernas", "random"),
    )
    def test_bands_of_few_units_can_be_searched(self, case, algorithm):
        name, *texts = case
        space = get_space(name, resolution=96, classes=10)
        budgets = [parse_budget(text, space) for text in texts]
        search = make_algorithm(algorithm, space, budgets, 0)
        for _ in range(12):
            candidate = search.ask()
            self.assertTrue(inside(budgets, space.costs(candidate.architecture)))
            search.tell(candidate, float(sum(candidate.architecture)))

    def test_budgets_too_narrow_to_count_are_not_called_impossible(self):
        space = get_space("mobilenet_v2", resolution=96, classes=10)
        budgets = [parse_budget("madds=50%..50.00001%", space)]
        with self.assertRaisesRegex(UserError, "rounded .* a wider band"):
            BudgetedChain(space.chain, budgets)

    def test_the_figure_in_an_error_can_be_given_as_a_budget(self):
        space = get_space("mobilenet_v3_small", resolution=32, classes=10)
        with self.assertRaises(UserError) as caught:
            parse_budget("madds<=1", space)
        figure = str(caught.exception).rpartition("madds=")[2]
        read_targets([f"madds<={figure}"], space)


class OddRewardsTest(absltest.TestCase):
    def test_an_absurdly_large_reward_is_a_failed_trial(self):
        space = _space(*(Option.of(kernel=kernel) for kernel in (3, 5, 7)))
        folder = tempfile.mkdtemp()

        def evaluate(candidate):
            if candidate.number == 2:
                return -sys.float_info.max
            return float(sum(candidate.architecture))

        for trials in (5, 8):
            result = run_search(
                space=space,
                evaluator=evaluate,
                trials=trials,
                workdir=folder,
                verbose=0,
            )
        states = list(result.trials["state"])
        self.assertEqual(states, ["complete"] * 2 + ["failed"] + ["complete"] * 5)


class OddOptionsTest(parameterized.TestCase):
    @parameterized.parameters(
        ("bananas", {"batch": 0}, "batch: expected a whole number of at least 1"),
        ("bananas", {"batch": 2.5}, "batch: expected a whole number"),
        ("regularized_evolution", {"population": 3}, "population: .* at least 10"),
        ("layernas", {"children": "x"}, "children: expected a whole number"),
        ("layernas_bayes", {"exploration": float("nan")}, "exploration: expected a"),
    )
    def test_senseless_values_are_refused(self, name, options, message):
        with self.assertRaisesRegex(UserError, message):
            make_algorithm(name, _MIXED, (), 0, **options)

    def test_two_budgets_on_one_cost_are_one_for_optuna(self):
        space = random_space(3, layers=5, options=4)
        high = max(space.chain.costs(everything(space))["madds"])
        wide, narrow = (Budget("madds", 0, share * high) for share in (0.8, 0.5))
        asked = []
        for budgets in ((wide, narrow), (narrow,)):
            search = make_algorithm("tpe", space, budgets, 1)
            found = []
            for _ in range(25):
                candidate = search.ask()
                found.append(candidate.architecture)
                search.tell(candidate, float(sum(candidate.architecture)))
            asked.append(found)
        self.assertEqual(*asked)


if __name__ == "__main__":
    absltest.main()
