"""A latency table as a cost of the chain, and what is refused."""

from __future__ import annotations

import json
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.costs.latency import check_same_table, read_table, with_latency
from layernas_tf.space.budget import Budget, inside, parse_budget
from layernas_tf.space.completions import BudgetedChain
from layernas_tf.space.search_space import SearchSpace
from tests.small_blocks import small_space, table_of


class LatencyTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.space = small_space()

    def write(self, data, name: str = "table.json") -> str:
        path = self.folder / name
        text = data if isinstance(data, str) else json.dumps(data)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def timed(self, **changes) -> SearchSpace:
        return with_latency(
            self.space, read_table(self.write({**table_of(self.space), **changes}))
        )

    def refused(self, pattern: str, call, *arguments, **keywords):
        with self.assertRaisesRegex(UserError, pattern) as caught:
            call(*arguments, **keywords)
        self.assertNotIn("\n", str(caught.exception))

    def test_latency_of_a_network_is_offset_and_scaled_sum_of_its_blocks(self):
        data = table_of(self.space)
        timed = self.timed()
        architecture = (0, 2, 1, 0, 0)
        total, state = 0.0, 0
        for i, option in enumerate(architecture):
            total += data["layers"][i]["ms"][state][option]
            state = self.space.chain.next_state[i][state, option]
        costs = timed.costs(architecture)
        self.assertAlmostEqual(costs["latency_ms"], 0.5 + 2 * total)
        # The other costs and the architecture's file are those of the plain space.
        plain = self.space.costs(architecture)
        self.assertEqual({k: costs[k] for k in plain}, plain)
        self.assertEqual(timed.to_json(architecture), self.space.to_json(architecture))

    def test_bounds_and_samples_hold_it_like_any_sum(self):
        timed = self.timed()
        every = np.array(
            [(0, a, b, 0, 0) for a in range(3) for b in range(3)], dtype=np.int64
        )
        latencies = timed.chain.costs(every)["latency_ms"]
        self.assertAlmostEqual(timed.chain.cheapest((), "latency_ms"), latencies.min())
        self.assertAlmostEqual(
            timed.chain.most_expensive((), "latency_ms"), latencies.max()
        )
        budgets = [
            Budget("latency_ms", 0, float(np.median(latencies))),
            Budget("madds", 0, float(timed.chain.most_expensive((), "madds"))),
        ]
        budgeted = BudgetedChain(timed.chain, budgets)
        self.assertEqual(budgeted.count(), 5)
        rng = np.random.default_rng(0)
        for _ in range(20):
            drawn = budgeted.sample(rng)
            self.assertTrue(inside(budgets, timed.costs(drawn)))

    def test_budget_is_read_in_milliseconds_and_shares(self):
        timed = self.timed()
        default = timed.costs(timed.default)["latency_ms"]
        self.assertEqual(parse_budget("latency_ms<=100", timed).high, 100)
        self.assertAlmostEqual(parse_budget("latency_ms<=100%", timed).high, default)
        self.refused(
            "the cheapest architecture .* costs latency_ms=",
            parse_budget,
            "latency_ms<=0.01",
            timed,
        )

    def test_budget_without_a_table_says_how_to_make_one(self):
        self.refused(
            "needs a latency table .*export.latency_table.*`latency_table`",
            parse_budget,
            "latency_ms<=4",
            self.space,
        )

    def test_table_of_another_space_or_arguments_is_refused(self):
        self.refused("for space 'other', not for 'small'", self.timed, space="other")
        path = self.write(table_of(self.space))
        for name, value in (("resolution", 32), ("classes", 5), ("stem_stride", 1)):
            self.refused(
                f"with {name}={self.space.arguments[name]}, not with {name}={value}",
                with_latency,
                small_space(**{name: value}),
                read_table(path),
            )

    def test_what_only_training_knows_does_not_matter(self):
        other = small_space(dropout=0.5)
        timed = with_latency(other, read_table(self.write(table_of(self.space))))
        self.assertEqual(timed.metrics[-1].name, "latency_ms")

    def test_table_of_another_version_of_the_space_is_refused(self):
        layers = table_of(self.space)["layers"]
        layers[1]["options"][2] = "f24 k3"
        self.refused("layer 'first' has other options", self.timed, layers=layers)
        layers = table_of(self.space)["layers"][:4]
        self.refused("has 4 layers, the space has 5", self.timed, layers=layers)

    @parameterized.parameters(
        ({"kind": "recipe"}, "'kind': expected 'layernas_tf latency table'"),
        ({"version": 2}, "'version': expected 1"),
        ({"threads": 0}, "'threads': expected a whole number, 1 or more, got 0"),
        ({"threads": True}, "'threads': expected a whole number"),
        ({"device": 3}, "'device': expected a text, got 3"),
        ({"arguments": []}, "'arguments': expected an object"),
        ({"layers": []}, "'layers': expected a list of layers"),
        ({"layers": [3]}, r"layers\[0\]: expected an object"),
        ({"calibration": {"scale": -1, "offset_ms": 0}}, "'scale': expected a finite"),
        ({"calibration": {"scale": 1}}, "expected a member 'offset_ms', got none"),
    )
    def test_a_file_with_something_wrong_in_it_is_refused(self, changes, pattern):
        self.refused(pattern, self.timed, **changes)

    @parameterized.parameters(
        ({"ms": [[1.0, -1.0, 1.0]]}, "1 rows of 3 finite numbers"),
        ({"ms": [[1.0, 1.0]]}, "1 rows of 3 finite numbers"),
        ({"ms": [[1.0, float("nan"), 1.0]]}, "1 rows of 3 finite numbers"),
        ({"states": [[8, 8]]}, r"'states': expected a list of \[channels"),
        ({"options": [1, 2, 3]}, "'options': expected a list of labels"),
        ({"name": None}, "'name': expected a text"),
    )
    def test_a_layer_with_something_wrong_in_it_is_refused(self, changes, pattern):
        layers = table_of(self.space)["layers"]
        layers[1] |= changes
        self.refused(pattern, self.timed, layers=layers)

    def test_a_file_that_is_none_is_refused(self):
        self.refused("cannot be read: No such file", read_table, "nowhere.json")
        self.refused("is not JSON", read_table, self.write("{"))
        self.refused("expected an object", read_table, self.write([1]))

    def test_a_search_goes_on_with_the_table_that_it_began_with(self):
        table = read_table(self.write(table_of(self.space)))
        other = read_table(self.write(table_of(self.space, scale=3), "other.json"))
        kept = self.folder / "latency_table.json"
        check_same_table(table, kept, resumed=False)
        check_same_table(None, kept, resumed=True)
        self.refused(
            "without a latency table", check_same_table, table, kept, resumed=True
        )
        kept.write_bytes(pathlib.Path(table.path).read_bytes())
        check_same_table(table, kept, resumed=True)
        self.refused(
            "another latency table", check_same_table, other, kept, resumed=True
        )
        self.refused(
            "`latency_table`=.*to resume it", check_same_table, None, kept, resumed=True
        )


if __name__ == "__main__":
    absltest.main()
