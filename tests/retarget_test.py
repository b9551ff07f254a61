"""A finished search for another budget: what of it holds, and what may be new."""

from __future__ import annotations

import json
import pathlib
import tempfile

from absl.testing import absltest, parameterized

import layernas_tf
from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.retarget import retargeted

_COST = """
from layernas_tf.costs.cost import Cost
from layernas_tf.space.types import Metric

twice = Cost(Metric("twice", "sum", "x"), lambda step: 2.0 * step.costs["price"])
"""


def reward(candidate) -> float:
    return float(sum(candidate.architecture))


def search(workdir: pathlib.Path, **options):
    return layernas_tf.run_search(
        evaluator=options.pop("evaluator", reward),
        workdir=workdir,
        verbose=0,
        **options,
    )


class RetargetTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.source = self.folder / "source"
        search(
            self.source,
            space="burger",
            budget="price<=60%",
            algorithm="random",
            trials=5,
        )

    def again(self, **options):
        return search(self.folder / "new", retarget_from=self.source, **options)

    @parameterized.parameters(
        (
            {"space": "mobilenet_v2"},
            "`space`=mobilenet_v2: the search in .* had burger",
        ),
        ({"algorithm": "layernas"}, "`algorithm`=layernas: .* had random"),
        ({"train": "digits"}, "`dataset`=digits: the search in "),
    )
    def test_what_would_be_another_search_is_refused(self, options, pattern):
        with self.assertRaisesRegex(UserError, pattern):
            self.again(budget="price<=50%", **options)

    def test_what_is_the_same_may_be_given(self):
        again = self.again(budget="price<=50%", space="burger", algorithm="random")
        self.assertLen(again.trials, 5)

    def test_a_larger_number_of_trials_searches_on(self):
        self.assertLen(self.again(budget="price<=50%", trials=9).trials, 9)

    def test_without_a_budget_that_of_the_search_holds(self):
        cost = self.folder / "cost.py"
        cost.write_text(_COST)
        self.again(cost=f"{cost}:twice")
        config = json.loads((self.folder / "new" / "config.json").read_text())
        self.assertEqual(config["budget"], ["price<=60%"])

    def test_trials_that_had_not_finished_are_not_searched_for(self):
        interrupted = self.folder / "interrupted"

        def stop(candidate):
            if candidate.number == 3:
                raise KeyboardInterrupt
            return reward(candidate)

        asked = {"space": "burger", "budget": "price<=60%", "trials": 9}
        with self.assertRaises(KeyboardInterrupt):
            search(interrupted, evaluator=stop, **asked)

        def unwanted(candidate):
            raise AssertionError("a retargeted search evaluates no candidate")

        again = search(
            self.folder / "new",
            evaluator=unwanted,
            retarget_from=interrupted,
            budget="price<=50%",
        )
        self.assertLen(again.trials, 3)

    def test_the_same_resolution_as_a_text_is_the_same(self):
        path = self.source / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "resolution": 32}))
        given = {"retarget_from": str(self.source), "budget": ("price<=50%",)}
        config = retargeted({**given, "resolution": "32"})
        self.assertEqual(config.resolution, 32)
        with self.assertRaisesRegex(UserError, "`resolution`=48: .* had 32"):
            retargeted({**given, "resolution": "48"})


if __name__ == "__main__":
    absltest.main()
