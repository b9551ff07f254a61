"""The macro benchmarks: costs against their tables and the Keras models."""

from __future__ import annotations

import json
import os
import pathlib

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.costs.keras_profiler import profile
from layernas_tf.tabular.table import all_architectures
from search_spaces.tabular.macro_bench import (
    channel_bench_macro_mobilenet,
    channel_bench_macro_resnet,
    nas_bench_macro,
)
from search_spaces.tabular.readers import macro_names
from tests.graph_madds import graph_madds

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLES = pathlib.Path(os.environ.get("LAYERNAS_TABLES") or ROOT.parent / "shared/data")
SPACES = (nas_bench_macro, channel_bench_macro_mobilenet, channel_bench_macro_resnet)

# FLOPs and params of the tables of xiusu/NAS-Bench-Macro and xiusu/Channel-Bench-Macro.
NAS_MACRO_RECORDS = {
    "02012100": (47327744, 890666),
    "11111221": (65012224, 2181386),
    "00011110": (31390208, 1118378),
}
CHANNEL_RECORDS = {
    "4432214": (122923008, 716234),
    "4432213": (120823296, 680394),
    "4432212": (118723584, 644554),
}


class MacroBenchTest(parameterized.TestCase):
    @parameterized.parameters(
        (nas_bench_macro, 0, NAS_MACRO_RECORDS, "nas-bench-macro_cifar10.json"),
        (
            channel_bench_macro_mobilenet,
            1,
            CHANNEL_RECORDS,
            "channel-bench-macro_mobilenet.json",
        ),
    )
    def test_costs_are_those_of_the_table(self, make_space, digit, records, file):
        if (TABLES / file).exists():
            table = json.loads((TABLES / file).read_text(encoding="utf-8"))
            self.assertEqual(
                {
                    name: (table[name]["flops"], table[name]["params"])
                    for name in records
                },
                records,
            )
            records = {name: (r["flops"], r["params"]) for name, r in table.items()}
            self.assertLen(records, make_space().size)
        architectures = [[int(c) - digit for c in name] for name in records]
        costs = make_space().chain.costs(np.array(architectures))
        expected = np.array(list(records.values()))
        np.testing.assert_array_equal(costs["madds"], expected[:, 0])
        np.testing.assert_array_equal(costs["params"], expected[:, 1])

    @parameterized.parameters(*SPACES)
    def test_default_is_the_largest(self, make_space):
        space = make_space()
        costs = space.chain.costs(all_architectures(space))
        for metric in ("madds", "params"):
            self.assertEqual(costs[metric].max(), space.costs(space.default)[metric])

    def test_names_are_those_of_the_tables(self):
        self.assertEqual(macro_names(nas_bench_macro(), 0)[5], "00000012")
        names = macro_names(channel_bench_macro_resnet(), 1)
        self.assertEqual((names[0], names[-1]), ("1111111", "4444444"))
        self.assertLen(names, 16384)

    @parameterized.parameters(*SPACES)
    def test_keras_model_profiler_graph_profiler_and_chain_agree(self, make_space):
        space = make_space()
        rng = np.random.default_rng(1)
        for number in range(6):
            architecture = tuple(
                int(rng.integers(len(layer.options))) for layer in space.layers
            )
            keras.backend.clear_session()
            model = space.build(architecture)
            found, costs = profile(model), space.costs(architecture)
            self.assertEqual(model.output_shape[1:], (10,))
            self.assertEqual(found["trainable_params"], costs["params"])
            self.assertEqual(found["madds"], costs["madds"])
            if number < 2:
                self.assertEqual(graph_madds(model), costs["madds"])

    def test_channel_resnet_by_hand(self):
        """Of the widest network: multiply-adds by its table of layers."""
        pixels = {"16x16": 256, "8x8": 64}
        expected = 3 * 256 * 9 * pixels["16x16"]  # the stem
        expected += 4 * 256 * 256 * 9 * pixels["16x16"]  # blocks 1 and 2
        expected += 256 * 512 * 9 * pixels["8x8"] + 512 * 512 * 9 * pixels["8x8"]
        expected += 4 * 512 * 512 * 9 * pixels["8x8"]  # blocks 4 and 5
        expected += 512 * 10
        space = channel_bench_macro_resnet()
        self.assertEqual(space.costs(space.default)["madds"], expected)

    def test_identity_of_stride_one_is_free_and_changes_nothing(self):
        space = nas_bench_macro()
        steps = list(space.steps((1, 0, 1, 0, 0, 1, 0, 1)))
        for index in (1, 3, 4, 6):
            self.assertEqual(steps[index].after, steps[index].before)
            self.assertEqual(set(steps[index].costs.values()), {0})

    @parameterized.parameters(*SPACES)
    def test_trains_on_other_images_than_the_benchmarks(self, make_space):
        space = make_space(resolution=8, classes=3, channels=1)
        model = space.build((0,) * len(space.layers))
        images = np.random.default_rng(0).uniform(0, 255, (12, 8, 8, 1))
        images = images.astype(np.float32)
        model.compile(
            keras.optimizers.Adam(0.01),
            keras.losses.SparseCategoricalCrossentropy(),
            run_eagerly=True,  # quicker than to trace so few steps
        )
        labels = np.arange(12) % 3
        history = model.fit(images, labels, batch_size=12, epochs=6, verbose=0).history
        self.assertLess(history["loss"][-1], 0.9 * history["loss"][0])
        np.testing.assert_allclose(np.asarray(model(images)).sum(axis=1), 1, rtol=1e-5)

    @parameterized.parameters(
        (nas_bench_macro, 20, "multiple of 8, got 20"),
        (channel_bench_macro_mobilenet, 6, "multiple of 4, got 6"),
        (channel_bench_macro_resnet, 6, "multiple of 4, got 6"),
    )
    def test_resolution_that_the_strides_do_not_divide_is_refused(
        self, make_space, resolution, message
    ):
        with self.assertRaisesRegex(UserError, message):
            make_space(resolution=resolution)


if __name__ == "__main__":
    absltest.main()
