"""One suite for every algorithm: what drivers and studies rely on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from absl.testing import absltest

from layernas_tf.algorithms.base import Algorithm
from layernas_tf.algorithms.history import Answer
from layernas_tf.algorithms.registry import AlgorithmLike, make_algorithm
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, inside
from layernas_tf.space.candidate import Candidate
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture, Layer, Option
from layernas_tf.testing.chains import everything, random_space
from layernas_tf.testing.searches import Ask, Reward, Tell, rewards, run, task


class AlgorithmConformance(absltest.TestCase):
    """The tests that every algorithm must pass; inherit them and name the algorithm.

    For example:

    ```python
    from layernas_tf import testing


    class HillClimbTest(testing.AlgorithmConformance):
        algorithm = HillClimb


    if __name__ == "__main__":
        absltest.main()
    ```

    Attributes:
      algorithm: A subclass of `Algorithm`, a registered name, or
        `path/to/file.py:Class`.
      options: Options of the algorithm.
      stays_inside: Whether every proposal is inside the budgets. The answer always
        must be.
      exhausts: Whether a search goes on until every architecture inside the budgets
        is tried.
      steps: Asks in a test of a short search; fewer for a slow algorithm.
    """

    algorithm: ClassVar[AlgorithmLike | None] = None
    options: ClassVar[Mapping[str, Any]] = {}
    stays_inside: ClassVar[bool] = True
    exhausts: ClassVar[bool] = True
    steps: ClassVar[int] = 120

    def setUp(self) -> None:
        """Skips the tests of this class itself, which has no algorithm."""
        super().setUp()
        if self.algorithm is None:
            self.skipTest("inherit this class and set `algorithm`")

    def make(
        self, space: SearchSpace, budgets: Sequence[Budget], seed: int
    ) -> Algorithm:
        """Makes the algorithm under test in its initial state."""
        found = type(self).algorithm
        assert found is not None  # see setUp
        return make_algorithm(found, space, budgets, seed, **self.options)

    def assert_inside(
        self, space: SearchSpace, budgets: Sequence[Budget], architecture: Architecture
    ) -> None:
        """Fails if the architecture is outside the budgets."""
        costs = space.costs(architecture)
        self.assertTrue(inside(budgets, costs), f"{architecture} costs {costs}")

    def assert_answer(
        self,
        answer: Answer | None,
        reward: Reward,
        fitting: Sequence[float],
    ) -> None:
        """Fails if the answer's reward is not the one told, or not the highest.

        An algorithm that expects a quality answers with the highest of those instead.
        """
        assert answer is not None, "there is no answer"
        self.assertEqual(answer.reward, reward(answer.architecture))
        if answer.quality is None:
            self.assertEqual(answer.reward, max(fitting))

    def assert_proposals_inside(
        self, space: SearchSpace, budgets: Sequence[Budget], asked: Sequence[Candidate]
    ) -> None:
        """Fails if nothing was asked, or a proposal that must be inside is not."""
        self.assertNotEmpty(asked)
        if self.stays_inside:
            for candidate in asked:
                self.assert_inside(space, budgets, candidate.architecture)

    def test_never_proposes_what_was_told_or_is_pending(self) -> None:
        space, budgets = task()
        algorithm = self.make(space, budgets, 1)
        asked = run(algorithm, rewards(1, space), self.steps, workers=4).asked
        architectures = [candidate.architecture for candidate in asked]
        self.assertLen(set(architectures), len(architectures))
        self.assertGreater(len(architectures), self.steps // 3)

    def test_answers_inside_the_budget_with_the_reward_it_was_told(self) -> None:
        space, budgets = task()
        reward = rewards(2, space)
        algorithm = self.make(space, budgets, 2)
        self.assertIsNone(algorithm.best)
        asked = run(algorithm, reward, self.steps).asked
        answer = algorithm.best
        assert answer is not None, "there is no answer"
        self.assert_inside(space, budgets, answer.architecture)
        fitting = [
            reward(candidate.architecture)
            for candidate in asked
            if inside(budgets, space.costs(candidate.architecture))
        ]
        self.assert_answer(answer, reward, fitting)

    def test_keeps_a_narrow_budget(self) -> None:
        space, budgets = task(seed=5, share=0.15)
        algorithm = self.make(space, budgets, 3)
        asked = run(algorithm, rewards(3, space), self.steps).asked
        self.assert_proposals_inside(space, budgets, asked)

    def test_keeps_a_band_and_a_budget_on_a_maximum(self) -> None:
        space, _ = task()
        costs = space.chain.costs(everything(space))
        low, high = np.quantile(costs["madds"], (0.2, 0.6))
        peak = float(np.median(costs["peak_memory_bytes"]))
        budgets = [
            Budget("madds", float(low), float(high)),
            Budget("peak_memory_bytes", 0, peak),
        ]
        algorithm = self.make(space, budgets, 3)
        asked = run(algorithm, rewards(3, space), self.steps).asked
        self.assert_proposals_inside(space, budgets, asked)
        answer = algorithm.best
        assert answer is not None, "there is no answer"
        self.assert_inside(space, budgets, answer.architecture)

    def test_keeps_several_budgets_on_sums_at_every_moment(self) -> None:
        space = random_space(11, layers=5, options=4, fractions=True, third=True)
        costs = space.chain.costs(everything(space))
        for sums, band in ((2, False), (2, True), (3, False), (3, True)):
            budgets = []
            for metric in ("madds", "latency_ms", "params")[:sums]:
                low, high = np.quantile(costs[metric], (0.15, 0.6))
                low = float(low) if band and metric != "params" else 0.0
                budgets.append(Budget(metric, low, float(high)))
            peak = np.quantile(costs["peak_memory_bytes"], 0.8)
            budgets.append(Budget("peak_memory_bytes", 0, float(peak)))
            with self.subTest(sums=sums, band=band):
                algorithm = self.make(space, budgets, 3)
                reward = rewards(3, space)
                for _ in range(self.steps // 3):
                    candidate = algorithm.ask()
                    if candidate is None:
                        break
                    self.assert_proposals_inside(space, budgets, [candidate])
                    algorithm.tell(candidate, reward(candidate.architecture))
                    answer = algorithm.best  # a search may be ended at any moment
                    if answer is not None:
                        self.assert_inside(space, budgets, answer.architecture)
                self.assertIsNotNone(algorithm.best)

    def test_a_replayed_history_goes_on_as_the_live_run(self) -> None:
        space, budgets = task()
        reward = rewards(4, space)
        for workers in (1, 3):
            for steps in (self.steps // 7, self.steps // 7 * 4):
                with self.subTest(workers=workers, steps=steps):
                    live = self.make(space, budgets, 4)
                    before = run(live, reward, steps, workers=workers, failing=(5, 11))
                    again = self.make(space, budgets, 4)
                    self.replay(again, before.events)
                    self.assertEqual(again.best, live.best)
                    self.assert_go_on_alike(
                        again, live, reward, workers + len(before.pending)
                    )

    def test_recalled_proposals_give_the_same_state(self) -> None:
        space, budgets = task()
        reward = rewards(4, space)
        live = self.make(space, budgets, 4)
        if not live.pure_proposals:
            self.skipTest("the algorithm does not say that its proposals are pure")
        before = run(live, reward, self.steps // 2, workers=3, failing=(5, 11))
        again = self.make(space, budgets, 4)
        self.replay(again, before.events, recall=True)
        self.assertEqual(again.best, live.best)
        self.assert_go_on_alike(again, live, reward, 3 + len(before.pending))

    def test_takes_over_what_others_evaluated(self) -> None:
        space, budgets = task()
        reward = rewards(5, space)
        known = [tuple(map(int, row)) for row in everything(space)[::13]]
        algorithm = self.make(space, budgets, 5)
        for number, architecture in enumerate(known):
            algorithm.tell(Candidate(architecture, number), reward(architecture))
        fitting = [reward(a) for a in known if inside(budgets, space.costs(a))]
        self.assert_answer(algorithm.best, reward, fitting)
        asked = run(algorithm, reward, self.steps // 2).asked
        self.assertGreater(len(asked), self.steps // 6)
        self.assertEqual(asked[0].number, len(known))
        self.assertEmpty({c.architecture for c in asked} & set(known))

    def test_a_failed_trial_is_not_asked_again(self) -> None:
        space, budgets = task(layers=3, options=3)
        algorithm = self.make(space, budgets, 6)
        seen = run(algorithm, rewards(6, space), 200, failing=range(0, 200, 2))
        architectures = [candidate.architecture for candidate in seen.asked]
        self.assertLen(set(architectures), len(architectures))
        self.assertTrue(
            any(isinstance(e, Tell) and e.reward is None for e in seen.events)
        )
        self.assertTrue(algorithm.finished)

    def test_survives_when_every_trial_fails(self) -> None:
        space, budgets = task(layers=3, options=3)
        algorithm = self.make(space, budgets, 6)
        run(algorithm, rewards(6, space), 100, failing=range(100))
        self.assertTrue(algorithm.finished)
        self.assertIsNone(algorithm.best)

    def test_ends_by_itself_on_a_tiny_space_with_the_best(self) -> None:
        for workers in (1, 4):
            with self.subTest(workers=workers):
                space, budgets = task(layers=3, options=3, share=0.5)
                reward = rewards(7, space)
                algorithm = self.make(space, budgets, 7)
                self.assertFalse(algorithm.finished)
                pending = run(algorithm, reward, 300, workers=workers).pending
                self.assertEmpty(pending)
                self.assertTrue(algorithm.finished)
                self.assertIsNone(algorithm.ask())
                if self.exhausts:
                    fitting = [
                        reward(tuple(map(int, row)))
                        for row in everything(space)
                        if inside(budgets, space.costs(tuple(map(int, row))))
                    ]
                    luckiest = algorithm.history.best
                    assert luckiest is not None, "there is no answer"
                    self.assertEqual(luckiest.reward, max(fitting))
                    self.assert_answer(algorithm.best, reward, fitting)

    def test_the_same_seed_gives_the_same_search_and_another_another(self) -> None:
        space, budgets = task()
        reward = rewards(8, space)
        one, same, other = (
            run(self.make(space, budgets, seed), reward, self.steps // 2).asked
            for seed in (8, 8, 9)
        )
        self.assertEqual(one, same)
        self.assertNotEqual(one, other)

    def test_takes_layers_without_a_choice_and_no_budget(self) -> None:
        space = random_space(1, layers=3, options=4)
        fixed = Layer("stem", (Option.of(level=1),), 0, space.layers[0].transition)
        space = dataclasses.replace(space, layers=(fixed, *space.layers[1:]))
        algorithm = self.make(space, [], 9)
        asked = run(algorithm, rewards(9, space), 200).asked
        self.assertTrue(algorithm.finished)
        self.assertTrue(all(c.architecture[0] == 0 for c in asked))
        if self.exhausts:
            self.assertLen(asked, space.size)

    def test_an_impossible_budget_is_said_in_one_line(self) -> None:
        space, _ = task()
        with self.assertRaisesRegex(UserError, "no architecture is inside madds<="):
            self.make(space, [Budget("madds", 0, 0.5)], 0)

    def replay(
        self,
        algorithm: Algorithm,
        events: Sequence[Ask | Tell],
        *,
        recall: bool = False,
    ) -> None:
        """Repeats a history and fails if another candidate is proposed."""
        for event in events:
            candidate = event.candidate
            if isinstance(event, Tell):
                algorithm.tell(candidate, event.reward)
            elif recall:
                again = algorithm.recall(candidate.architecture, candidate.number)
                self.assertIsNotNone(again, f"{candidate} is not recalled")
            else:
                again = algorithm.ask(candidate.number)
                self.assertEqual(again, candidate)

    def assert_go_on_alike(
        self, one: Algorithm, other: Algorithm, reward: Reward, workers: int
    ) -> None:
        """Fails if two algorithms do not go on with the same proposals."""
        steps = self.steps // 4
        self.assertEqual(
            run(one, reward, steps, workers=workers).events,
            run(other, reward, steps, workers=workers).events,
        )
