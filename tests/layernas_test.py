import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from layernas_tf.algorithms.layernas import LayerNAS
from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import Budget, inside
from layernas_tf.testing.chains import everything, random_space


def _additive(space, seed):
    """A reward per layer and option: the layerwise assumption holds."""
    rng = np.random.default_rng(seed)
    worth = [rng.random(len(layer.options)) for layer in space.layers]
    return lambda architecture: float(
        sum(w[option] for w, option in zip(worth, architecture))
    )


def _run(search, reward, trials=10**6):
    asked = []
    while len(asked) < trials and (candidate := search.ask()) is not None:
        asked.append(candidate.architecture)
        search.tell(candidate, reward(candidate.architecture))
    return asked


class LayerNASTest(parameterized.TestCase):
    @settings(max_examples=15, deadline=None)
    @given(
        st.integers(0, 10**6),
        st.floats(0.0, 1.0),
        st.sampled_from(["sweep", "layerwise"]),
        st.sampled_from([None, 1, 2]),
    )
    def test_finds_the_optimum_where_the_layerwise_assumption_holds(
        self, seed, share, schedule, children
    ):
        space = random_space(seed, layers=4, options=4, states=1)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, np.quantile(costs, share))]
        reward = _additive(space, seed)
        search = LayerNAS(
            space,
            budgets,
            seed=seed,
            schedule=schedule,
            base="default",
            bucket_width=1,
            children=children,
        )
        asked = _run(search, reward)
        self.assertTrue(search.finished)
        self.assertLen(set(asked), len(asked))
        optimum = max(
            reward(tuple(row.tolist()))
            for row, cost in zip(everything(space), costs)
            if budgets[0].holds({"madds": cost})
        )
        self.assertAlmostEqual(search.best.reward, optimum)
        self.assertTrue(inside(budgets, space.costs(search.best.architecture)))

    @settings(max_examples=30, deadline=None)
    @given(
        st.integers(0, 10**6),
        st.floats(0.0, 0.9),
        st.integers(1, 25),
        st.sampled_from(["moving", "default"]),
    )
    def test_the_answer_is_within_budget_however_short_the_run(
        self, seed, share, trials, base
    ):
        space = random_space(seed, layers=5)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, np.quantile(costs, share))]
        search = LayerNAS(space, budgets, seed=seed, base=base)
        _run(search, _additive(space, seed), trials)
        self.assertTrue(inside(budgets, space.costs(search.best.architecture)))

    def test_a_run_too_short_answers_with_a_completed_prefix_without_reward(self):
        space = random_space(0, layers=5)
        cheapest = space.chain.cheapest((), "madds")
        search = LayerNAS(space, [Budget("madds", 0, cheapest)], base="default")
        _run(search, _additive(space, 0), trials=1)
        self.assertIsNone(search.best.reward)
        self.assertEqual(space.costs(search.best.architecture)["madds"], cheapest)

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 10**6), st.floats(0.05, 0.7))
    def test_infeasible_prefix_is_never_asked(self, seed, share):
        space = random_space(seed, layers=4)
        costs = space.chain.costs(everything(space))["madds"]
        budget = Budget("madds", 0, np.quantile(costs, share))
        search = LayerNAS(space, [budget], seed=seed, base="default")
        reward = _additive(space, seed)
        while (candidate := search.ask()) is not None:
            prefix = candidate.architecture[: candidate.layer + 1]
            cheapest = space.chain.cheapest(prefix, "madds")
            self.assertTrue(budget.holds({"madds": cheapest}))
            search.tell(candidate, reward(candidate.architecture))

    @settings(max_examples=20, deadline=None)
    @given(
        st.integers(0, 10**6),
        st.integers(1, 3),
        st.sampled_from([None, 2]),
        st.sampled_from(["moving", "default"]),
    )
    def test_a_replayed_history_continues_as_the_live_run(
        self, seed, pending, children, base
    ):
        space = random_space(seed, layers=5, options=4)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, np.quantile(costs, 0.6))]
        reward = _additive(space, seed)
        rng = np.random.default_rng(seed)

        def make():
            return LayerNAS(space, budgets, seed=seed, children=children, base=base)

        live, events, waiting = make(), [], []
        for _ in range(25):
            if len(waiting) < pending and (candidate := live.ask()) is not None:
                events.append(candidate.number)
                waiting.append(candidate)
            elif waiting:
                candidate = waiting.pop(rng.integers(len(waiting)))
                events.append(candidate)
                live.tell(candidate, reward(candidate.architecture))
        replayed = make()
        for event in events:
            if isinstance(event, int):
                replayed.ask(event)
            else:
                replayed.tell(event, reward(event.architecture))
        self.assertEqual(replayed.table.kept, live.table.kept)
        for _ in range(10):
            expected, candidate = live.ask(), replayed.ask()
            self.assertEqual(candidate, expected)
            if candidate is None:
                break
            live.tell(expected, reward(expected.architecture))
            replayed.tell(candidate, reward(candidate.architecture))

    def test_children_differ_from_their_parent_in_one_layer_and_end_in_defaults(self):
        space = random_space(1, layers=5, options=4)
        search = LayerNAS(space, base="default")
        for _ in range(60):
            candidate = search.ask()
            layer = candidate.layer
            self.assertEqual(candidate.architecture[:layer], candidate.parent[:layer])
            self.assertEqual(
                candidate.architecture[layer + 1 :], space.default[layer + 1 :]
            )
            search.tell(candidate, sum(candidate.architecture))

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 10**6), st.floats(0.05, 0.9))
    def test_every_child_of_the_moving_base_is_a_complete_answer(self, seed, share):
        space = random_space(seed, layers=5, options=4)
        costs = space.chain.costs(everything(space))["madds"]
        budgets = [Budget("madds", 0, np.quantile(costs, share))]
        search = LayerNAS(space, budgets, seed=seed)
        reward = _additive(space, seed)
        for _ in range(40):
            if (candidate := search.ask()) is None:
                break
            self.assertTrue(inside(budgets, space.costs(candidate.architecture)))
            if candidate.parent is not None:
                layer = candidate.layer
                self.assertEqual(
                    candidate.architecture[:layer], candidate.parent[:layer]
                )
            search.tell(candidate, reward(candidate.architecture))

    def test_a_long_chain_is_passed_through_several_times(self):
        space = random_space(0, layers=20, options=4)
        budget = Budget("madds", 0, 0.5 * space.chain.most_expensive((), "madds"))
        search = LayerNAS(space, [budget])
        reward = _additive(space, 0)
        layers = []
        for _ in range(100):
            candidate = search.ask()
            layers.append(candidate.layer)
            search.tell(candidate, reward(candidate.architecture))
        visits = [layers.count(layer) for layer in space.searched_layers]
        self.assertGreaterEqual(min(visits), 3)

    def test_without_a_budget_no_layer_is_left_out(self):
        for layers in (5, 6):
            space = random_space(0, layers=layers, options=4)
            search = LayerNAS(space)
            reward = _additive(space, 0)
            visited = []
            for _ in range(layers):
                candidate = search.ask()
                visited.append(candidate.layer)
                search.tell(candidate, reward(candidate.architecture))
            self.assertEqual(visited, list(space.searched_layers))

    def test_a_search_that_is_stuck_begins_again_elsewhere(self):
        space = random_space(0, layers=8, options=3)

        def reward(architecture):
            # No change of one layer leads from the many good ones to the best.
            return -(sum(architecture) % 2) + 3.0 * (architecture == (2,) * 8)

        search = LayerNAS(space)
        roots = set()
        for _ in range(200):
            candidate = search.ask()
            if candidate.architecture == candidate.parent:
                roots.add(candidate.parent)
            search.tell(candidate, reward(candidate.architecture))
        self.assertGreater(len(roots), 2)
        self.assertLen(search.history.rewards, 200)

    def test_the_base_moves_to_what_is_better(self):
        space = random_space(1, layers=12, options=4)
        budget = Budget("madds", 0, 0.5 * space.chain.most_expensive((), "madds"))
        search = LayerNAS(space, [budget])
        reward = _additive(space, 1)
        first = search.ask()
        search.tell(first, reward(first.architecture))
        _run(search, reward, trials=60)
        parents = set()
        for _ in range(13):
            candidate = search.ask()
            parents.add(candidate.parent)
            search.tell(candidate, reward(candidate.architecture))
        self.assertNotIn(first.architecture, parents)
        self.assertGreater(search.best.reward, reward(first.architecture))

    def test_a_bucket_keeps_the_best_candidates_and_as_many_as_replicas(self):
        space = random_space(2, layers=4, options=4)
        search = LayerNAS(space, base="default", buckets=3, replicas=2, children=8)
        reward = _additive(space, 2)
        asked = _run(search, reward)
        self.assertGreater(len(asked), 20)
        for depth, kept in enumerate(search.table.kept):
            self.assertLessEqual(set(kept), {0, 1, 2})
            for bucket, entries in kept.items():
                self.assertLessEqual(len(entries), 2)
                rewards = [entry.reward for entry in entries]
                self.assertEqual(rewards, sorted(rewards, reverse=True))
                low, high = search.table.bucket_range(depth, bucket)
                for entry in entries:
                    self.assertBetween(entry.cost, low - 1e-6, high + 1e-6)
                    self.assertEqual(entry.reward, reward(entry.architecture))

    def test_failed_candidates_are_kept_nowhere_and_not_asked_again(self):
        space = random_space(3, layers=4)
        search = LayerNAS(space)
        failed, asked = set(), []
        while (candidate := search.ask()) is not None:
            asked.append(candidate.architecture)
            if candidate.number % 3 == 0:
                failed.add(candidate.architecture)
                search.tell(candidate, None if candidate.number % 2 else float("nan"))
            else:
                search.tell(candidate, 1.0 + candidate.number)
        self.assertLen(set(asked), len(asked))
        kept = {
            e.architecture for t in search.table.kept for b in t.values() for e in b
        }
        self.assertFalse(kept & failed)

    def test_a_reward_told_from_elsewhere_is_used_and_not_trained_again(self):
        space = random_space(4, layers=3)
        first, second = LayerNAS(space), LayerNAS(space)
        candidate = first.ask()
        second.tell(candidate, 5.0)
        asked = _run(second, lambda architecture: 1.0)
        self.assertNotIn(candidate.architecture, asked)
        self.assertEqual(second.best.architecture, candidate.architecture)

    @parameterized.parameters(
        ({"schedule": "depth"}, "'sweep' or 'layerwise', got 'depth'"),
        ({"base": "largest"}, "'moving' or 'default', got 'largest'"),
        ({"buckets": 0}, "buckets: expected at least 1, got 0"),
        ({"bucket_width": -1.0}, "bucket_width: expected a number above 0, got -1"),
        ({"children": 0}, "children: expected a whole number of at least 1, got 0"),
    )
    def test_options_that_make_no_sense_are_refused(self, options, message):
        with self.assertRaisesRegex(UserError, message):
            LayerNAS(random_space(0), **options)


if __name__ == "__main__":
    absltest.main()
