"""NATS-Bench size: costs against the official records and the Keras model."""

from __future__ import annotations

import csv
import itertools
import os
import pathlib

import keras
import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.costs.keras_profiler import profile
from layernas_tf.tabular.table import all_architectures
from search_spaces.tabular.nats_bench import WIDTHS, nats_bench_size
from tests.graph_madds import graph_madds

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLES = pathlib.Path(os.environ.get("LAYERNAS_TABLES") or ROOT.parent / "shared/data")
NATS_CSV = TABLES / "nats_sss_hp90.csv"

DATASETS = {"c10": (32, 10), "c100": (32, 100), "in16": (16, 120)}

# FLOPs and params of the official archive NATS-sss-v1_0-50262 (`get_cost_info`), and
# of the largest network.
RECORDS = {
    "8:8:8:8:8": {
        "c10": (4481114, 11714),
        "c100": (4481924, 12524),
        "in16": (1121336, 12704),
    },
    "8:8:8:16:32": {
        "c10": (6840650, 49202),
        "c100": (6843620, 52172),
        "in16": (1714040, 52832),
    },
    "8:8:40:32:40": {
        "c10": (21827994, 144834),
        "c100": (21831684, 148524),
        "in16": (5461816, 149344),
    },
    "64:64:64:64:64": {
        "c10": (274399882, 713674),
        "c100": (274405732, 719524),
        "in16": (68607608, 720824),
    },
}


def _architecture(name):
    return tuple(WIDTHS.index(int(width)) for width in name.split(":"))


def _space(dataset):
    resolution, classes = DATASETS[dataset]
    return nats_bench_size(resolution=resolution, classes=classes)


class NatsBenchTest(parameterized.TestCase):
    @parameterized.product(name=list(RECORDS), dataset=list(DATASETS))
    def test_costs_are_those_of_the_official_records(self, name, dataset):
        costs = _space(dataset).costs(_architecture(name))
        self.assertEqual((costs["madds"], costs["params"]), RECORDS[name][dataset])

    @parameterized.parameters(*DATASETS)
    def test_costs_are_those_of_the_table_for_all_32768(self, dataset):
        space = _space(dataset)
        if NATS_CSV.exists():
            with open(NATS_CSV, newline="", encoding="utf-8") as file:
                records = {
                    row["arch"]: (row[f"mflops_{dataset}"], row[f"params_m_{dataset}"])
                    for row in csv.DictReader(file)
                }
            self.assertLen(records, 32768)
        else:
            records = {
                name: (costs[dataset][0] / 1e6, costs[dataset][1] / 1e6)
                for name, costs in RECORDS.items()
            }
        costs = space.chain.costs(np.array([_architecture(name) for name in records]))
        expected = np.array(list(records.values()), dtype=float) * 1e6
        np.testing.assert_array_equal(costs["madds"], expected[:, 0].round())
        np.testing.assert_array_equal(costs["params"], expected[:, 1].round())

    def test_default_is_the_largest(self):
        space = nats_bench_size()
        self.assertEqual(space.size, 8**5)
        costs = space.chain.costs(all_architectures(space))
        default = space.costs(space.default)
        for metric in ("madds", "params", "model_bytes", "peak_memory_bytes"):
            self.assertEqual(costs[metric].max(), default[metric])

    def test_keras_model_profiler_graph_profiler_and_chain_agree(self):
        rng = np.random.default_rng(0)
        for dataset, (resolution, classes) in DATASETS.items():
            space = _space(dataset)
            for number in range(6):
                architecture = tuple(rng.integers(8, size=5).tolist())
                keras.backend.clear_session()
                model = space.build(architecture)
                found, costs = profile(model), space.costs(architecture)
                self.assertEqual(model.input_shape[1:], (resolution, resolution, 3))
                self.assertEqual(model.output_shape[1:], (classes,))
                self.assertEqual(found["trainable_params"], costs["params"])
                # The records count the classifier's bias, profilers do not.
                self.assertEqual(found["madds"] + classes, costs["madds"])
                if number < 2:
                    self.assertEqual(graph_madds(model) + classes, costs["madds"])

    def test_network_computes_the_published_cell(self):
        """The first cell, by hand from the model's weights, on an image of noise."""
        space = nats_bench_size(resolution=8, classes=3)
        model = space.build((0, 1, 2, 3, 4))
        weights = {
            layer.name: [
                np.asarray(weight, np.float64) for weight in layer.get_weights()
            ]
            for layer in model.layers
        }

        def conv(x, name):
            kernel = weights[f"{name}_conv"][0]
            padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
            height, width, _ = x.shape
            total = sum(
                padded[i : i + height, j : j + width] @ kernel[i, j]
                for i, j in itertools.product(range(3), repeat=2)
            )
            gamma, beta, mean, variance = weights[f"{name}_bn"]
            return (total - mean) / np.sqrt(variance + 1e-5) * gamma + beta

        def relu(x):
            return np.maximum(x, 0)

        image = np.random.default_rng(0).uniform(0, 255, (8, 8, 3))
        x = conv(image / 127.5 - 1, "stem")
        n1 = conv(relu(x), "layer0_0to1")
        n2 = conv(relu(x), "layer0_0to2") + conv(relu(n1), "layer0_1to2")
        n3 = x + conv(relu(n1), "layer0_1to3") + conv(relu(n2), "layer0_2to3")
        cell = keras.Model(model.input, model.get_layer("layer0_node3").output)
        found = np.asarray(cell(image[None].astype(np.float32)))[0]
        np.testing.assert_allclose(found, n3, atol=1e-4)

    def test_gives_probabilities_and_trains(self):
        model = nats_bench_size(resolution=8, classes=4, channels=1).build((0,) * 5)
        images = np.random.default_rng(0).uniform(0, 255, (16, 8, 8, 1))
        images = images.astype(np.float32)
        labels = np.arange(16) % 4
        model.compile(
            keras.optimizers.Adam(0.01),
            keras.losses.SparseCategoricalCrossentropy(),
            run_eagerly=True,  # quicker than to trace so few steps
        )
        history = model.fit(images, labels, batch_size=16, epochs=6, verbose=0).history
        self.assertLess(history["loss"][-1], 0.9 * history["loss"][0])
        probabilities = np.asarray(model(images))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)

    @parameterized.parameters(
        ({"resolution": 30}, "resolution must be a multiple of 4, got 30"),
        ({"resolution": 0}, "resolution must be a multiple of 4, got 0"),
        ({"classes": 1}, "classes must be 2 or more, got 1"),
        ({"classes": 2.5}, "classes must be 2 or more, got 2.5"),
        ({"channels": 0}, "channels must be 1 or more, got 0"),
    )
    def test_bad_arguments_are_one_clear_line(self, arguments, message):
        with self.assertRaisesRegex(UserError, message):
            nats_bench_size(**arguments)


if __name__ == "__main__":
    absltest.main()
