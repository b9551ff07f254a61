"""What `run_search` is given as an object serves the search as a text would."""

from __future__ import annotations

import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

import layernas_tf
from layernas_tf.algorithms.random_search import RandomSearch
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget

_EXAMPLES = pathlib.Path(__file__).resolve().parent.parent / "examples"


class GivenObjectsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

    def search(self, **options):
        given = {
            "space": "burger",
            "budget": "price<=60%",
            "evaluator": lambda candidate: float(sum(candidate.architecture)),
            "trials": 3,
            "workdir": self.folder / "w",
            "verbose": 0,
        }
        return layernas_tf.run_search(**{**given, **options})

    def test_an_algorithm_proposes_what_another_process_trains(self):
        result = self.search(
            train="digits",
            evaluator=None,
            space=f"{_EXAMPLES}/my_space.py:tiny",
            budget="madds<=60%",
            algorithm=RandomSearch,
            trials=2,
            trials_per_process=2,
            limit=100,
            epochs=1,
            final_epochs=1,
            finalists=1,
            final_seeds=1,
            baseline="none",
            formats="float32",
        )
        states = [trial.state for trial in result._finished.study.trials]
        self.assertEqual(states, ["complete", "complete"])

    def test_a_budget_on_an_unknown_cost_is_one_line(self):
        with self.assertRaisesRegex(
            UserError, "space 'burger' has no cost 'pricee': expected one of price"
        ):
            self.search(budget=Budget("pricee", 0, 10))

    def test_numbers_of_numpy_and_paths_are_kept_as_plain_values(self):
        result = self.search(trials=np.int64(4), seed=np.int32(2))
        self.assertLen(result.trials, 4)
        config = json.loads((self.folder / "w" / "config.json").read_text())
        self.assertEqual((config["trials"], config["seed"]), (4, 2))
        again = self.search(
            budget="price<=50%",
            trials=None,
            workdir=self.folder / "new",
            retarget_from=self.folder / "w",
        )
        self.assertLen(again.trials, 4)

    @parameterized.parameters({"fit": object()}, {"seed": "x"}, {"valid_fraction": []})
    def test_other_types_are_one_line(self, **options):
        with self.assertRaisesRegex(UserError, "wrong type|expected one of"):
            self.search(**options)


if __name__ == "__main__":
    absltest.main()
