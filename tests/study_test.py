"""A study holds the order of asks and tells, and gives the algorithm back from it."""

from __future__ import annotations

import csv
import dataclasses
import functools
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import optuna
from absl.testing import absltest, parameterized

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import Evaluation
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.space.budget import inside, parse_budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.study.open_storage import sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.study.optuna_trial import from_params, to_params
from layernas_tf.study.study import Study
from layernas_tf.workers.executor import InProcess, Outcome, evaluate
from search_spaces.tabular.burger import burger
from search_spaces.tabular.synthetic import synthetic

_TABLE = synthetic(layers=5, options=4, buckets=30)
_SPACE = _TABLE.space
_BUDGETS = (parse_budget("cost<=60%", _SPACE),)


# Exit codes and signals aside, the program that the kill test kills.
_PROGRAM = """
import pathlib, sys, time
from study_test import open_synthetic, run
run(open_synthetic(pathlib.Path(sys.argv[1])), 15, lambda: time.sleep(0.02))
"""


def open_synthetic(
    path: pathlib.Path, algorithm: str = "layernas", **options: object
) -> Study:
    make = functools.partial(make_algorithm, algorithm, _SPACE, _BUDGETS, 3, **options)
    return open_study(sqlite_url(path), "test", _SPACE, _BUDGETS, make)


def reward(candidate: Candidate) -> Evaluation:
    return Evaluation(_TABLE.query(candidate.architecture).valid, {"twice": 2.0})


def run(study: Study, trials: int, pause=lambda: None) -> None:
    """The search's loop with one worker."""
    executor = InProcess(reward)
    while study.pending or len(study.trials) < trials:
        candidate = study.ask()
        if candidate is None:
            break
        executor.submit(candidate)
        pause()
        for outcome in executor.wait():
            study.tell(outcome)
        pause()


def temporary_folder(test: absltest.TestCase) -> pathlib.Path:
    # In memory where there is such a folder: a commit then takes no disk's time.
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = tempfile.TemporaryDirectory(dir=folder)
    return pathlib.Path(test.enter_context(made))


def state(algorithm) -> dict:
    """Everything that an algorithm remembers, comparable."""
    remembered = {**vars(algorithm), **vars(algorithm.history)}
    if "table" in remembered:
        remembered.update(vars(remembered.pop("table")))
    names = ("queue", "waiting", "expanded", "depth", "rewards", "pending", "kept")
    return {
        name: value for name, value in remembered.items() if name.lstrip("_") in names
    }


class StudyTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.path = temporary_folder(self) / "study {a}%.db"

    @parameterized.parameters("layernas", "layernas_layerwise", "random")
    def test_resumed_search_goes_on_like_an_uninterrupted_one(self, algorithm):
        whole = open_synthetic(self.path.with_name("whole.db"), algorithm)
        run(whole, 14)
        for trials in (5, 6, 14):
            study = open_synthetic(self.path, algorithm)
            run(study, trials)
            self.assertTrue(study.exact)

        self.assertEqual(
            [(t.architecture, t.reward, t.layer) for t in study.trials],
            [(t.architecture, t.reward, t.layer) for t in whole.trials],
        )
        self.assertEqual(state(study.algorithm), state(whole.algorithm))

    @parameterized.parameters(0, 1)
    def test_replay_of_parallel_trials_gives_the_live_state(self, seed):
        rng = random.Random(seed)
        live = open_synthetic(self.path)
        running = []
        for _ in range(60):
            if running and (rng.random() < 0.5 or len(running) == 6):
                candidate = running.pop(rng.randrange(len(running)))
                failed = rng.random() < 0.1
                evaluator = (lambda c: 1 / 0) if failed else reward
                live.tell(evaluate(evaluator, candidate))
            else:
                candidate = live.ask()
                if candidate is not None:
                    running.append(candidate)
        again = open_synthetic(self.path)

        self.assertTrue(again.exact)
        self.assertEqual(state(again.algorithm), state(live.algorithm))
        self.assertEqual(again.trials, live.trials)
        self.assertCountEqual(again.pending, running)

    def test_running_trial_is_asked_again_under_its_number(self):
        study = open_synthetic(self.path)
        run(study, 4)
        lost = study.ask()
        again = open_synthetic(self.path)

        self.assertEqual(again.ask(), lost)
        self.assertLen(again.trials, 5)
        again.tell(evaluate(reward, lost))
        self.assertEqual(again.trials[4].state, "complete")
        self.assertEqual(again.ask().number, 5)

    def test_best_trial_of_optuna_is_inside_the_budget(self):
        # The paper's base leaves the budget on its way.
        run(open_synthetic(self.path, base="default", children=8), 25)
        study = optuna.load_study(storage=sqlite_url(self.path), study_name="test")
        best = study.best_trial

        architecture = from_params(_SPACE, best.params)
        costs = _SPACE.costs(architecture)
        self.assertTrue(inside(_BUDGETS, costs))
        self.assertEqual(best.user_attrs["cost"], costs["cost"])
        self.assertEqual(best.user_attrs["result"]["metrics"], {"twice": 2.0})
        self.assertEqual(best.value, _TABLE.query(architecture).valid)
        self.assertGreater(max(trial.constraints["cost"] for trial in study.trials), 0)

    def test_failed_trial_keeps_its_reason(self):
        def broken(candidate):
            raise ValueError("no\nmemory")

        study = open_synthetic(self.path)
        study.tell(evaluate(broken, study.ask()))
        study.tell(evaluate(lambda c: Evaluation(float("nan")), study.ask()))
        again = open_synthetic(self.path)

        self.assertEqual(again.trials, study.trials)
        self.assertEqual([t.state for t in again.trials], ["failed", "failed"])
        self.assertEqual(again.trials[0].reason, "ValueError: no memory")
        self.assertEqual(again.trials[1].reason, "the reward is nan")

    def test_trials_of_another_version_are_learned_from_all_the_same(self):
        run(open_synthetic(self.path, "random"), 6)
        study = open_synthetic(self.path, "layernas")

        self.assertFalse(study.exact)
        self.assertLen(study.algorithm.history.rewards, 6)
        run(study, 10)
        tried = [trial.architecture for trial in study.trials]
        self.assertLen(set(tried), 10)

    def test_params_are_the_labels_of_the_options(self):
        space = burger()
        params = to_params(space, (1, 0, 2))

        self.assertEqual(list(params), ["patty", "topping", "bun"])
        self.assertEqual(params["bun"], space.layers[2].options[2].label)
        self.assertEqual(from_params(space, params), (1, 0, 2))

    def test_options_of_equal_labels_stay_apart(self):
        layer = _SPACE.layers[0]
        same = dataclasses.replace(layer, options=(layer.options[0],) * 3, default=2)
        space = dataclasses.replace(_SPACE, layers=(same,))

        for index in range(3):
            params = to_params(space, (index,))
            self.assertEqual(from_params(space, params), (index,))

    def test_study_of_another_space_is_refused(self):
        run(open_synthetic(self.path), 2)
        make = functools.partial(make_algorithm, "random", burger(), ())
        with self.assertRaisesRegex(UserError, "no layer 'patty'.*space 'burger'"):
            open_study(sqlite_url(self.path), "test", burger(), (), make)

    def test_the_objective_has_a_name_and_one_of_before_gets_it(self):
        url = sqlite_url(self.path)
        optuna.create_study(storage=url, study_name="test", direction="maximize")
        open_synthetic(self.path)
        study = optuna.load_study(storage=url, study_name="test")
        self.assertEqual(study.metric_names, ["validation accuracy"])
        make = functools.partial(make_algorithm, "random", _SPACE, _BUDGETS)
        for name, objective in (("test", "validation accuracy"), ("own", "reward")):
            open_study(url, name, _SPACE, _BUDGETS, make, objective="reward")
            study = optuna.load_study(storage=url, study_name=name)
            self.assertEqual(study.metric_names, [objective])

    def test_corrupt_file_is_refused(self):
        self.path.write_bytes(b"this is not a database" * 100)
        with self.assertRaisesRegex(UserError, r"study \{a\}%.db' is corrupt"):
            open_synthetic(self.path)

    def test_damaged_pages_are_refused(self):
        run(open_synthetic(self.path), 30)
        content = bytearray(self.path.read_bytes())
        content[4096 : len(content) // 2] = b"\xff" * (len(content) // 2 - 4096)
        self.path.write_bytes(content)
        with self.assertRaisesRegex(UserError, "corrupt"):
            open_synthetic(self.path)

    def test_full_disk_is_reported_and_the_study_resumes(self):
        study = open_synthetic(self.path, "random")
        run(study, 3)
        # What SQLite says when the disk is full, from a limit on the file's pages.
        with study._storage.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        with self.assertRaisesRegex(UserError, "the disk is full"):
            run(study, 100)
        again = open_synthetic(self.path, "random")

        self.assertTrue(again.exact)
        self.assertGreaterEqual(len(again.trials), 3)
        run(again, len(again.trials) + 2)

    def test_unreachable_storage_is_reported(self):
        missing = self.path.parent / "no" / "such" / "study.db"
        with self.assertRaisesRegex(UserError, "cannot be opened"):
            open_synthetic(missing)


class TrialsCsvTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = temporary_folder(self)
        self.study = open_synthetic(folder / "study.db")
        self.path = folder / "trials.csv"
        self.file = TrialsCsv(self.path, _SPACE, _BUDGETS)

    def rows(self):
        with open(self.path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def test_grows_by_a_line_per_trial_to_what_rewriting_gives(self):
        self.file.rewrite(self.study.trials)
        for _ in range(5):
            outcome = evaluate(reward, self.study.ask())
            self.file.append(self.study.tell(outcome))
        grown = self.path.read_text(encoding="utf-8")
        self.study.ask()
        self.file.rewrite(self.study.trials)

        self.assertEqual(self.path.read_text(encoding="utf-8"), grown)
        rows = self.rows()
        self.assertLen(rows, 5)
        for row, trial in zip(rows, self.study.trials):
            self.assertEqual(int(row["number"]), trial.number)
            self.assertEqual(float(row["reward"]), trial.reward)
            self.assertEqual(float(row["cost"]), trial.costs["cost"])
            self.assertEqual(
                tuple(map(int, row["architecture"].split())), trial.architecture
            )
            self.assertEqual(row["inside"], str(int(trial.costs["cost"] <= 18)))

    def test_reason_with_commas_and_quotes_stays_one_cell(self):
        self.file.rewrite([])
        candidate = self.study.ask()
        reason = 'OOM: "a", b'
        self.file.append(self.study.tell(Outcome(candidate, None, 0.5, reason)))

        self.assertEqual(self.rows()[0]["reason"], reason)
        self.assertEqual(self.rows()[0]["reward"], "")
        self.assertEqual(self.rows()[0]["state"], "failed")

    def test_file_that_was_removed_gets_its_header_again(self):
        self.file.rewrite([])
        self.path.unlink()
        self.file.append(self.study.tell(evaluate(reward, self.study.ask())))

        self.assertEqual(self.rows()[0]["number"], "0")


class KillTest(absltest.TestCase):
    def test_killed_at_random_moments_ends_like_an_uninterrupted_search(self):
        folder = temporary_folder(self)
        whole = open_synthetic(folder / "whole.db")
        run(whole, 15)
        root = pathlib.Path(__file__).resolve().parent.parent
        environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'tests'}"}
        path = folder / "study.db"
        rng = random.Random(0)
        kills = 0
        for _ in range(40):
            process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, str(path)], env=environment, cwd=root
            )
            # The kill comes a random time after the process has begun to write.
            size = path.stat().st_mtime_ns if path.exists() else 0
            while process.poll() is None and (
                not path.exists() or path.stat().st_mtime_ns == size
            ):
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.3))
            if process.poll() is not None:
                break
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
        self.assertEqual(process.wait(), 0)
        self.assertGreater(kills, 1)
        study = open_synthetic(path)

        self.assertTrue(study.exact)
        self.assertEqual(
            [(t.number, t.architecture, t.reward, t.state) for t in study.trials],
            [(t.number, t.architecture, t.reward, t.state) for t in whole.trials],
        )
        self.assertEqual(state(study.algorithm), state(whole.algorithm))


if __name__ == "__main__":
    absltest.main()
