"""The space `mnasnet`: its choices, its Keras networks, and costs as others count."""

from __future__ import annotations

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.costs.keras_profiler import profile
from search_spaces.registry import get_space
from search_spaces.tabular.accel_chain import accel_space

# Rows of Accel-NASBench: options of the seven stages, MACs and params in millions.
ROWS = (
    (
        ((6, 3, 1, 0), (4, 5, 2, 0), (6, 3, 3, 0), (6, 5, 3, 0), (6, 5, 2, 0))
        + ((1, 3, 2, 0), (1, 3, 2, 0)),
        415.361072,
        2.50116,
    ),
    (
        ((6, 3, 1, 0), (1, 5, 3, 0), (6, 3, 2, 0), (6, 3, 1, 0), (4, 3, 2, 0))
        + ((6, 5, 1, 0), (4, 5, 2, 0)),
        372.73264,
        3.44436,
    ),
    (
        ((1, 5, 3, 1), (4, 5, 3, 0), (4, 3, 3, 0), (4, 3, 2, 1), (1, 5, 2, 0))
        + ((4, 5, 1, 1), (4, 5, 1, 1)),
        248.007392,
        2.54093,
    ),
)


def _architecture(space, stages):
    """Option indices of a network given by expansion, kernel, blocks and SE."""
    names = "expansion", "kernel", "blocks", "se"
    layers = [layer for layer in space.layers if len(layer.options) > 1]
    chosen = [
        [tuple(int(o[n]) for n in names) for o in layer.options].index(stage)
        for layer, stage in zip(layers, stages)
    ]
    single = len(space.layers) > len(layers)
    return (0, *chosen, 0) if single else tuple(chosen)


class MnasNetTest(parameterized.TestCase):
    def test_a_hundred_thousand_million_networks(self):
        space = get_space("mnasnet")
        self.assertEqual(space.size, 36**6 * 48)
        self.assertEqual(
            [len(space.layers[i].options) for i in space.searched_layers],
            [36, 36, 36, 36, 36, 48, 36],
        )

    def test_default_costs_what_efficientnet_b0_costs(self):
        own, published = get_space("mnasnet"), get_space("efficientnet_b0")
        for metric in ("madds", "params"):
            self.assertEqual(
                own.costs(own.default)[metric],
                published.costs(published.default)[metric],
            )

    @parameterized.parameters(*ROWS)
    def test_costs_of_table_rows_as_the_authors_count(self, stages, macs, params):
        chain = accel_space()
        costs = chain.costs(_architecture(chain, stages))
        self.assertEqual(round(costs["macs"]), round(macs * 1e6))
        self.assertEqual(round(costs["params"]), round(params * 1e6))
        space = get_space("mnasnet")
        madds = space.costs(_architecture(space, stages))["madds"]
        # The rest is normalization and means over pixels: a tenth.
        self.assertBetween(costs["macs"] / madds, 1.05, 1.15)

    @parameterized.parameters((33, 1.0, ROWS[0][0]), (32, 0.5, ROWS[2][0]))
    def test_keras_network_costs_what_the_chain_says(self, resolution, width, stages):
        space = get_space("mnasnet", resolution=resolution, classes=10, width=width)
        architecture = _architecture(space, stages)
        keras.backend.clear_session()
        found = profile(space.build(architecture))
        costs = space.costs(architecture)
        self.assertEqual(found["madds"], costs["madds"])
        self.assertEqual(found["params"], costs["params"])

    def test_network_trains(self):
        space = get_space("mnasnet", resolution=16, classes=3, width=0.25)
        keras.utils.set_random_seed(0)
        model = space.build(_architecture(space, ((1, 3, 1, 0),) * 6 + ((4, 3, 1, 1),)))
        rng = np.random.default_rng(0)
        images = rng.uniform(0, 255, (12, 16, 16, 3)).astype(np.float32)
        labels = np.arange(12) % 3
        images += 40 * labels[:, None, None, None]
        model.compile("adam", "sparse_categorical_crossentropy")
        losses = model.fit(images, labels, epochs=12, verbose=0).history["loss"]
        self.assertLess(losses[-1], losses[0])

    def test_json_makes_the_space_again(self):
        space = get_space("mnasnet", resolution=40, classes=7, channels=1, width=0.5)
        written = space.to_json(space.default)
        again = get_space(written["space"], **written["arguments"])
        self.assertEqual(again.from_json(written), space.default)
        self.assertEqual(again.costs(space.default), space.costs(space.default))

    def test_arguments_out_of_range_are_refused(self):
        with self.assertRaisesRegex(UserError, "mnasnet.*width must be"):
            get_space("mnasnet", width=0)


if __name__ == "__main__":
    absltest.main()
