"""A cost of the user's own is known wherever costs are."""

from __future__ import annotations

import csv
import io
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from examples.my_cost import energy, picojoules
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.costs.cost import Cost, load_cost, with_cost, with_user_costs
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.load_task import load_task
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.report.wording import axis_title, budget_text, cost_text
from layernas_tf.space.budget import inside, parse_budget
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Metric
from layernas_tf.study.trial import Trial
from layernas_tf.testing import everything, random_space
from search_spaces.registry import check_name, get_space

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_EXAMPLE = f"{_ROOT / 'examples' / 'my_cost.py'}:energy"
_INPUTS = Inputs(get_space, check_name)
_WIDEST = Cost(Metric("widest", "max", "channels"), lambda step: step.after.channels)


def _small() -> SearchSpace:
    return get_space("mobilenet_v3_small", resolution=32, classes=10, channels=1)


class CostTest(parameterized.TestCase):
    def _file(self, text: str) -> str:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name) / "own.py"
        path.write_text(
            "from layernas_tf.costs.cost import Cost\n"
            "from layernas_tf.space import Metric\n" + text
        )
        return str(path)

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 10**6), st.sampled_from(["sum", "max"]))
    def test_layers_add_up_or_the_largest_counts(self, seed, kind):
        plain = random_space(seed, fractions=True)
        cost = Cost(Metric("own", kind), lambda s: s.costs["madds"] + s.after.channels)
        space = with_cost(plain, cost)
        architectures = everything(space)
        chosen = tuple(map(int, architectures[seed % len(architectures)]))
        layers = [
            step.costs["madds"] + step.after.channels for step in plain.steps(chosen)
        ]
        whole = {"sum": sum, "max": max}[kind](layers)
        self.assertAlmostEqual(space.costs(chosen)["own"], whole)
        self.assertEqual(
            plain.costs(chosen).items() - space.costs(chosen).items(), set()
        )
        costs = space.chain.costs(architectures)["own"]
        self.assertAlmostEqual(space.chain.cheapest((), "own"), costs.min())
        self.assertAlmostEqual(space.chain.most_expensive((), "own"), costs.max())

    @parameterized.parameters("layernas", "layernas_bayes", "random")
    def test_a_search_keeps_budgets_on_it(self, name):
        space = with_cost(with_cost(_small(), energy), _WIDEST)
        budgets = [
            parse_budget("energy_uj<=60%", space),
            parse_budget("widest<=64", space),
        ]
        algorithm = make_algorithm(name, space, budgets)
        rng = np.random.default_rng(0)
        for _ in range(15):
            algorithm.tell(algorithm.ask(), rng.normal())
            if algorithm.best is not None:
                costs = space.costs(algorithm.best.architecture)
                self.assertTrue(inside(budgets, costs))
                self.assertLessEqual(costs["widest"], 64)

    def test_trials_csv_has_a_column(self):
        space = with_cost(_small(), energy)
        trial = Trial(
            0, space.default, space.costs(space.default), state="complete", reward=0.5
        )
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "trials.csv"
            TrialsCsv(path, space, [parse_budget("energy_uj<=50%", space)]).rewrite(
                [trial]
            )
            (row,) = csv.DictReader(io.StringIO(path.read_text()))
        expected = sum(map(picojoules, _small().steps(space.default))) / 1e6
        self.assertAlmostEqual(float(row["energy_uj"]), expected)
        self.assertEqual(row["inside"], "0")

    def test_reports_write_it_as_it_says(self):
        space = with_cost(_small(), energy)
        self.assertEqual(cost_text(12.34567, energy.metric), "12.346 µJ")
        self.assertEqual(axis_title(energy.metric), "energy [µJ]")
        budget = parse_budget("energy_uj<=100", space)
        self.assertEqual(budget_text(budget, space), "at most 100.000 µJ energy")
        plain = Metric("largest_row", unit="values")
        self.assertEqual(cost_text(12345.0, plain), "12.35k values")
        self.assertEqual(axis_title(plain), "largest row [values]")

    def test_the_search_takes_it_from_a_file(self):
        config = SearchConfig(limit=100, cost=(_EXAMPLE,), budget=("energy_uj<=60%",))
        task = load_task(config, _INPUTS)
        plain = _small()
        self.assertEqual(task.space.metrics[-1].name, "energy_uj")
        full = task.space.costs(task.space.default)["energy_uj"]
        self.assertAlmostEqual(task.budgets[0].high, 0.6 * full)
        self.assertEqual(plain.default, task.space.default)

    def test_describe_shows_it(self):
        found = subprocess.run(
            [
                *(sys.executable, "-m", "layernas_tf.describe"),
                *("--space=mobilenet_v3_small", f"--cost={_EXAMPLE}"),
            ],
            capture_output=True,
            text=True,
            cwd=_ROOT,
        )
        self.assertEqual(found.returncode, 0, found.stderr)
        self.assertRegex(found.stdout, r"energy_uj +µJ +sum +\d+\.\d{3} ")
        self.assertIn("energy [µJ]", found.stdout)

    def test_a_function_makes_a_cost_for_the_space(self):
        path = self._file(
            "def share(space):\n"
            "    total = space.costs(space.default)['madds']\n"
            "    return Cost(Metric('share'), lambda s: s.costs['madds'] / total)\n"
        )
        space = with_user_costs(_small(), (f"{path}:share", _EXAMPLE))
        costs = space.costs(space.default)
        self.assertAlmostEqual(costs["share"], 1.0)
        self.assertIn("energy_uj", costs)

    @parameterized.parameters(
        ("x = 1", "own.py has no function 'own'"),
        ("own = 1", "expected a layernas_tf.costs.cost.Cost or a function .* int"),
        ("own = lambda space: 3", "expected a layernas_tf.costs.cost.Cost .* int"),
        ("own = lambda space: 1 / 0", "raised ZeroDivisionError.*own.py, line 3"),
        ("own = Cost(Metric('a b'), id)", "expected a name of letters, digits and"),
        ("own = Cost(Metric('madds'), id)", "has a cost of that name"),
        ("own = Cost(Metric('a', 'mean'), id)", "kind must be 'sum' or 'max', got 'm"),
        (
            "own = Cost(Metric('a'), lambda step: step.size)",
            r"cost 'a': layer 'stem', .*AttributeError.*own.py, line 3\)",
        ),
        ("own = Cost(Metric('a'), lambda s: 'x')", "layer 'stem'.* a number, got 'x'"),
        ("own = Cost(Metric('a'), lambda s: -1)", "a must be a finite number >= 0"),
        ("own = Cost(Metric('a'), lambda s: float('nan'))", "a must be a finite num"),
    )
    def test_what_is_no_cost_is_refused(self, text, message):
        with self.assertRaisesRegex(UserError, message):
            len(with_user_costs(_small(), (f"{self._file(text)}:own",)).chain)

    def test_a_reference_to_no_file_is_refused(self):
        with self.assertRaisesRegex(UserError, "cost 'energy': expected path/to/file"):
            load_cost("energy", _small())


if __name__ == "__main__":
    absltest.main()
