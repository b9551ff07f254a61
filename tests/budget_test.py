import hypothesis
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import (
    Budget,
    format_cost,
    inside,
    parse_budget,
    rows_inside,
)
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State


def _space():
    def transition(state, option):
        return state, {"madds": option["m"] * 1e6, "model_bytes": option["m"] * 1024}

    options = tuple(Option.of(m=m) for m in (1, 2, 4))
    layers = tuple(Layer(f"layer{i}", options, 2, transition) for i in range(2))
    metrics = (Metric("madds"), Metric("model_bytes"))
    return SearchSpace("toy", State(1, 1, 1), layers, metrics)


class BudgetTest(parameterized.TestCase):
    @parameterized.parameters(
        ("madds<=3M", 0, 3e6),
        ("madds <= 3000k", 0, 3e6),
        ("madds<=3e6", 0, 3e6),
        ("madds=2.5M..3M", 2.5e6, 3e6),
        ("madds<=50%", 0, 4e6),
        ("madds=25%..50%", 2e6, 4e6),
        ("madds<=2.5m", 0, 2.5e6),
    )
    def test_forms(self, text, low, high):
        self.assertEqual(parse_budget(text, _space()), Budget("madds", low, high))

    def test_binary_units_of_bytes(self):
        budget = parse_budget("model_bytes<=3KiB", _space())
        self.assertEqual(budget.high, 3 * 1024)

    @parameterized.parameters(
        ("madds", "expected the form"),
        ("madds<3M", "expected the form"),
        ("madds<=", "expected the form"),
        ("madds<=fast", "cannot read the amount 'fast'"),
        ("madds<=3Q", "cannot read the amount '3Q'"),
        ("madds<=-3M", "cannot read the amount '-3M'"),
        ("madds=3M", "expected a band.*written 'madds<=3M'"),
        ("madds=4M..3M", "lower end is above"),
        ("speed<=3", "no cost 'speed': expected one of madds, model_bytes"),
        ("madds<=1.9M", "cheapest architecture of 'toy' costs madds=2000000"),
        ("madds=9M..10M", "most expensive architecture of 'toy' costs madds=8000000"),
    )
    def test_what_is_wrong_is_said(self, text, message):
        with self.assertRaisesRegex(UserError, message):
            parse_budget(text, _space())

    def test_ends_are_inside(self):
        budget = Budget("madds", 2, 3)
        self.assertTrue(budget.holds({"madds": 2}))
        self.assertTrue(budget.holds({"madds": 3}))
        self.assertFalse(budget.holds({"madds": 3.001}))
        self.assertFalse(budget.holds({"madds": 1.999}))

    def test_costs_are_written_short(self):
        self.assertEqual(format_cost(2_940_000), "2.94M")
        self.assertEqual(format_cost(512), "512")
        self.assertEqual(str(Budget("madds", 0, 3e6)), "madds<=3M")

    @hypothesis.given(
        st.lists(st.floats(0, 1e9), min_size=1, max_size=5),
        st.lists(st.tuples(st.floats(0, 1e9), st.floats(0, 1e9)), max_size=3),
    )
    def test_rows_are_judged_like_single_architectures(self, costs, ends):
        budgets = [Budget("madds", *sorted(pair)) for pair in ends]
        # Exactly on a limit, and a rounding error beside it.
        costs += [
            end * (1 + d)
            for b in budgets
            for end in (b.low, b.high)
            for d in (-1e-13, 0, 1e-13)
        ]
        rows = rows_inside(budgets, {"madds": np.array(costs)})
        single = [inside(budgets, {"madds": cost}) for cost in costs]
        self.assertSequenceEqual(rows.tolist(), single)
        for budget in budgets:
            for cost in costs:
                self.assertEqual(
                    budget.excess(cost) <= 0, budget.holds({"madds": cost})
                )


if __name__ == "__main__":
    absltest.main()
