"""NATS-Bench topology: exact costs of a cell's edges, its CSV file and its archive."""

from __future__ import annotations

import csv
import os
import pathlib
import tempfile

import numpy as np
from absl.testing import absltest, parameterized
from nats_bench.api_utils import pickle_save

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import parse_budget
from layernas_tf.tabular.table import all_architectures
from search_spaces.tabular.load import load_table
from search_spaces.tabular.nats_topology import (
    OPERATIONS,
    nats_bench_topology,
    topology_names,
)

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLES = pathlib.Path(os.environ.get("LAYERNAS_TABLES") or ROOT.parent / "shared/data")
CSV = TABLES / "nats_tss.csv"

CONVOLUTIONS = (4, 4, 2, 1, 4, 1)
"""|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|..."""

BEST = {  # of the whole table: best 12-epoch validation, its 200-epoch test
    "cifar10": (84.892, 94.373),
    "cifar100": (61.320, 72.280),
    "imagenet16": (38.667, 46.478),
}


def _result(seed, sets, costs, epochs, accuracies):
    """A training in the archive's form, as the package reads it."""
    flops, params = costs
    last = epochs - 1
    return {
        "name": "made up",
        "train_acc1es": {last: 1.0},
        "train_acc5es": {last: 1.0},
        "train_losses": {last: 1.0},
        "train_times": dict.fromkeys(range(epochs), 1.0),
        "arch_config": {"class_num": 10},
        "params": params / 1e6,
        "flop": flops / 1e6,
        "seed": seed,
        "epochs": epochs,
        "latency": [0.01],
        "eval_names": list(sets),
        "eval_acc1es": {
            f"{name}@{last}": value for name, value in zip(sets, accuracies)
        },
        "eval_losses": {f"{s}@{last}": 1.0 for s in sets},
        "eval_times": {f"{s}@{e}": 1.0 for s in sets for e in range(epochs)},
    }


def _record(index, name, costs, valid, test, seeds=(777, 888)):
    """A record of CIFAR-10: seeds differ by two points in `valid`."""
    record = {}
    for hp, epochs in (("12", 12), ("200", 200)):
        results = {}
        for number, seed in enumerate(seeds):
            shift = 2 * number - 1
            results["cifar10-valid", seed] = _result(
                seed, ["x-valid"], costs, epochs, [valid + shift + (epochs - 12)]
            )
            results["cifar10", seed] = _result(
                seed, ["ori-test"], costs, epochs, [test + epochs - 200]
            )
        record[hp] = {
            "arch_index": index,
            "arch_str": name,
            "all_results": results,
            "dataset_seed": {
                "cifar10-valid": list(seeds),
                "cifar10": list(seeds),
            },
            "clear_net_done": True,
        }
    return record


class SpaceTest(parameterized.TestCase):
    def test_default_is_the_most_expensive_cell_with_the_published_size(self):
        space = nats_bench_topology()
        costs = space.costs(space.default)
        self.assertEqual(space.size, 15625)
        self.assertEqual(costs["madds"], space.chain.most_expensive((), "madds"))
        self.assertEqual(round(costs["madds"] / 1e6, 1), 220.1)
        self.assertEqual(round(costs["params"] / 1e6, 3), 1.532)

    @parameterized.parameters(
        # From the papers' and the package's examples, in millions.
        (CONVOLUTIONS, 113.95, 2, 0.802, 3),
        ((3, 0, 3, 0, 0, 0), 15.64737, 6, 0.129306, 6),
    )
    def test_costs_are_the_published_ones(self, cell, flops, digits, params, places):
        costs = nats_bench_topology().costs(cell)
        self.assertEqual(round(costs["madds"] / 1e6, digits), flops)
        self.assertEqual(round(costs["params"] / 1e6, places), params)

    def test_an_edge_costs_the_same_wherever_it_is(self):
        space = nats_bench_topology(resolution=16, classes=120)
        empty = space.costs((0,) * 6)
        for option in range(len(OPERATIONS)):
            cells = [(0,) * e + (option,) + (0,) * (5 - e) for e in range(6)]
            madds = {space.costs(cell)["madds"] - empty["madds"] for cell in cells}
            self.assertLen(madds, 1)

    def test_names_are_the_benchmarks_in_the_order_of_the_rows(self):
        space = nats_bench_topology()
        names = topology_names(space)
        self.assertLen(set(names), space.size)
        row = all_architectures(space).tolist().index(list(CONVOLUTIONS))
        self.assertEqual(
            names[row],
            "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|"
            "nor_conv_3x3~1|skip_connect~2|",
        )

    def test_resolution_that_two_strides_do_not_divide_is_refused(self):
        with self.assertRaisesRegex(UserError, "resolution must be a multiple of 4"):
            nats_bench_topology(resolution=30)


class FilesTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def _csv(self, change=lambda rows: rows) -> str:
        names = topology_names(nats_bench_topology())
        order = np.random.default_rng(0).permutation(len(names))
        rows = [["index", "arch", "cifar10_valid12", "cifar10_test200"]]
        rows += [[i, names[i], i / 200, i / 400] for i in order]
        path = self.folder / "tss.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(change(rows))
        return str(path)

    def test_signal_is_twelve_epochs_and_two_hundred_are_reported(self):
        table = load_table("nats_tss", self._csv())
        row = table.query((4, 4, 4, 4, 4, 3))
        self.assertEqual((row.valid, row.test), (15623 / 200, 15623 / 400))
        self.assertEqual(table.best().architecture, table.space.default)
        self.assertEqual((table.benchmark, table.metric), ("nats_tss", "madds"))

    @parameterized.parameters(
        (lambda rows: rows[:9], "incomplete: 8 of 15,625"),
        (lambda rows: [rows[0][:3]] + rows[1:], "column 'cifar10_test200' is missing"),
        (
            lambda rows: [rows[0], [0, "|none~0|", 1, 1]],
            "line 2: architecture '.none~0.' is not of the form .none~0.+",
        ),
    )
    def test_broken_csv_is_one_line(self, change, fault):
        path = self._csv(change)
        with self.assertRaisesRegex(UserError, f"tss.csv: .*{fault}") as caught:
            load_table("nats_tss", path)
        self.assertNotIn("\n", str(caught.exception))

    def _archive(self, shift=0.0) -> list[tuple[int, ...]]:
        """An archive of two cells, in an order that is not ours."""
        space = nats_bench_topology()
        names = topology_names(space)
        order = np.random.default_rng(1).permutation(len(names)).tolist()
        ours = all_architectures(space)
        for number in (5, 17):
            costs = space.costs(tuple(ours[order[number]].tolist()))
            name = names[order[number]]
            costs = costs["madds"] + shift, costs["params"]
            record = _record(number, name, costs, 60.0 + number, 80.0 + number)
            pickle_save(record, str(self.folder / f"{number:06d}.pickle"))
        meta = {"meta_archs": [names[i] for i in order], "total_archs": len(names)}
        pickle_save(meta, str(self.folder / "meta.pickle"))
        return [tuple(ours[order[number]].tolist()) for number in (5, 17)]

    def test_archive_gives_means_over_seeds_whatever_its_order(self):
        cells = self._archive()
        table = load_table("nats_tss", str(self.folder), "cifar10")
        for cell, number in zip(cells, (5, 17)):
            row = table.query(cell)
            self.assertAlmostEqual(row.valid, 60.0 + number)
            self.assertAlmostEqual(row.test, 80.0 + number)
        self.assertEqual(table.best().architecture, cells[1])
        with self.assertRaisesRegex(UserError, "it holds 2 of 15,625 records"):
            table.query((0,) * 6)

    def test_archive_of_other_costs_is_refused(self):
        self._archive(shift=7)
        with self.assertRaisesRegex(UserError, "FLOPs, expected .* another space"):
            load_table("nats_tss", str(self.folder), "cifar10")

    def test_archive_of_the_size_space_is_refused(self):
        meta = {"meta_archs": ["8:8:8:8:8"], "total_archs": 1}
        pickle_save(meta, str(self.folder / "meta.pickle"))
        with self.assertRaisesRegex(UserError, "15,625 architectures of NATS-Bench t"):
            load_table("nats_tss", str(self.folder))

    @parameterized.parameters(*BEST)
    def test_public_file_has_the_published_best(self, dataset):
        if not CSV.exists():
            self.assertLen(topology_names(nats_bench_topology()), 15625)
            return
        table = load_table("nats_tss", str(CSV), dataset)
        best = table.best()
        self.assertAlmostEqual(best.valid, BEST[dataset][0], places=3)
        self.assertAlmostEqual(best.test, BEST[dataset][1], places=3)
        half = parse_budget("madds<=50%", table.space)
        inside = table.space.costs(table.best([half]).architecture)["madds"]
        self.assertLessEqual(inside, half.high)


if __name__ == "__main__":
    absltest.main()
