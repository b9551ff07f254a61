"""Several drivers on one study, in SQLite and in a real PostgreSQL."""

from __future__ import annotations

import contextlib
import functools
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent import futures
from unittest import mock

from absl.testing import absltest

from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.evaluators.base import Evaluation
from layernas_tf.space.budget import parse_budget
from layernas_tf.space.candidate import Candidate
from layernas_tf.study import study as studies
from layernas_tf.study.open_storage import sqlite_url
from layernas_tf.study.open_study import open_study
from layernas_tf.study.study import Study
from layernas_tf.workers.executor import evaluate
from search_spaces.tabular.synthetic import synthetic
from tests.postgres_server import postgres, programs

_TABLE = synthetic(layers=5, options=4, buckets=30)
_SPACE = _TABLE.space
_BUDGETS = (parse_budget("cost<=60%", _SPACE),)
_ROOT = pathlib.Path(__file__).resolve().parent.parent

# A driver that says what it trains, and when it is done.
_DRIVER = """
import sys, time
from tests.shared_study_test import open_driver, reward
from layernas_tf.workers.executor import evaluate
study = open_driver(sys.argv[1], sys.argv[2])
while True:
    candidate = study.ask(24)
    if candidate is None:
        if not study.others_running:
            break
        time.sleep(0.02)
        continue
    time.sleep(0.03)
    study.tell(evaluate(reward, candidate))
    print(candidate.number, flush=True)
"""


def open_driver(url: str, driver: str, algorithm: str = "layernas", **changes) -> Study:
    make = functools.partial(make_algorithm, algorithm, _SPACE, _BUDGETS, 3)
    settings = {"seed": 3, **changes}
    return open_study(
        url, "test", _SPACE, _BUDGETS, make, driver=driver, settings=settings
    )


def reward(candidate: Candidate) -> Evaluation:
    return Evaluation(_TABLE.query(candidate.architecture).valid)


def key(study: Study) -> list:
    return [(t.number, t.architecture, t.state, t.reward, t.told) for t in study.trials]


class SharedStudyTests:
    """Laws of a shared study, whatever the database."""

    url: str

    def test_drivers_see_what_others_try_and_found(self):
        one = open_driver(self.url, "one")
        two = open_driver(self.url, "two")
        first = one.ask()
        second = two.ask()

        self.assertEqual((first.number, second.number), (0, 1))
        self.assertNotEqual(first.architecture, second.architecture)
        self.assertEqual(two.others_running, 1)
        one.tell(evaluate(reward, first))
        third = two.ask()
        self.assertEqual(third.number, 2)
        self.assertEqual(two.trials[0].reward, reward(first).reward)
        self.assertEqual([trial.number for trial in two.news()], [0])
        self.assertEqual(two.news(), [])

    def test_drivers_that_start_at_once_make_one_study(self):
        for _ in range(3):
            with self.database() as url, futures.ThreadPoolExecutor(6) as threads:
                start = threading.Barrier(6)

                def driver(number, url=url, start=start):
                    start.wait()
                    return open_driver(url, str(number), "random").ask()

                asked = list(threads.map(driver, range(6)))
                self.assertLen({candidate.architecture for candidate in asked}, 6)
                self.assertCountEqual([c.number for c in asked], range(6))

    def test_random_turns_give_every_driver_the_same_history(self):
        for algorithm in ("layernas", "random"):
            with self.subTest(algorithm), self.database() as url:
                self.check_random_turns(url, algorithm)

    def check_random_turns(self, url: str, algorithm: str):
        rng = random.Random(1)
        drivers = [open_driver(url, str(i), algorithm) for i in range(3)]
        running = []
        for _ in range(70):
            driver = rng.choice(drivers)
            if running and rng.random() < 0.5:
                owner, candidate = running.pop(rng.randrange(len(running)))
                owner.tell(evaluate(reward, candidate))
            else:
                candidate = driver.ask()
                if candidate is not None:
                    running.append((driver, candidate))
        for owner, candidate in running:
            owner.tell(evaluate(reward, candidate))
        for driver in drivers:
            driver.ask(0)
            self.assertTrue(driver.exact)
            self.assertEqual(key(driver), key(drivers[0]))
        tried = [trial.architecture for trial in drivers[0].trials]
        self.assertGreater(len(tried), 15)
        self.assertLen(set(tried), len(tried))
        late = open_driver(url, "late", algorithm)
        self.assertTrue(late.exact)
        self.assertEqual(key(late), key(drivers[0]))
        nexts = {driver.algorithm.ask(999) for driver in (*drivers, late)}
        self.assertLen({candidate and candidate.architecture for candidate in nexts}, 1)

    def test_trials_of_a_dead_driver_are_taken_over(self):
        dead = open_driver(self.url, "dead")
        lost = [dead.ask(), dead.ask()]
        other = open_driver(self.url, "other")
        self.assertEqual(other.pending, [])
        self.enter_context(mock.patch.object(studies, "STALE_SECONDS", -1.0))
        taken = [other.ask(), other.ask()]

        self.assertEqual(taken, lost)
        other.tell(evaluate(reward, taken[0]))
        # It was not dead after all: what it brings comes too late.
        self.assertIsNone(dead.tell(evaluate(reward, lost[0])))
        self.assertEqual(dead.trials[0].reward, reward(lost[0]).reward)

    def test_living_driver_keeps_its_trials(self):
        living = open_driver(self.url, "living")
        living.ask()
        other = open_driver(self.url, "other")
        self.enter_context(mock.patch.object(studies, "STALE_SECONDS", 3.0))
        for _ in range(4):
            time.sleep(1.2)
            living.beat()
        self.assertEqual(other.ask().number, 1)

    def test_driver_started_again_goes_on_with_its_own_at_once(self):
        lost = open_driver(self.url, "one").ask()
        open_driver(self.url, "two").ask()
        again = open_driver(self.url, "one")

        self.assertEqual(again.ask(), lost)
        self.assertEqual(again.ask().number, 2)

    def test_no_more_trials_than_asked_for(self):
        drivers = [open_driver(self.url, name, "random") for name in "ab"]
        asked = [driver.ask(5) for _ in range(4) for driver in drivers]

        self.assertLen([c for c in asked if c is not None], 5)

    def test_driver_of_another_search_is_refused(self):
        open_driver(self.url, "one")
        with self.assertRaisesRegex(
            UserError, "study 'test' is another search: `seed` is 3 there, 4 here"
        ):
            open_driver(self.url, "two", seed=4)

    def test_processes_at_once_and_one_killed(self):
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}

        def start(name):
            return subprocess.Popen(
                [sys.executable, "-c", _DRIVER, self.url, name],
                stdout=subprocess.PIPE,
                text=True,
                env=environment,
                cwd=_ROOT,
            )

        processes = [start("a"), start("b")]
        self.assertTrue(processes[0].stdout.readline())
        processes[0].send_signal(signal.SIGKILL)
        processes[0].communicate()
        processes[0] = start("a")
        for process in processes:
            process.communicate(timeout=300)
            self.assertEqual(process.returncode, 0)
        study = open_driver(self.url, "late")

        self.assertTrue(study.exact)
        self.assertEqual([t.state for t in study.trials], ["complete"] * 24)
        self.assertCountEqual([t.told for t in study.trials], range(24))
        self.assertLen({t.architecture for t in study.trials}, 24)


class SqliteTest(SharedStudyTests, absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.url = self.enter_context(self.database())

    @contextlib.contextmanager
    def database(self):
        with tempfile.TemporaryDirectory() as folder:
            yield sqlite_url(pathlib.Path(folder) / "shared.db")


@unittest.skipIf(
    programs() is None,
    "PostgreSQL is not installed (Debian: apt-get install postgresql): the shared "
    "study is tested on SQLite alone",
)
class PostgresTest(SharedStudyTests, absltest.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = cls.enterClassContext(postgres())
        cls.count = 0

    def setUp(self):
        super().setUp()
        self.url = self.enter_context(self.database())

    @contextlib.contextmanager
    def database(self):
        import sqlalchemy

        type(self).count += 1
        name = f"test{self.count}"
        engine = sqlalchemy.create_engine(self.server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        yield self.server.rpartition("/")[0] + f"/{name}"


if __name__ == "__main__":
    absltest.main()
