"""The default network at the price of the budget, under every kind of budget."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.costs.cost import with_cost
from layernas_tf.costs.latency import LatencyTable, LayerTimes, with_latency
from layernas_tf.costs.latency_estimate import estimated_latency
from layernas_tf.pipeline.baseline import choose_baseline, rescaler
from layernas_tf.space.budget import inside, parse_budget
from search_spaces.mobile.mobilenet_v2 import mobilenet_v2
from search_spaces.mobile.mobilenet_v3 import mobilenet_v3_small
from search_spaces.registry import get_space
from tests.small_blocks import small_space

_LARGER = functools.cache(lambda: mobilenet_v2(resolution=32, classes=10))
_SPACE = functools.cache(lambda: mobilenet_v3_small(resolution=32, classes=10))


def table_of(space) -> LatencyTable:
    """Times that grow with the MAdds, with some noise."""
    rng = np.random.default_rng(0)

    def times(layer, states):
        rows = []
        for state in states:
            costs = [layer.transition(state, option)[1] for option in layer.options]
            rows.append(tuple(0.01 + 2e-6 * c["madds"] for c in costs))
        noise = rng.uniform(0.95, 1.05, np.shape(rows))
        labels = tuple(option.label for option in layer.options)
        ms = tuple(map(tuple, np.array(rows) * noise))
        return LayerTimes(layer.name, labels, tuple(states), ms)

    return LatencyTable(
        path="table.json",
        digest="",
        space=space.name,
        arguments=space.arguments,
        device="a device",
        runtime="a runtime 1",
        threads=1,
        format="int8",
        scale=1.1,
        offset_ms=0.2,
        layers=tuple(
            times(layer, states)
            for layer, states in zip(space.layers, space.chain.states)
        ),
    )


class BaselineTest(parameterized.TestCase):
    def choose(self, *texts: str, kind: str = "width", space=None):
        space = space or _SPACE()
        budgets = tuple(parse_budget(text, space) for text in texts)
        rescale = rescaler(space, get_space, lambda made: made)
        return choose_baseline(kind, space, budgets, rescale), budgets

    @parameterized.parameters(
        ("madds<=50%",),
        ("params<=40%",),
        ("model_bytes<=500k",),
        ("peak_memory_bytes<=60%",),
        ("madds<=70%", "params<=50%", "peak_memory_bytes<=90%"),
    )
    def test_the_widest_default_that_fits(self, *texts):
        peak = any(text.startswith("peak") for text in texts)
        space = _LARGER() if peak else _SPACE()
        baseline, budgets = self.choose(*texts, space=space)
        self.assertTrue(inside(budgets, baseline.costs))
        self.assertEqual(baseline.architecture, baseline.space.default)
        self.assertIn(f"of width {baseline.width:.2f}", baseline.name)
        arguments = {**space.arguments, "width": baseline.width + 0.01}
        wider = get_space(space.name, **arguments)
        self.assertFalse(inside(budgets, wider.costs(wider.default)))

    def test_a_default_that_is_inside_is_the_baseline_itself(self):
        for kind, texts in (("width", ["madds<=100%"]), ("default", ["madds<=50%"])):
            baseline, _ = self.choose(*texts, kind=kind)
            self.assertIs(baseline.space, _SPACE())
            self.assertEqual(baseline.name, "default network")
            self.assertEqual(baseline.folder, "")
        self.assertIsNone(self.choose("madds<=50%", kind="none")[0])

    def test_a_space_without_a_width_gets_an_even_network(self):
        space = small_space()
        baseline, budgets = self.choose("madds<=95%", space=space)
        self.assertIsNone(baseline.width)
        self.assertEqual(baseline.name, "default network made evenly cheaper")
        self.assertTrue(inside(budgets, baseline.costs))
        self.assertNotEqual(baseline.architecture, space.default)

    def test_a_space_that_only_has_a_known_name_is_not_rescaled(self):
        space = _SPACE()
        changed = dataclasses.replace(space, layers=space.layers[:-2])
        self.assertIsNone(rescaler(changed, get_space, lambda made: made))
        other = dataclasses.replace(space, name="mine")
        self.assertIsNone(rescaler(other, get_space, lambda made: made))

    def test_latency_of_other_widths_is_estimated_from_the_table(self):
        table = table_of(_SPACE())
        space = with_latency(_SPACE(), table)
        cost = estimated_latency(_SPACE(), table)
        rescale = rescaler(space, get_space, lambda made: with_cost(made, cost))
        budgets = (parse_budget("latency_ms<=70%", space),)
        baseline = choose_baseline("width", space, budgets, rescale)

        self.assertTrue(inside(budgets, baseline.costs))
        narrow = get_space(_SPACE().name, **baseline.space.arguments)
        madds = narrow.costs(narrow.default)["madds"]
        expected = 0.2 + 1.1 * (2e-6 * madds + 0.01 * len(narrow.layers))
        self.assertAlmostEqual(
            baseline.costs["latency_ms"], expected, delta=0.1 * expected
        )


if __name__ == "__main__":
    absltest.main()
