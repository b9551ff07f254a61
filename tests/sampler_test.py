"""LayerNAS inside Optuna programs: budgets, resume, threads, other samplers' trials."""

from __future__ import annotations

import pathlib
import subprocess
import sys

import optuna
from absl.testing import absltest, parameterized

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import inside, parse_budget
from layernas_tf.study.optuna_sampler import LayerNASSampler, suggest
from layernas_tf.study.optuna_trial import from_params, to_params
from search_spaces.tabular.burger import burger, burger_table
from search_spaces.tabular.synthetic import synthetic

_TABLE = synthetic(layers=6, options=4, buckets=36)
_SPACE = _TABLE.space
_BUDGETS = (parse_budget("cost<=60%", _SPACE),)


def objective(trial: optuna.Trial) -> float:
    return _TABLE.query(suggest(trial, _SPACE, _BUDGETS)).valid


def make_study(storage=None, direction="maximize", **options) -> optuna.Study:
    return optuna.create_study(
        storage=storage,
        study_name="test",
        load_if_exists=True,
        direction=direction,
        sampler=LayerNASSampler(_SPACE, _BUDGETS, seed=1, **options),
    )


def architectures(study: optuna.Study) -> list[tuple[int, ...]]:
    return [from_params(_SPACE, trial.params) for trial in study.trials]


class SamplerTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        level = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.addCleanup(optuna.logging.set_verbosity, level)

    @parameterized.parameters("layernas", "layernas_bayes", "random")
    def test_proposes_what_the_algorithm_itself_would(self, name):
        algorithm = make_algorithm(name, _SPACE, _BUDGETS, 1)
        expected = []
        for _ in range(25):
            candidate = algorithm.ask()
            expected.append(candidate.architecture)
            reward = _TABLE.query(candidate.architecture).valid
            algorithm.tell(candidate, reward)
        study = make_study(algorithm=name)
        study.optimize(objective, n_trials=25)

        self.assertEqual(architectures(study), expected)

    def test_best_trial_is_inside_the_budget_and_near_the_optimum(self):
        study = make_study(algorithm="layernas_bayes")
        study.optimize(objective, n_trials=80)
        best = study.best_trial

        costs = _SPACE.costs(from_params(_SPACE, best.params))
        self.assertTrue(inside(_BUDGETS, costs))
        self.assertEqual(best.user_attrs["cost"], costs["cost"])
        optimum = _TABLE.best(_BUDGETS).valid
        self.assertGreater(best.value, optimum - 0.05 * abs(optimum))

    def test_loaded_study_goes_on_like_an_uninterrupted_one(self):
        storage = optuna.storages.InMemoryStorage()
        for trials in (6, 1, 9):
            make_study(storage).optimize(objective, n_trials=trials)
        whole = make_study()
        whole.optimize(objective, n_trials=16)

        self.assertEqual(architectures(make_study(storage)), architectures(whole))

    def test_minimizing_study_searches_the_least(self):
        maximized = make_study()
        maximized.optimize(objective, n_trials=20)
        minimized = make_study(direction="minimize")
        minimized.optimize(lambda trial: -objective(trial), n_trials=20)

        self.assertEqual(architectures(minimized), architectures(maximized))

    def test_threads_try_no_architecture_twice(self):
        study = make_study(algorithm="random")
        study.optimize(objective, n_trials=60, n_jobs=4)

        tried = architectures(study)
        self.assertLen(tried, 60)
        self.assertLen(set(tried), 60)

    def test_failed_trials_are_not_tried_again(self):
        def fails(trial):
            suggest(trial, _SPACE, _BUDGETS)
            raise ValueError("no memory")

        study = make_study()
        study.optimize(fails, n_trials=2, catch=ValueError)
        study.optimize(objective, n_trials=10)

        self.assertLen(set(architectures(study)), 12)

    def test_learns_from_trials_of_another_sampler_and_enqueued_ones(self):
        storage = optuna.storages.InMemoryStorage()
        before = optuna.create_study(
            storage=storage,
            study_name="test",
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(0),
        )
        before.optimize(objective, n_trials=5)
        study = make_study(storage, algorithm="layernas_bayes")
        best = _TABLE.best(_BUDGETS).architecture
        study.enqueue_trial(to_params(_SPACE, best))
        study.optimize(objective, n_trials=10)

        tried = architectures(study)
        self.assertEqual(tried[5], best)
        self.assertNotIn(best, tried[6:])
        self.assertEmpty(set(tried[:5]) & set(tried[5:]))

    def test_enqueued_part_of_an_architecture_is_filled_with_the_default(self):
        study = make_study()
        first = _SPACE.layers[0]
        study.enqueue_trial({first.name: to_params(_SPACE, (0,) * 6)[first.name]})
        study.optimize(objective, n_trials=1)

        self.assertEqual(architectures(study), [(0, *_SPACE.default[1:])])

    def test_parameters_beside_the_space_are_drawn(self):
        def with_rate(trial):
            rate = trial.suggest_float("rate", 1e-3, 1e-1, log=True)
            return objective(trial) - rate

        study = make_study()
        study.optimize(with_rate, n_trials=8)

        rates = {trial.params["rate"] for trial in study.trials}
        self.assertLen(rates, 8)
        self.assertLen(set(architectures(study)), 8)

    def test_study_stops_when_everything_was_tried(self):
        space, table = burger(), burger_table()
        study = optuna.create_study(
            direction="maximize", sampler=LayerNASSampler(space, algorithm="random")
        )
        study.optimize(
            lambda trial: table.query(suggest(trial, space)).valid, n_trials=100
        )

        self.assertLen(study.trials, space.size + 1)
        self.assertEqual(study.best_value, table.best().valid)

    def test_sampler_of_another_study_is_refused(self):
        study = make_study()
        study.optimize(objective, n_trials=1)
        other = optuna.create_study(study_name="other", sampler=study.sampler)
        with self.assertRaisesRegex(UserError, "belongs to study 'test'.*'other'"):
            other.optimize(objective, n_trials=1)

    def test_unknown_algorithm_is_refused(self):
        with self.assertRaisesRegex(UserError, "'nas'.*expected one of layernas"):
            LayerNASSampler(_SPACE, _BUDGETS, algorithm="nas")


class OptunaSuiteTest(absltest.TestCase):
    def test_passes_optunas_own_tests_of_samplers(self):
        suite = pathlib.Path(__file__).resolve().parent / "optuna_suite.py"
        finished = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                str(suite),
            ],
            capture_output=True,
            text=True,
            cwd=suite.parent.parent,
        )

        self.assertEqual(finished.returncode, 0, finished.stdout[-2000:])
        passed = int(finished.stdout.split(" passed")[0].split()[-1])
        self.assertGreater(passed, 100)
        self.assertNotIn("skipped", finished.stdout.splitlines()[-1])

    def test_refuses_a_study_of_several_objectives(self):
        study = optuna.create_study(
            directions=["maximize", "maximize"],
            sampler=LayerNASSampler(_SPACE, _BUDGETS),
        )
        with self.assertRaisesRegex(ValueError, "multi-objective"):
            study.optimize(lambda trial: (objective(trial), 0.0), n_trials=1)


class ExampleTest(absltest.TestCase):
    def test_example_finds_nearly_the_best(self):
        root = pathlib.Path(__file__).resolve().parent.parent
        finished = subprocess.run(
            [sys.executable, str(root / "examples" / "optuna_sampler.py")],
            capture_output=True,
            text=True,
        )

        self.assertEqual(finished.returncode, 0, finished.stderr)
        found = float(finished.stdout.split("trials: ")[1].split(",")[0])
        possible = float(finished.stdout.split("best possible: ")[1])
        self.assertGreater(found, 0.95 * possible)
        self.assertLessEqual(found, possible + 1e-4)


if __name__ == "__main__":
    absltest.main()
