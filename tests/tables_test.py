"""Benchmark tables: real ones where they are at hand, small written ones everywhere.

The public tables are looked for in the folder of LAYERNAS_TABLES, else in
../shared/data beside the repository.
"""

from __future__ import annotations

import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.space.budget import parse_budget
from layernas_tf.tabular.table import all_architectures
from search_spaces.tabular.load import load_table
from search_spaces.tabular.macro_bench import (
    channel_bench_macro_mobilenet,
    channel_bench_macro_resnet,
    nas_bench_macro,
)
from search_spaces.tabular.nats_bench import nats_bench_size
from search_spaces.tabular.nats_files import nats_names
from search_spaces.tabular.readers import macro_names

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLES = pathlib.Path(os.environ.get("LAYERNAS_TABLES") or ROOT.parent / "shared/data")
NATS_CSV = TABLES / "nats_sss_hp90.csv"
ARCHIVE = TABLES / "NATS-sss-v1_0-50262-simple"
NAS_MACRO = TABLES / "nas-bench-macro_cifar10.json"
CHANNEL_MACRO = TABLES / "channel-bench-macro_mobilenet.json"

# NATS-Bench size, 90 epochs: the best by validation within half of the largest
# network's FLOPs, and its test accuracy.
NATS_BEST = {
    "cifar10": (90.184, 93.34),
    "cifar100": (70.40, 70.32),
    "imagenet16": (45.567, 42.80),
}

# From the benchmark's archive: architecture 284 is 8:8:40:32:40.
NATS_284 = (0, 0, 4, 3, 4)
RECORD_284 = {
    "cifar10": {90: 86.796, 12: 79.3147, "test": 89.51},
    "cifar100": {90: 62.78, 12: 49.0133, "test": 62.70},
    "imagenet16": {90: 33.3333, 12: 26.8889, "test": 32.7667},
}


def _write_nats(path, scores=None, change=lambda rows: rows):
    """A table in the CSV's form: costs of the space, accuracies made up or given."""
    space = nats_bench_size(resolution=32, classes=10)
    costs = space.chain.costs(all_architectures(space))
    names = nats_names(space)
    scores = np.arange(len(names)) % 997 / 10 if scores is None else scores
    rows = [
        ["index", "arch", "cifar10_valid", "cifar10_test", "mflops_c10", "params_m_c10"]
    ]
    for index, name in enumerate(names):
        flops, params = costs["madds"][index] / 1e6, costs["params"][index] / 1e6
        rows.append([index, name, scores[index], scores[index] / 2, flops, params])
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(change(rows))
    return str(path)


def _write_macro(path, space, first_digit, key="acc", change=lambda records: records):
    costs = space.chain.costs(all_architectures(space))
    records = {}
    for index, name in enumerate(macro_names(space, first_digit)):
        accuracy = [float(index % 89), float(index % 97), float(index % 101)]
        records[name] = {
            key: accuracy,
            "mean": sum(accuracy) / 3,
            "flops": int(costs["madds"][index]),
            "params": int(costs["params"][index]),
        }
    path.write_text(json.dumps(change(records)), encoding="utf-8")
    return str(path)


class TablesTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_csv_rows_are_found_whatever_their_order(self):
        def shuffle(rows):
            order = np.random.default_rng(0).permutation(len(rows) - 1) + 1
            return [rows[0]] + [rows[i] for i in order]

        table = load_table(
            "nats_sss", _write_nats(self.folder / "t.csv", None, shuffle)
        )
        self.assertEqual(table.space.size, 32768)
        for index in (0, 1, 284, 32767):
            architecture = tuple(int(digit) for digit in f"{index:05o}")
            row = table.query(architecture)
            self.assertAlmostEqual(row.valid, index % 997 / 10)
            self.assertAlmostEqual(row.test, index % 997 / 20)

    def test_best_is_the_best_valid_inside_every_budget(self):
        rng = np.random.default_rng(1)
        scores = rng.uniform(0, 100, 32768)
        table = load_table("nats_sss", _write_nats(self.folder / "t.csv", scores))
        budgets = [
            parse_budget("madds<=40%", table.space),
            parse_budget("params=0.2M..0.3M", table.space),
        ]
        best = table.best(budgets)
        inside = [
            index
            for index, a in enumerate(all_architectures(table.space).tolist())
            if index % 31 == 0 or scores[index] >= best.valid
            if all(b.holds(table.space.costs(tuple(a))) for b in budgets)
        ]
        self.assertGreater(len(inside), 20)
        self.assertEqual(best.valid, max(scores[index] for index in inside))

    def test_best_without_any_architecture_inside_says_so(self):
        table = load_table("burger")
        budgets = [
            parse_budget("price<=4", table.space),
            parse_budget("price=8..9", table.space),
        ]
        with self.assertRaisesRegex(UserError, "no architecture .* price<=4 and pri"):
            table.best(budgets)

    @parameterized.parameters(
        (
            lambda rows: rows[:100],
            "incomplete: 99 of 32,768 .* missing is '8:8:16:40:32'",
        ),
        (lambda rows: [rows[0][:3], *rows[1:]], "column 'cifar10_test' is missing"),
        (lambda rows: [], "line 1: column 'arch' is missing"),
        (
            lambda rows: rows[:5] + [rows[1]],
            "line 6: architecture '8:8:8:8:8' is given twice",
        ),
        (
            lambda rows: [rows[0], [0, "8:9:8:8:8", 1, 1, 1, 1]],
            "line 2: architecture '8:9:8:8:8' is not of the form",
        ),
        (lambda rows: rows[:2] + [rows[2][:4]], "line 3: expected 6 cells, got 4"),
        (
            lambda rows: rows[:1] + [[0, "8:8:8:8:8", "high", 1, 1, 1]],
            "line 2: expected numbers for .*got .'high'",
        ),
        (
            lambda rows: rows[:1] + [[*rows[1][:2], "nan", *rows[1][3:]]] + rows[2:],
            "architecture '8:8:8:8:8': expected finite numbers",
        ),
        (
            lambda rows: rows[:1] + [[*rows[1][:4], 1.5, rows[1][5]]] + rows[2:],
            "'8:8:8:8:8' has 1,500,000 FLOPs, expected 4,481,114",
        ),
    )
    def test_broken_csv_is_one_line_with_file_fault_and_expectation(
        self, change, fault
    ):
        path = _write_nats(self.folder / "broken.csv", None, change)
        with self.assertRaisesRegex(UserError, f"broken.csv: .*{fault}") as caught:
            load_table("nats_sss", path)
        self.assertNotIn("\n", str(caught.exception))

    def test_binary_file_is_refused(self):
        path = self.folder / "t.csv"
        path.write_bytes(bytes(range(256)) * 4)
        with self.assertRaisesRegex(UserError, "cannot be read .*expected a CSV file"):
            load_table("nats_sss", str(path))

    def test_csv_of_another_dataset_is_refused(self):
        def rename(rows):
            header = [name.replace("cifar10", "cifar100") for name in rows[0]]
            return [[name.replace("c10", "c100") for name in header], *rows[1:]]

        path = _write_nats(self.folder / "t.csv", None, rename)
        with self.assertRaisesRegex(UserError, "4,481,114 FLOPs, expected 4,481,924"):
            load_table("nats_sss", path, "cifar100")

    @parameterized.parameters(
        ("nas_bench_macro", nas_bench_macro, 0, "test_acc"),
        ("channel_bench_macro", channel_bench_macro_mobilenet, 1, "acc"),
        ("channel_bench_macro", channel_bench_macro_resnet, 1, "acc"),
    )
    def test_macro_signal_is_the_first_run_and_test_the_mean_of_the_others(
        self, benchmark, make_space, first_digit, key
    ):
        space = make_space()
        path = _write_macro(self.folder / "t.json", space, first_digit, key)
        table = load_table(benchmark, path)
        self.assertEqual(table.space.name, space.name)
        for index in (0, 100, 6000, 6560):
            architecture = tuple(all_architectures(space)[index].tolist())
            row = table.query(architecture)
            self.assertEqual(row.valid, index % 89)
            self.assertEqual(row.test, (index % 97 + index % 101) / 2)

    @parameterized.parameters(
        (lambda r: {}, "expected a JSON object by architecture"),
        (lambda r: [1], "expected a JSON object by architecture"),
        (
            lambda r: dict(list(r.items())[1:]),
            "incomplete: 6,560 of 6,561 .*'00000000'",
        ),
        (lambda r: r | {"3": r["00000000"]}, "architecture '3' is not of the form"),
        (
            lambda r: r | {"00000001": {"acc": [1, 2], "flops": 1, "params": 1}},
            "'00000001': expected three accuracies",
        ),
        (lambda r: r | {"00000001": 5}, "'00000001': expected three accuracies"),
        (
            lambda r: r | {"00000001": r["00000001"] | {"params": 7}},
            "'00000001' has 7 params, expected",
        ),
    )
    def test_broken_json_is_one_line_with_file_fault_and_expectation(
        self, change, fault
    ):
        path = _write_macro(
            self.folder / "broken.json", nas_bench_macro(), 0, "test_acc", change
        )
        with self.assertRaisesRegex(UserError, f"broken.json: .*{fault}") as caught:
            load_table("nas_bench_macro", path)
        self.assertNotIn("\n", str(caught.exception))

    def test_cut_off_json_is_refused(self):
        path = self.folder / "cut.json"
        path.write_text('{"00000000": {"test_acc": [89.4', encoding="utf-8")
        with self.assertRaisesRegex(UserError, "cut.json: cannot be read"):
            load_table("nas_bench_macro", str(path))

    def test_channel_table_of_neither_network_is_refused(self):
        path = _write_macro(self.folder / "t.json", nas_bench_macro(), 0)
        with self.assertRaisesRegex(UserError, "'4444444' must have .* or .* got None"):
            load_table("channel_bench_macro", path)

    @parameterized.parameters(
        (
            ("nats",),
            {},
            "'nats': expected one of nats_sss, .*file.py:function",
        ),
        (("nats_sss",), {}, "no table given, expected the path"),
        (("nats_sss", "nowhere.csv"), {}, "no file 'nowhere.csv'"),
        (("nats_sss", "x", "svhn"), {}, "no dataset 'svhn': expected one of cifar10"),
        (("nas_bench_macro", "x", "cifar100"), {}, "expected one of cifar10"),
        (("nats_sss", "x"), {"signal_hp": 1}, "signal_hp must be 12 or 90, got 1"),
        (("burger",), {"signal_hp": 12}, "is for nats_sss only"),
    )
    def test_what_cannot_be_loaded_is_one_clear_line(self, arguments, options, message):
        with self.assertRaisesRegex(UserError, message):
            load_table(*arguments, **options)

    def test_csv_has_no_12_epoch_signal(self):
        path = self.folder / "t.csv"
        path.write_text("arch\n", encoding="utf-8")
        with self.assertRaisesRegex(UserError, "90-epoch accuracies only"):
            load_table("nats_sss", str(path), signal_hp=12)

    def test_folder_that_is_no_archive_is_refused(self):
        with self.assertRaisesRegex(UserError, "meta.pickle.pbz2: cannot be read"):
            load_table("nats_sss", str(self.folder))
        (self.folder / "meta.pickle.pbz2").write_bytes(b"BZh9 not a pickle")
        with self.assertRaisesRegex(UserError, "meta.pickle.pbz2: cannot be read"):
            load_table("nats_sss", str(self.folder))

    def test_tables_load_without_tensorflow(self):
        code = (
            "import sys; from search_spaces.tabular.load import load_table; "
            "load_table('burger'); load_table('synthetic'); "
            "assert not {'tensorflow', 'keras', 'torch'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


class PublicTablesTest(parameterized.TestCase):
    """On the public files, and where there are none on the same facts of the space."""

    @parameterized.parameters(*NATS_BEST)
    def test_nats_best_within_half_of_the_flops_is_the_known_one(self, dataset):
        if not NATS_CSV.exists():
            self.assertEqual(_nats_space(dataset).default, (7, 7, 7, 7, 7))
            return
        start = time.perf_counter()
        table = load_table("nats_sss", str(NATS_CSV), dataset)
        self.assertLess(time.perf_counter() - start, 5)
        best = table.best([parse_budget("madds<=50%", table.space)])
        self.assertAlmostEqual(best.valid, NATS_BEST[dataset][0], places=3)
        self.assertAlmostEqual(best.test, NATS_BEST[dataset][1], places=3)

    @parameterized.product(dataset=list(RECORD_284), signal_hp=(12, 90))
    def test_archive_gives_its_records_and_says_what_it_lacks(self, dataset, signal_hp):
        if not ARCHIVE.is_dir():
            costs = _nats_space(dataset).costs(NATS_284)
            self.assertEqual(costs["params"], _PARAMS_284[dataset])
            return
        table = load_table("nats_sss", str(ARCHIVE), dataset, signal_hp=signal_hp)
        row = table.query(NATS_284)
        self.assertAlmostEqual(row.valid, RECORD_284[dataset][signal_hp], places=3)
        self.assertAlmostEqual(row.test, RECORD_284[dataset]["test"], places=3)
        self.assertEqual(table.best().architecture, NATS_284)
        with self.assertRaisesRegex(
            UserError,
            r"simple: there is no record of architecture \(0, 0, 0, 0, 1\) "
            r"\(index 1\): it holds 3 of 32,768 records",
        ):
            table.query((0, 0, 0, 0, 1))

    def test_archive_and_csv_agree(self):
        if not (ARCHIVE.is_dir() and NATS_CSV.exists()):
            self.assertEqual(_nats_space("cifar10").costs(NATS_284)["madds"], 21827994)
            return
        for dataset in NATS_BEST:
            archive = load_table("nats_sss", str(ARCHIVE), dataset)
            table = load_table("nats_sss", str(NATS_CSV), dataset)
            for index in np.flatnonzero(~np.isnan(archive.valid)):
                self.assertAlmostEqual(
                    archive.valid[index], table.valid[index], places=3
                )
                self.assertAlmostEqual(archive.test[index], table.test[index], places=3)

    @parameterized.parameters(
        ("nas_bench_macro", NAS_MACRO, nas_bench_macro, 92.490),
        ("channel_bench_macro", CHANNEL_MACRO, channel_bench_macro_mobilenet, 91.900),
    )
    def test_macro_best_within_half_of_the_flops_is_the_known_one(
        self, benchmark, path, make_space, valid
    ):
        space = make_space()
        half = parse_budget("madds<=50%", space)
        self.assertEqual(half.high * 2, space.chain.most_expensive((), "madds"))
        if path.exists():
            table = load_table(benchmark, str(path))
            self.assertAlmostEqual(table.best([half]).valid, valid, places=2)


_PARAMS_284 = {"cifar10": 144834, "cifar100": 148524, "imagenet16": 149344}


def _nats_space(dataset):
    resolution, classes = {
        "cifar10": (32, 10),
        "cifar100": (32, 100),
        "imagenet16": (16, 120),
    }[dataset]
    return nats_bench_size(resolution=resolution, classes=classes)


if __name__ == "__main__":
    absltest.main()
