"""Replay: the algorithm's state from trials, without computing all asks again."""

from __future__ import annotations

import dataclasses
import random
from unittest import mock

import numpy as np
from absl.testing import absltest

from layernas_tf.algorithms.layernas_bayes import LayerNASBayes
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.space.budget import parse_budget
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.study import replay as replays
from layernas_tf.study.replay import Replay
from layernas_tf.study.trial import Trial
from search_spaces.tabular.synthetic import synthetic

_TABLE = synthetic(layers=4, options=3, buckets=30)
_SPACE = _TABLE.space
_BUDGETS = (parse_budget("cost<=60%", _SPACE),)


def make_bayes() -> LayerNASBayes:
    return make_algorithm("layernas_bayes", _SPACE, _BUDGETS, 3)


def live(seed: int, events: int) -> tuple[Replay, list[Trial]]:
    """A search with up to four trials at once, some of which fail, and its trials."""
    rng = random.Random(seed)
    search, trials, running = Replay(make_bayes), [], []
    for _ in range(events):
        if running and (len(running) == 4 or rng.random() < 0.5):
            place = running.pop(rng.randrange(len(running)))
            failed = rng.random() < 0.1
            reward = _TABLE.query(trials[place].architecture).valid
            trials[place] = dataclasses.replace(
                trials[place],
                state="failed" if failed else "complete",
                told=search.told,
                reward=None if failed else reward,
            )
            search.tell(trials[place])
            continue
        candidate = search.ask(len(trials))
        if candidate is not None:
            running.append(len(trials))
            trials.append(
                Trial(
                    number=candidate.number,
                    architecture=candidate.architecture,
                    costs=_SPACE.costs(candidate.architecture),
                    asked_after=search.told,
                    idle_after=tuple(search.idle),
                )
            )
            search.idle = []
    return search, trials


def follow(trials: list[Trial]) -> Replay:
    replay = Replay(make_bayes)
    replay.follow(trials, trials, [t for t in trials if t.told is not None])
    return replay


class RecallTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.enter_context(mock.patch.object(replays, "FIRST_CHECKED", 3))
        self.enter_context(mock.patch.object(replays, "CHECKED_EVERY", 10))
        ask = LayerNASBayes.ask
        self.asks = self.enter_context(
            mock.patch.object(LayerNASBayes, "ask", autospec=True, side_effect=ask)
        )

    def test_known_asks_give_the_live_state(self):
        for seed in range(4):
            search, trials = live(seed, 60)
            self.asks.reset_mock()
            again = follow(trials)

            self.assertTrue(again.exact)
            self.assertLessEqual(self.asks.call_count, 3 + len(trials) // 10 + 1)
            one, two = search.algorithm, again.algorithm
            self.assertEqual(one.history.rewards, two.history.rewards)
            self.assertEqual(one.history.pending, two.history.pending)
            self.assertEqual(one.history.asked, two.history.asked)
            self.assertEqual(one.best, two.best)
            np.testing.assert_array_equal(one.belief._gram, two.belief._gram)
            np.testing.assert_array_equal(one.belief._cross, two.belief._cross)
            np.testing.assert_array_equal(
                one.belief._prior.scale, two.belief._prior.scale
            )
            for number in range(len(trials), len(trials) + 3):
                self.assertEqual(search.ask(number), again.ask(number))

    def test_exhausted_space_is_known_to_be(self):
        search, trials = live(0, 400)
        self.assertNotEmpty(search.idle)
        again = follow(trials)

        self.assertTrue(again.exact)
        self.assertIsNone(again.ask(len(trials)))
        self.assertEqual(again.algorithm.finished, search.algorithm.finished)

    def test_trials_of_another_version_are_noticed(self):
        _, trials = live(0, 60)
        tried = {trial.architecture for trial in trials}
        rng = np.random.default_rng(0)
        inside = BudgetedChain(_SPACE.chain, _BUDGETS)
        while (untried := inside.sample(rng)) in tried:
            pass
        outside = tuple(len(layer.options) - 1 for layer in _SPACE.layers)
        for place, other in (
            (1, untried),  # among the first, which are computed
            (len(trials) - 1, untried),  # the last is as well
            (5, outside),
            (6, trials[4].architecture),
        ):
            changed = list(trials)
            changed[place] = dataclasses.replace(
                trials[place], architecture=other, costs=_SPACE.costs(other)
            )
            self.assertFalse(follow(changed).exact)


if __name__ == "__main__":
    absltest.main()
