"""The MobileNet and EfficientNet spaces: their choices and what these cost."""

from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import time

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from search_spaces.registry import get_space

SPACES = (
    "mobilenet_v2",
    "mobilenet_v2_1.4",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
)


def architectures(space, number: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack(
        [rng.integers(len(layer.options), size=number) for layer in space.layers], 1
    )


class MobileNetSpacesTest(parameterized.TestCase):
    @parameterized.parameters(
        ("mobilenet_v2", 300e6),
        ("mobilenet_v2_1.4", 585e6),
        ("mobilenet_v3_small", 56e6),
        ("mobilenet_v3_large", 219e6),
        ("efficientnet_b0", 390e6),
    )
    def test_default_has_the_published_madds(self, name, published):
        space = get_space(name)
        madds = space.costs(space.default)["madds"]
        self.assertAlmostEqual(madds / published, 1, delta=0.02)

    @parameterized.parameters(*SPACES)
    def test_one_layer_per_block_each_with_its_choices(self, name):
        space = get_space(name)
        has_choice = not name.startswith("mobilenet_v2")
        for layer in (space.layers[0], space.layers[-1]):
            self.assertLen(layer.options, 1)
        for layer in space.layers[1:-1]:
            with self.subTest(layer.name):
                first = layer.name.endswith("block1")
                default = layer.options[layer.default]
                kept = [option for option in layer.options if not option.get("drop")]
                self.assertEqual(len(kept) + (not first), len(layer.options))
                self.assertLen(set(layer.options), len(layer.options))
                labels = {option.label for option in layer.options}
                self.assertLen(labels, len(layer.options))
                values = {
                    key: sorted({option.get(key, -1) for option in kept})
                    for key in ("filters", "kernel", "expansion", "se")
                }
                self.assertEqual(values["kernel"], [3, 5, 7])
                if default["expansion"] == 1:
                    self.assertEqual(values["expansion"], [1, 2, 3])
                else:
                    expected = sorted({2, 3, 4, 6, default["expansion"]})
                    self.assertEqual(values["expansion"], expected)
                self.assertEqual(values["se"], [False, True] if has_choice else [-1])
                if first:
                    self.assertEqual({value % 8 for value in values["filters"]}, {0})
                    self.assertLess(values["filters"][0], default["filters"])
                    self.assertGreater(values["filters"][-1], default["filters"])
                else:
                    self.assertEqual(values["filters"], [-1])

    def test_filters_that_round_to_the_same_number_are_one_option(self):
        space = get_space("mobilenet_v3_small")
        filters = [
            sorted({option["filters"] for option in layer.options})
            for layer in space.layers[1:3]
        ]
        # Of 16: 8, 12 -> 16, 16, 20 -> 24, 24. Of 24: 12 -> 16, 18 -> 24, 24, 32, 40.
        self.assertEqual(filters, [[8, 16, 24], [16, 24, 32, 40]])

    @parameterized.parameters(*SPACES)
    def test_dropped_block_costs_nothing_and_changes_nothing(self, name):
        space = get_space(name)
        dropped = tuple(
            next((i for i, o in enumerate(layer.options) if o.get("drop")), 0)
            for layer in space.layers
        )
        count = 0
        for step in space.steps(dropped):
            if step.option.get("drop"):
                count += 1
                self.assertEqual(step.before, step.after)
                self.assertEqual(set(step.costs.values()), {0})
        self.assertGreaterEqual(count, 6)

    @parameterized.parameters(*SPACES)
    def test_filters_of_a_stage_hold_through_it(self, name):
        space = get_space(name)
        for architecture in architectures(space, 20).tolist():
            for step in list(space.steps(architecture))[1:-1]:
                filters = step.option.get("filters", step.before.channels)
                self.assertEqual(step.after.channels, filters)

    @parameterized.parameters(*SPACES)
    def test_batch_costs_equal_single_costs(self, name):
        space = get_space(name, resolution=32, classes=10)
        batch = architectures(space, 50)
        costs = space.chain.costs(batch)
        for number, architecture in enumerate(batch.tolist()):
            for metric, cost in space.costs(architecture).items():
                self.assertEqual(costs[metric][number], cost)

    def test_chain_is_compiled_in_a_moment(self):
        space = get_space("mobilenet_v3_large")
        start = time.process_time()
        self.assertLen(space.chain, 17)
        self.assertLess(time.process_time() - start, 3)

    @parameterized.parameters(*SPACES)
    def test_width_scales_the_costs(self, name):
        madds = [
            space.costs(space.default)["madds"]
            for space in (get_space(name, width=w) for w in (0.25, 0.5, 0.8, 1, 1.7))
        ]
        self.assertEqual(madds, sorted(set(madds)))
        self.assertLess(madds[0], madds[-1] / 8)

    @parameterized.parameters((32, 1), (63, 1), (64, 2), (224, 2))
    def test_stem_keeps_the_resolution_of_small_images(self, resolution, stride):
        space = get_space("mobilenet_v3_small", resolution=resolution)
        self.assertEqual(space.arguments["stem_stride"], stride)
        after = next(space.steps(space.default)).after
        self.assertEqual(after.height, -(-resolution // stride))

    def test_stem_stride_by_hand(self):
        one = get_space("mobilenet_v2", resolution=96, stem_stride=1)
        two = get_space("mobilenet_v2", resolution=96)
        costs = [space.costs(space.default)["madds"] for space in (one, two)]
        self.assertGreater(costs[0], 3 * costs[1])

    @parameterized.parameters(
        ({"resolution": 4}, "resolution"),
        ({"resolution": 32.0}, "resolution"),
        ({"classes": 1}, "classes"),
        ({"channels": 0}, "channels"),
        ({"stem_stride": 3}, "stem_stride"),
        ({"width": 0.0}, "width"),
        ({"width": float("nan")}, "width"),
        ({"dropout": 1.0}, "dropout"),
        ({"classes": True}, "classes"),
    )
    def test_arguments_out_of_range_are_refused_by_name(self, arguments, word):
        for name in ("mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0"):
            with self.assertRaisesRegex(UserError, f"{name}.*{word} must be"):
                get_space(name, **arguments)

    @parameterized.parameters(*SPACES)
    def test_json_makes_the_space_again(self, name):
        space = get_space(name, resolution=40, classes=7, channels=1, width=0.5)
        architecture = tuple(architectures(space, 1)[0].tolist())
        written = space.to_json(architecture)
        again = get_space(written["space"], **written["arguments"])
        self.assertEqual(again.from_json(written), architecture)
        self.assertEqual(again.costs(architecture), space.costs(architecture))


class ModelsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        keras.backend.clear_session()

    @parameterized.parameters(
        ("mobilenet_v2", 3), ("mobilenet_v3_small", 1), ("efficientnet_b0", 1)
    )
    def test_images_of_eight_pixels(self, name, channels):
        space = get_space(name, resolution=8, classes=4, channels=channels, width=0.35)
        model = space.build(tuple(architectures(space, 1, seed=3)[0].tolist()))
        images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, channels))
        output = np.asarray(model(images.astype(np.float32)))
        self.assertEqual(output.shape, (2, 4))
        np.testing.assert_allclose(output.sum(axis=1), 1, rtol=1e-5)

    def test_names_and_types_that_others_rely_on(self):
        space = get_space("mobilenet_v2_1.4", resolution=32, classes=4, width=0.35)
        self.addCleanup(keras.config.set_dtype_policy, keras.config.dtype_policy())
        keras.config.set_dtype_policy("mixed_float16")
        model = space.build(space.default)
        self.assertEqual(model.input_shape, (None, 32, 32, 3))
        rescale = model.get_layer("rescale")
        self.assertEqual((rescale.scale, rescale.offset), (1 / 127.5, -1.0))
        self.assertEqual(model.layers[-1].name, "predictions")
        self.assertEqual(model.layers[-1].compute_dtype, "float32")
        self.assertEqual(model.get_layer("stem_conv").compute_dtype, "float16")
        for layer in space.layers[1:-1]:
            self.assertTrue(
                any(part.name.startswith(f"{layer.name}_") for part in model.layers)
            )

    def test_model_survives_saving(self):
        space = get_space("efficientnet_b0", resolution=16, classes=4, width=0.35)
        # The defaults with only one repeated block kept, to be quick.
        model = space.build(
            tuple(
                layer.default if "block1" in layer.name or i < 4 else 0
                for i, layer in enumerate(space.layers)
            )
        )
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.keras"
            model.save(path)
            again = keras.models.load_model(path, safe_mode=True)
        images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3))
        images = images.astype(np.float32)
        np.testing.assert_array_equal(
            np.asarray(model(images)), np.asarray(again(images))
        )

    def test_dropout_is_before_the_classifier_unless_it_is_zero(self):
        for rate in (0.0, 0.3):
            space = get_space(
                "mobilenet_v3_small", resolution=16, classes=4, width=0.35, dropout=rate
            )
            model = space.build(space.default)
            rates = [
                layer.rate
                for layer in model.layers
                if isinstance(layer, keras.layers.Dropout)
            ]
            self.assertEqual(rates, [rate] if rate else [])

    def test_efficientnet_drops_blocks_as_published(self):
        """Keras: a rate of 0.2 b / 16 at block b, where there is a residual."""
        space = get_space("efficientnet_b0", resolution=16, classes=4, width=0.35)
        model = space.build(space.default)
        rates = [
            layer.rate * 16 / 0.2
            for layer in model.layers
            if isinstance(layer, keras.layers.Dropout) and layer.noise_shape
        ]
        np.testing.assert_allclose(rates, [2, 4, 6, 7, 9, 10, 12, 13, 14])

    def test_spaces_of_the_same_arguments_are_alike(self):
        first, second = (get_space("mobilenet_v2", width=0.5) for _ in range(2))
        for one, other in zip(first.layers, second.layers):
            self.assertEqual(
                dataclasses.replace(one, transition=None, block=None),
                dataclasses.replace(other, transition=None, block=None),
            )
            for option in one.options:
                self.assertEqual(one.block(option), other.block(option))


if __name__ == "__main__":
    absltest.main()
