import json

from absl.testing import absltest

from layernas_tf.core.errors import UserError
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Layer, Metric, Option, State


def _widen(state, option):
    filters = option["filters"]
    cost = state.channels * filters
    return State(filters, state.height, state.width), {"madds": cost, "peak": filters}


def _space(**changes):
    layers = tuple(
        Layer(f"layer{i}", tuple(Option.of(filters=f) for f in (8, 16, 24)), 1, _widen)
        for i in range(3)
    )
    arguments = {
        "name": "toy",
        "start": State(3, 4, 4),
        "layers": layers,
        "metrics": (Metric("madds"), Metric("peak", "max")),
    }
    return SearchSpace(**{**arguments, **changes})


class SpaceTest(absltest.TestCase):
    def test_costs_are_sums_and_maxima_along_the_chain(self):
        costs = _space().costs((0, 2, 1))
        self.assertEqual(costs, {"madds": 3 * 8 + 8 * 24 + 24 * 16, "peak": 24})

    def test_walk_hands_the_state_on(self):
        steps = list(_space().steps((0, 2, 1)))
        self.assertEqual([s.before.channels for s in steps], [3, 8, 24])
        self.assertEqual([s.after.channels for s in steps], [8, 24, 16])

    def test_size_and_default(self):
        self.assertEqual(_space().size, 27)
        self.assertEqual(_space().default, (1, 1, 1))

    def test_json_round_trip(self):
        space = _space(arguments={"resolution": 32})
        data = json.loads(json.dumps(space.to_json((2, 0, 1))))
        self.assertEqual(space.from_json(data), (2, 0, 1))
        self.assertEqual(
            data["layers"][0], {"name": "layer0", "option": {"filters": 24}}
        )

    def test_json_of_another_version_of_the_space_is_refused(self):
        data = _space().to_json((2, 0, 1))
        data["layers"][1]["option"]["filters"] = 9
        with self.assertRaisesRegex(UserError, "layer1.*another version"):
            _space().from_json(data)

    def test_malformed_architectures_are_refused_saying_what_was_expected(self):
        space = _space()
        for bad, message in (
            ((0, 1), "expected 3 option indices"),
            ((0, 1, 3), r"layer2.*0\.\.2, got 3"),
            ((0, 1, True), "got True"),
            ((0, "1", 0), "got '1'"),
            ("011", "expected 3"),
        ):
            with self.assertRaisesRegex(UserError, message):
                space.check(bad)

    def test_spaces_that_make_no_sense_are_refused(self):
        layer = _space().layers[0]
        for layers, message in (
            ((), "at least one layer"),
            ((layer, layer), "unique"),
            ((Layer("a", (), 0, _widen),), "no option"),
            ((Layer("a", layer.options, 3, _widen),), "default"),
        ):
            with self.assertRaisesRegex(UserError, message):
                _space(layers=layers)

    def test_building_without_a_builder_says_so(self):
        with self.assertRaisesRegex(UserError, "no Keras builder"):
            _space().build((0, 0, 0))

    def test_labels_are_short(self):
        option = Option.of(filters=24, kernel=3, expansion=4.5, se=True, drop=False)
        self.assertEqual(option.label, "f24 k3 e4.5 se")


if __name__ == "__main__":
    absltest.main()
