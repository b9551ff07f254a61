"""Whatever the public commands are given is taken or refused in one line.

Random flags, budgets, JSON documents, tables and arrays, most of them a small change
away from good ones. `LAYERNAS_LONG_TESTS=1` throws ten thousand of them.
"""

from __future__ import annotations

import copy
import csv
import io
import json
import math
import os
import pathlib
import tempfile
from typing import Any

import numpy as np
from absl import flags
from absl.testing import absltest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layernas_tf import compare
from layernas_tf.algorithms.reward_shaping import RewardShape
from layernas_tf.comparison.compare import budget_of
from layernas_tf.comparison.runs import Setting
from layernas_tf.comparison.table_search import check_algorithms
from layernas_tf.core import app
from layernas_tf.core.errors import UserError
from layernas_tf.costs.latency import read_table, with_latency
from layernas_tf.datasets import load_dataset
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_file import check_resume
from layernas_tf.space.budget import parse_budget
from search_spaces.architecture_files import load_architecture
from search_spaces.registry import get_space, names
from search_spaces.tabular.burger import burger
from search_spaces.tabular.load import load_table
from tests.small_blocks import small_space, table_of

_LONG = bool(os.environ.get("LAYERNAS_LONG_TESTS"))
_TESTS = 13


def thrown(share: int = 1):
    """How many examples a test throws: together ten thousand when long."""
    count = 10_000 // _TESTS + 1 if _LONG else 60
    return settings(
        max_examples=max(1, count // share) if not _LONG else count,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


_NUMBERS = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([0, -1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e300]),
    st.floats(),
)
_WORDS = st.one_of(
    st.sampled_from(
        "|madds|<=|=|..|%|3M|50%|1e9|nan|inf|-1|0|burger|digits|x.py:f|npz:|folder:"
        "|tfds:|/|.|None|true|--|:|,|gp:0|random|\0|\n|ü|{}|[]".split("|")
    ),
    st.text(max_size=12),
)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3)
    ),
    max_leaves=5,
)


_ARCHIVE = {
    "x_train": np.arange(12 * 48, dtype=np.uint16)
    .astype(np.uint8)
    .reshape(12, 4, 4, 3),
    "y_train": np.arange(12) % 2,
    "x_test": np.arange(4 * 48, dtype=np.uint8).reshape(4, 4, 4, 3),
    "y_test": np.arange(4) % 2,
}
"""A good archive of images."""


def places(document: Any, path: tuple = ()) -> list[tuple]:
    """The paths to all parts of a JSON document."""
    found = [path]
    if isinstance(document, dict):
        for key in document:
            found += places(document[key], (*path, key))
    elif isinstance(document, list):
        for index in range(len(document)):
            found += places(document[index], (*path, index))
    return found


@st.composite
def damaged(draw, document: Any) -> Any:
    """A document with one to three parts replaced, removed or doubled."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(document)))
        if not path:
            if draw(st.integers(0, 9)) == 0:
                return draw(_VALUES)
            continue
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if how == "remove":
            del parent[path[-1]]
        elif how == "add" and isinstance(parent, list):
            parent.insert(path[-1], copy.deepcopy(parent[path[-1]]))
        elif how == "add":
            parent[draw(_WORDS)] = draw(_VALUES)
        else:
            parent[path[-1]] = draw(_VALUES)
    return document


@st.composite
def texts_of(draw, document: Any) -> bytes:
    """A damaged document as a file's bytes, now and then damaged as such."""
    content = json.dumps(draw(damaged(document))).encode()
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(content)))
        content = content[:cut] + draw(st.binary(max_size=4)) + content[cut + 1 :]
    return content


def architecture_file() -> dict[str, Any]:
    """A good architecture file."""
    space = get_space("mobilenet_v3_small", resolution=32, classes=10)
    return json.loads(json.dumps(space.to_json(space.default)))


class FuzzTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        self.path = folder / "file"

    def takes_or_refuses(self, call, *arguments, **named):
        """Calls it; what it raises must be one line for the user."""
        try:
            call(*arguments, **named)
        except UserError as error:
            self.assertNotEmpty(str(error))
            self.assertLess(len(str(error)), 3000)

    def written(self, content: bytes) -> str:
        self.path.write_bytes(content)
        return str(self.path)

    @thrown()
    @given(st.lists(_WORDS, max_size=4).map("".join) | st.text(max_size=20))
    def test_budgets(self, text):
        for space in (burger(), small_space()):
            self.takes_or_refuses(parse_budget, text, space)

    @thrown()
    @given(
        st.lists(
            st.tuples(
                st.sampled_from([*SearchConfig.__dataclass_fields__, "nope", ""]),
                _WORDS | _NUMBERS.map(str),
            ),
            max_size=4,
        )
    )
    def test_flags_of_the_search(self, given_flags):
        values = flags.FlagValues()
        app.define_flags(SearchConfig, values)
        arguments = [f"--{name}={value}" for name, value in given_flags]
        try:
            values(["search", *arguments])
        except flags.Error:  # `errors.run_main` gives it as one line
            return
        self.takes_or_refuses(app.from_flags, SearchConfig, values)

    @thrown()
    @given(
        st.lists(_WORDS, max_size=5).map("".join),
        st.integers(-1, 3),
        st.integers(-1, 3),
    )
    def test_lists_of_algorithms(self, text, runs, trials):
        self.takes_or_refuses(compare.parse_algorithms, text, runs, trials)

    @thrown(4)
    @given(
        st.sampled_from(["synthetic", "burger", "nats_sss", "nope"]),
        st.lists(
            st.tuples(
                st.sampled_from(["layers", "options", "units", "noise", "x", ""]),
                st.sampled_from(["=", "", "=="]),
                st.sampled_from("3 2 4 0 -1 1e9 nan x 0.5".split()),
            ).map("".join),
            max_size=3,
        ).map(",".join),
        _WORDS,
    )
    def test_benchmarks(self, benchmark, dataset, budget):
        def check():
            setting = Setting(benchmark, "", dataset, 90, (), RewardShape(), 0)
            table = compare.load(setting)
            budgets = [budget_of(budget, table)]
            table.best(budgets)
            check_algorithms(["layernas"], table, budgets, setting.shape)

        self.takes_or_refuses(check)

    @thrown()
    @given(texts_of(architecture_file()))
    def test_architecture_files(self, content):
        path = self.written(content)

        def check():
            space, architecture = load_architecture(path)
            space.costs(architecture)

        self.takes_or_refuses(check)

    @thrown()
    @given(
        st.sampled_from([*names(), "nope", "x.py:f"]) | _WORDS,
        st.dictionaries(
            st.sampled_from(["resolution", "classes", "channels", "stem_stride", "a"]),
            _VALUES,
            max_size=3,
        ),
    )
    def test_arguments_of_spaces(self, name, arguments):
        self.takes_or_refuses(lambda: get_space(name, **arguments).chain)

    @thrown()
    @given(texts_of(table_of(small_space())))
    def test_latency_tables(self, content):
        path = self.written(content)
        self.takes_or_refuses(
            lambda: with_latency(small_space(), read_table(path)).costs(
                small_space().default
            )
        )

    def test_good_files_are_taken(self):
        path = self.written(json.dumps(table_of(small_space())).encode())
        space = with_latency(small_space(), read_table(path))
        self.assertGreater(space.costs(space.default)["latency_ms"], 0)
        path = self.written(json.dumps(architecture_file()).encode())
        space, architecture = load_architecture(path)
        self.assertEqual(architecture, space.default)

    @thrown()
    @given(
        texts_of(
            {
                "00000000": {"test_acc": [1.0, 2.0, 3.0], "flops": 5, "params": 7},
                "00000001": {"acc": [1.0, 2.0, 3.0], "flops": 5.0, "params": 7},
            }
        ),
        st.sampled_from(["nas_bench_macro", "channel_bench_macro"]),
    )
    def test_tables_in_json(self, content, benchmark):
        self.takes_or_refuses(load_table, benchmark, self.written(content))

    @thrown()
    @given(
        damaged(
            [
                ["arch", "cifar10_valid", "cifar10_test", "mflops_c10", "params_m_c10"],
                ["8:8:8:8:8", "70.1", "71.2", "5.6", "0.1"],
                ["8:8:8:8:16", "70.1", "71.2", "5.6", "0.1"],
            ]
        )
    )
    def test_tables_in_csv(self, rows):
        text = io.StringIO()
        writer = csv.writer(text)
        for row in rows if isinstance(rows, list) else [[rows]]:
            writer.writerow(row if isinstance(row, list) else [row])
        content = text.getvalue().encode(errors="replace")
        self.takes_or_refuses(load_table, "nats_sss", self.written(content), "cifar10")

    @thrown()
    @given(texts_of(SearchConfig().to_json()))
    def test_configurations_of_workdirs(self, content):
        self.written(content)
        self.takes_or_refuses(check_resume, SearchConfig(), self.path)

    @thrown(2)
    @given(
        st.dictionaries(
            st.sampled_from(
                "x_train y_train x_test y_test x_val y_val images labels class_names "
                "classes eval_x z".split()
            ),
            st.tuples(
                st.lists(st.integers(0, 6), max_size=4),
                st.sampled_from(
                    ["u1", "u2", "i8", "f4", "f8", "?", "U3", "S2", "c8", "M8[D]"]
                ),
                st.integers(-2, 300),
            ),
            max_size=5,
        ),
        st.integers(0, 9),
        st.sampled_from([None, 0, 1, 16, -4]),
    )
    def test_arrays_of_images(self, arrays, damage, resolution):
        made = {}
        for name, (shape, kind, value) in arrays.items():
            made[name] = np.full(shape, 0, kind)
            if kind[0] in "uif" and math.prod(shape):
                made[name].flat[0] = np.array(value).astype(kind)
        path = self.path.with_suffix(".npz")
        np.savez(path, **made)
        if damage == 0:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        self.takes_or_refuses(load_dataset, f"npz:{path}", resolution=resolution)

    @thrown(2)
    @given(
        st.sampled_from(sorted(_ARCHIVE)),
        st.sampled_from(["layout", "type", "value", "shorter", "gone", "name"]),
        st.sampled_from(["u1", "i1", "u2", "i8", "f2", "f8", "?", "U3", "S2", "c8"]),
        st.lists(st.integers(-2, 70_000), min_size=1, max_size=3),
        st.lists(st.tuples(st.floats(0, 1), st.integers(1, 255)), max_size=3),
    )
    def test_archives_of_images_with_one_change(self, name, how, kind, values, flips):
        made = {key: array.copy() for key, array in _ARCHIVE.items()}
        array = made.pop(name)
        if how == "layout":
            order = np.random.default_rng(list(map(abs, values))).permutation(
                array.ndim
            )
            made[name] = array.transpose(order)
        elif how == "type":
            made[name] = array.astype(kind)
        elif how == "value":
            made[name] = array.astype(np.int64)
            made[name].flat[: len(values)] = values
        elif how == "shorter":
            made[name] = array[: values[0] % len(array)]
        elif how == "name":
            made[name[::-1]] = array
        path = self.path.with_suffix(".npz")
        np.savez_compressed(path, **made)
        content = bytearray(path.read_bytes())
        for place, mask in flips:
            content[round(place * (len(content) - 1))] ^= mask
        path.write_bytes(content)
        self.takes_or_refuses(load_dataset, f"npz:{path}", resolution=8)

    @thrown()
    @given(st.lists(_WORDS, max_size=3).map("".join))
    def test_names_of_data_sets(self, text):
        if text.startswith("digits"):
            return
        self.takes_or_refuses(load_dataset, text)


if __name__ == "__main__":
    absltest.main()
