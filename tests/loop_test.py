"""The search's loop: stops, failures, what it shows, and executors of many places."""

from __future__ import annotations

import functools
import io
import pathlib
import random
import tempfile

from absl.testing import absltest, parameterized
from rich.console import Console

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import Evaluation
from layernas_tf.pipeline.loop import search
from layernas_tf.pipeline.progress import TimeLeft
from layernas_tf.pipeline.trials_csv import TrialsCsv
from layernas_tf.space.budget import inside, parse_budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.study.open_storage import sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.workers.executor import InProcess, Outcome, evaluate
from search_spaces.tabular.burger import burger, burger_table
from search_spaces.tabular.synthetic import synthetic

_TABLE = synthetic(layers=5, options=4, buckets=30)


def reward(candidate: Candidate) -> Evaluation:
    return Evaluation(_TABLE.query(candidate.architecture).valid)


class Shuffled:
    """Evaluates with several places, in this process, and hands back in any order."""

    def __init__(self, evaluator, places: int):
        self._evaluator = evaluator
        self._places = places
        self._random = random.Random(0)
        self._submitted: list[Candidate] = []
        self.most = 0

    @property
    def free(self) -> int:
        return self._places - len(self._submitted)

    @property
    def running(self) -> int:
        return len(self._submitted)

    def submit(self, candidate: Candidate) -> None:
        self._submitted.append(candidate)
        self.most = max(self.most, len(self._submitted))

    def wait(self) -> list[Outcome]:
        self._random.shuffle(self._submitted)
        done = self._random.randint(1, len(self._submitted))
        outcomes = [evaluate(self._evaluator, c) for c in self._submitted[:done]]
        del self._submitted[:done]
        return outcomes

    def close(self) -> None:
        self._submitted.clear()


class LoopTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.output = io.StringIO()

    def search(
        self,
        evaluator,
        trials,
        *,
        executor=None,
        algorithm="random",
        table=_TABLE,
        terminal=False,
    ):
        space = table.space
        budgets = (parse_budget(f"{table.metric}<=70%", space),)
        make = functools.partial(make_algorithm, algorithm, space, budgets, 0)
        study = open_study(
            sqlite_url(self.folder / "study.db"), "test", space, budgets, make
        )
        search(
            study,
            executor or InProcess(evaluator),
            trials,
            TrialsCsv(self.folder / "trials.csv", space, budgets),
            self.folder / "tensorboard",
            Console(file=self.output, width=200, force_terminal=terminal),
        )
        return study

    def test_stops_after_the_trials_and_logs_each(self):
        study = self.search(reward, 7)

        self.assertLen(study.trials, 7)
        lines = (self.folder / "trials.csv").read_text().splitlines()
        self.assertLen(lines, 8)
        logs = list((self.folder / "tensorboard").glob("trial_*"))
        self.assertLen(logs, 7)
        best = max(trial.reward for trial in study.trials)
        last = self.output.getvalue().splitlines()[-1]
        self.assertIn(f"best {best:.4f}", last)
        self.assertIn("7/7", last)

    def test_terminal_shows_a_bar_that_counts_earlier_trials(self):
        self.search(reward, 3)
        self.output.truncate(0)
        study = self.search(reward, 5, terminal=True)

        shown = self.output.getvalue()
        best = max(trial.reward for trial in study.trials)
        self.assertIn("3/5", shown)
        self.assertIn("5/5", shown)
        self.assertIn(f"best {best:.4f}", shown)
        self.assertIn("\r", shown)

    def test_more_trials_continue_a_finished_search(self):
        self.search(reward, 4)
        study = self.search(reward, 9)

        self.assertLen(study.trials, 9)
        self.assertLen({trial.architecture for trial in study.trials}, 9)
        self.assertLen((self.folder / "trials.csv").read_text().splitlines(), 10)

    def test_ends_when_everything_was_tried(self):
        table = burger_table()
        study = self.search(
            lambda c: Evaluation(table.query(c.architecture).valid), 500, table=table
        )
        count = sum(
            inside(study.budgets, burger().costs((a, b, c)))
            for a in range(4)
            for b in range(4)
            for c in range(4)
        )

        self.assertLen(study.trials, count)

    @parameterized.parameters("layernas", "layernas_bayes", "random")
    def test_many_places_try_no_architecture_twice_and_resume(self, algorithm):
        executor = Shuffled(reward, 5)
        study = self.search(reward, 30, executor=executor, algorithm=algorithm)
        again = self.search(reward, 30, algorithm=algorithm)

        self.assertEqual(executor.most, 5)
        tried = [trial.architecture for trial in study.trials]
        self.assertLen(set(tried), len(tried))
        self.assertTrue(again.exact)
        self.assertEqual(again.trials, study.trials)

    def test_first_trials_all_failing_end_it_with_the_reason(self):
        def fails(candidate):
            raise MemoryError("no memory left" if candidate.number else "none at all")

        with self.assertRaisesRegex(
            UserError, "5 of 5 trials failed, 4 of them with: MemoryError: no memory"
        ):
            self.search(fails, 50)
        self.assertLen((self.folder / "trials.csv").read_text().splitlines(), 6)

    def test_most_trials_failing_end_it(self):
        def mostly_fails(candidate):
            if candidate.number % 3:
                raise ValueError("unlucky")
            return reward(candidate)

        with self.assertRaisesRegex(
            UserError, "6 of 10 trials failed.*unlucky; .*when this is fixed"
        ):
            self.search(mostly_fails, 50)

    def test_search_goes_on_after_what_failed_was_fixed(self):
        with self.assertRaises(UserError):
            self.search(lambda candidate: 1 / 0, 50)
        study = self.search(reward, 12)

        states = [trial.state for trial in study.trials]
        self.assertEqual(states, ["failed"] * 5 + ["complete"] * 7)

    def test_a_few_failures_do_not_end_it(self):
        def sometimes_fails(candidate):
            if candidate.number % 4 == 1:
                raise ValueError("unlucky")
            return reward(candidate)

        study = self.search(sometimes_fails, 20)

        failed = [trial for trial in study.trials if trial.state == "failed"]
        self.assertLen(failed, 5)
        self.assertLen(study.trials, 20)

    def test_interrupted_trial_is_tried_again(self):
        def interrupted(candidate):
            if candidate.number == 3:
                raise KeyboardInterrupt
            return reward(candidate)

        with self.assertRaises(KeyboardInterrupt):
            self.search(interrupted, 6)
        study = self.search(reward, 6)

        self.assertEqual([trial.state for trial in study.trials], ["complete"] * 6)


class TimeLeftTest(absltest.TestCase):
    def test_follows_the_latest_pace(self):
        now = [0.0]
        left = TimeLeft(lambda: now[0])
        self.assertEqual(left.text(5), "?")
        for seconds in [100.0] * 3 + [2.0] * 10:
            now[0] += seconds
            left.step()

        self.assertEqual(left.text(5), "10 s")
        self.assertEqual(left.text(60), "2 min 0 s")


if __name__ == "__main__":
    absltest.main()
