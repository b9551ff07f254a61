"""BANANAS: what is proposed, and that the predictor is worth its name."""

from __future__ import annotations

import numpy as np
from absl.testing import absltest

from layernas_tf.algorithms.bananas import Bananas
from layernas_tf.algorithms.registry import make_algorithm
from layernas_tf.space.budget import inside, parse_budget
from layernas_tf.space.candidate import Candidate
from search_spaces.registry import get_space
from search_spaces.tabular.synthetic import synthetic


def _play(algorithm, table, trials):
    asked = []
    for _ in range(trials):
        candidate = algorithm.ask()
        algorithm.tell(candidate, table.query(candidate.architecture).valid)
        asked.append(candidate.architecture)
    return asked


def _distance(first, second):
    return sum(a != b for a, b in zip(first, second))


class BananasTest(absltest.TestCase):
    def test_after_the_start_proposals_are_near_the_best_and_inside(self):
        table = synthetic(8, 5, 80, interaction=0.2, seed=3)
        budgets = [parse_budget("cost<=50%", table.space)]
        search = Bananas(table.space, budgets, seed=1, parents=5)
        asked = _play(search, table, 60)
        values = [table.query(a).valid for a in asked]
        for number in range(10, 60):
            known = number - number % 10
            best = sorted(range(known), key=lambda i: -values[i])[:5]
            near = min(_distance(asked[number], asked[i]) for i in best)
            self.assertBetween(near, 1, 2)
            self.assertTrue(inside(budgets, table.space.costs(asked[number])))

    def test_beats_random_search_on_a_table_with_pairs(self):
        found = {"bananas": [], "random": []}
        for seed in range(4):
            table = synthetic(10, 6, 100, interaction=0.3, seed=seed)
            budgets = [parse_budget("cost<=50%", table.space)]
            for name, rewards in found.items():
                search = make_algorithm(name, table.space, budgets, seed)
                _play(search, table, 120)
                rewards.append(search.best.reward)
        self.assertGreater(
            np.mean(found["bananas"]) - np.mean(found["random"]),
            0.5 * np.std(found["random"]),
        )

    def test_failed_trials_teach_nothing(self):
        table = synthetic(4, 4, 20)
        search = Bananas(table.space, [], seed=0)
        for number in range(30):
            candidate = search.ask()
            failed = number % 2
            value = None if failed else table.query(candidate.architecture).valid
            search.tell(candidate, value)
        self.assertIsNotNone(search.ask())

    def test_layers_of_words_numbers_and_missing_attributes(self):
        for space in (get_space("burger"), get_space("mobilenet_v3_small", classes=2)):
            search = Bananas(space, [], seed=0)
            for number in range(25):
                candidate = search.ask()
                self.assertIsInstance(candidate, Candidate)
                search.tell(candidate, float(np.sum(candidate.architecture)) + number)


if __name__ == "__main__":
    absltest.main()
