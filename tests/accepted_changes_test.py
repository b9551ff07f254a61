"""A change of the search that was accepted: what was made before is set aside once."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
from unittest import mock

from absl.testing import absltest

import layernas_tf
from layernas_tf.pipeline import fresh_start
from layernas_tf.pipeline.notes import notes_about
from layernas_tf.pipeline.results import report_trials
from layernas_tf.report import NO_LONGER, ReportData, report_html
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer
from layernas_tf.study.study import NOT_BELIEVED
from layernas_tf.study.trial import Trial
from search_spaces.tabular.burger import burger


def at_double_cost() -> SearchSpace:
    """The burgers, whose first layer costs twice as much."""
    space = burger()
    first = space.layers[0]

    def transition(state, option):
        after, costs = first.transition(state, option)
        return after, {name: 2 * cost for name, cost in costs.items()}

    layer: Layer = dataclasses.replace(first, transition=transition)
    return dataclasses.replace(space, layers=(layer, *space.layers[1:]))


class SetAsideTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

    def search(self, name: str, space: SearchSpace, **options):
        return layernas_tf.run_search(
            space=space,
            budget="price<=60%",
            evaluator=lambda candidate: float(sum(candidate.architecture)),
            algorithm="random",
            workdir=self.folder / name,
            verbose=0,
            **{"trials": 3, **options},
        )

    def aside(self, name: str) -> list[str]:
        return sorted(path.name for path in (self.folder / name).glob("before_*"))

    def test_another_driver_sets_aside_what_it_made_before_the_change(self):
        shared = {"storage": f"sqlite:///{self.folder}/shared.db", "study": "one"}
        self.search("a", burger(), **shared)
        self.search("b", burger(), **shared)
        other = at_double_cost()
        self.search("a", other, accept_changes=True, trials=5, **shared)
        self.assertEqual(self.aside("a"), ["before_1"])

        self.search("b", other, trials=5, **shared)
        self.assertEqual(self.aside("b"), ["before_1"])
        self.search("b", other, trials=6, **shared)
        self.assertEqual(self.aside("b"), ["before_1"])

    def test_who_was_killed_before_setting_aside_does_it_afterwards(self):
        self.search("a", burger())
        other = at_double_cost()
        killed = mock.patch.object(
            fresh_start, "set_aside", side_effect=KeyboardInterrupt
        )
        with killed, self.assertRaises(KeyboardInterrupt):
            self.search("a", other, accept_changes=True, trials=5)
        self.assertEqual(self.aside("a"), [])

        self.search("a", other, trials=5)
        self.assertEqual(self.aside("a"), ["before_1"])

    def test_a_workdir_of_an_earlier_version_goes_on(self):
        self.search("a", burger())
        note = self.folder / "a" / "fingerprint.json"
        note.unlink()
        self.search("a", burger(), trials=4)
        self.assertEqual(self.aside("a"), [])
        self.assertTrue(note.exists())


class CountTest(absltest.TestCase):
    def test_trials_that_are_no_longer_believed_are_no_failures(self):
        space = burger()
        costs = space.costs((0, 0, 0))
        trials = [
            Trial(0, (0, 0, 0), costs, state="failed", reason=NOT_BELIEVED),
            Trial(1, (0, 0, 1), costs, state="failed", reason=NOT_BELIEVED),
            Trial(2, (0, 1, 0), costs, state="failed", reason="out of memory"),
            Trial(3, (1, 0, 0), costs, state="complete", reward=0.5),
        ]
        study = mock.Mock(trials=trials, exact=True)
        finals = mock.Mock(baseline=None, winner_trainings=())
        notes = notes_about(study, finals)
        self.assertIn("1 of 4 trials failed.", notes)
        self.assertIn(
            "2 of 4 trials were evaluated before an accepted change", notes[0]
        )

        shown = report_trials(trials)
        self.assertEqual([t.state for t in shown].count(NO_LONGER), 2)
        page = report_html(ReportData(space, (), shown))
        self.assertIn("1 failed, 2 before a change, not believed", page)
        self.assertIn("1 failed trial (25.0 %)", page)
        self.assertIn("On record, but not believed: 2 trials", page)
        self.assertNotIn(NOT_BELIEVED, page)


if __name__ == "__main__":
    absltest.main()
