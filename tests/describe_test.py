"""The description of a space and of an architecture, as its users run it."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest

from layernas_tf.describe import layer_table, offer_text
from layernas_tf.space.types import Layer, Option
from search_spaces.mobile.mobilenet_v3 import mobilenet_v3_small
from search_spaces.tabular.burger import burger


def _describe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "layernas_tf.describe", *arguments],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).resolve().parent.parent,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONIOENCODING": "utf-8",
        },
    )


def _row(output: str, first: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.split()[:1] == [first])
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


class DescribeTest(absltest.TestCase):
    def _file(self, content: object) -> str:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        path = pathlib.Path(folder) / "architecture.json"
        text = content if isinstance(content, str) else json.dumps(content)
        path.write_text(text, encoding="utf-8")
        return str(path)

    def test_default_architecture_of_a_network_space(self):
        finished = _describe(
            "--space=mobilenet_v3_small", "--resolution=32", "--classes=10"
        )

        self.assertEqual(finished.returncode, 0, finished.stderr)
        space = mobilenet_v3_small(resolution=32, classes=10)
        output = finished.stdout
        self.assertIn(f"{space.size:,} architectures", output)
        for step in space.steps(space.default):
            row = _row(output, step.layer.name)
            self.assertEqual(row[1], step.option.label)
            after = step.after
            self.assertEqual(row[3], f"{after.height}×{after.width}×{after.channels}")
        for metric in space.metrics:
            self.assertEqual(
                _row(output, metric.name)[3:],
                [
                    f"{cost:,.0f}"
                    for cost in (
                        space.costs(space.default)[metric.name],
                        space.chain.cheapest((), metric.name),
                        space.chain.most_expensive((), metric.name),
                    )
                ],
            )

    def test_architecture_file_names_its_space_and_arguments(self):
        space = mobilenet_v3_small(resolution=48, classes=7)
        cheapest = tuple(0 for _ in space.layers)
        path = self._file(space.to_json(cheapest))

        finished = _describe(f"--architecture={path}")

        self.assertEqual(finished.returncode, 0, finished.stderr)
        self.assertIn("resolution=48, classes=7", finished.stdout)
        self.assertEqual(_row(finished.stdout, "stage2_block2")[1], "drop")
        total = f"{space.costs(cheapest)['madds'] / 1e6:.4g}M"
        self.assertIn(total, _row(finished.stdout, "whole"))

    def test_shares_of_the_cost_add_up(self):
        space = mobilenet_v3_small(resolution=32, classes=10)
        table = layer_table(space, space.default)
        share = next(c for c in table.columns if str(c.header).startswith("share"))

        shares = [float(cell.removesuffix(" %")) for cell in share.cells]
        self.assertAlmostEqual(sum(shares), 100.0, delta=0.05 * len(shares))

    def test_space_that_is_no_network_has_no_shapes(self):
        headers = [str(c.header) for c in layer_table(burger(), (0, 1, 2)).columns]

        self.assertNotIn("output", headers)
        self.assertIn("price [dollars]", headers)

    def test_offer_lists_each_attribute_once(self):
        options = [Option.of(drop=True)]
        options += [
            Option.of(kernel=k, expansion=e, se=se)
            for k in (5, 3)
            for e in (6, 2.5)
            for se in (False, True)
        ]
        layer = Layer("block", tuple(options), 0, lambda state, option: (state, {}))

        self.assertEqual(offer_text(layer), "9: drop, k3 5, e2.5 6, se")

    def test_wrong_input_is_one_line(self):
        other = burger()
        foreign = {"space": "code.py:run", "arguments": {}, "architecture": [0]}
        cases = [
            ((f"--architecture={self._file(foreign)}",), "give --space="),
            ((), "--space=NAME or --architecture=FILE"),
            (("--space=nonesuch",), "nonesuch"),
            (("--architecture=missing.json",), "missing.json"),
            ((f"--architecture={self._file('{')}",), "not JSON"),
            ((f"--architecture={self._file([1])}",), "expected an object"),
            (
                (
                    "--space=mobilenet_v3_small",
                    f"--architecture={self._file(other.to_json(other.default))}",
                ),
                "burger",
            ),
        ]
        for arguments, expected in cases:
            with self.subTest(arguments):
                finished = _describe(*arguments)
                self.assertEqual(finished.returncode, 2)
                self.assertIn(expected, finished.stderr)
                self.assertLen(finished.stderr.strip().splitlines(), 1)
                self.assertStartsWith(finished.stderr, "error: ")

    def test_flags_win_over_the_file(self):
        space = mobilenet_v3_small(resolution=48, classes=7)
        path = self._file(space.to_json(space.default))
        finished = _describe(f"--architecture={path}", "--classes=9")

        self.assertEqual(finished.returncode, 0, finished.stderr)
        self.assertIn("resolution=48", finished.stdout)
        self.assertIn("classes=9", finished.stdout)

    def test_no_tensorflow_is_loaded(self):
        program = (
            "import sys, layernas_tf.describe, search_spaces.registry\n"
            "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
        )
        finished = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

        self.assertEqual(finished.stdout.split(), ["False", "False"], finished.stderr)


if __name__ == "__main__":
    absltest.main()
