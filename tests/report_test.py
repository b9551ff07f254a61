"""The report says in its figures and tables what the run's data say."""

from __future__ import annotations

import dataclasses
import functools
import html.parser
import json
import os
import pathlib
import stat
import tempfile

import numpy as np
import plotly.graph_objects as go
from absl.testing import absltest

from layernas_tf.report import (
    ExportedFile,
    FamilyMember,
    LayerEffects,
    MemorialCell,
    MemorialSnapshot,
    ReportData,
    ReportTrial,
    TrainedNetwork,
    report_html,
    write_report,
)
from layernas_tf.report.effects import effects_by_attribute
from layernas_tf.report.figures import DRAWN, improvements, pareto_front
from layernas_tf.report.headline import headline
from layernas_tf.space.budget import inside, parse_budget
from search_spaces.mobile.mobilenet_v3 import mobilenet_v3_small
from search_spaces.tabular.burger import burger


class _Page(html.parser.HTMLParser):
    """Figures, table rows and visible text of a page; checks that elements nest."""

    _VOID = ("meta", "br", "link", "img")

    def __init__(self, text: str):
        super().__init__()
        self.charts: dict[str, dict] = {}
        self.rows: list[list[str]] = []
        self.text = ""
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.external: list[str] = []
        self._open: list[str] = []
        self._chart: str | None = None
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag not in self._VOID:
            self._open.append(tag)
        self.ids.add(attributes.get("id"))
        self.external += [
            attributes[name] for name in ("src", "data") if name in attributes
        ]
        if tag == "a":
            self.links.append(attributes["href"])
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._chart = attributes.get("data-chart")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, tag

    def handle_data(self, data):
        if self._chart is not None:
            self.charts[self._chart] = json.loads(data)
            self._chart = None
        elif self._open and self._open[-1] not in ("script", "style"):
            self.text += data
            if "td" in self._open or "th" in self._open:
                self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        return next(row for row in self.rows if row and row[0] == first)


def _traces(figure: dict) -> dict[str, dict]:
    return {trace.get("name", trace["type"]): trace for trace in figure["data"]}


_BUCKET = 150_000


@functools.cache
def _search() -> ReportData:
    """A random search on a made-up reward, a few trials failing."""
    space = mobilenet_v3_small(resolution=32, classes=10)
    budgets = (parse_budget("madds<=80%", space),)
    rng = np.random.default_rng(0)
    effects = [rng.normal(0, 0.01, len(layer.options)) for layer in space.layers]
    done = []
    for number in range(120):
        architecture = tuple(
            layer.default
            if rng.random() < 0.5
            else int(rng.integers(len(layer.options)))
            for layer in space.layers
        )
        failed = number % 40 == 7
        reward = 0.8 + sum(e[i] for e, i in zip(effects, architecture))
        done.append(
            ReportTrial(
                number,
                architecture,
                space.costs(architecture),
                None if failed else reward,
                "failed" if failed else "complete",
                "loss is <NaN> & rising" if failed else "",
            )
        )
    complete = [trial for trial in done if trial.reward is not None]
    within = [trial for trial in complete if inside(budgets, trial.costs)]
    winner = max(within, key=lambda trial: trial.reward).architecture
    rows: dict[str, dict[int, MemorialCell]] = {}
    for depth, layer in enumerate(space.searched_layers):
        row = rows.setdefault(space.layers[layer].name, {})
        # Later layers have seen fewer candidates.
        for trial in sorted(complete[depth * 8 :], key=lambda trial: trial.reward):
            bucket = int(trial.costs["madds"] // _BUCKET)
            low = bucket * _BUCKET
            row[bucket] = MemorialCell(
                low, low + _BUCKET, trial.reward, trial.architecture
            )
    return ReportData(
        space=space,
        budgets=budgets,
        trials=tuple(done),
        dataset="digits",
        algorithm="layernas",
        winner=winner,
        trained=(
            TrainedNetwork(
                "winner",
                winner,
                space.costs(winner),
                3,
                0.8,
                0.95,
                0.9321,
                61.0,
                test_interval=(0.901, 0.954),
                expected_quality=0.79,
                trainings=3,
                epochs=8,
            ),
            TrainedNetwork(
                "default network",
                space.default,
                space.costs(space.default),
                valid_accuracy=0.94,
                test_accuracy=0.921,
            ),
        ),
        baseline_name="default network",
        verdict="The winner is 1.1 points above the default network.",
        memorial=MemorialSnapshot("madds", rows),
        effects=tuple(
            LayerEffects(space.layers[i].name, tuple(effects[i]))
            for i in space.searched_layers
        ),
        files=(
            ExportedFile(
                "winner/model_int8.tflite",
                "TFLite int8",
                412_345,
                test_accuracy=0.931,
                agreement=0.9912,
                difference=-0.0011,
                difference_interval=(-0.0072, 0.005),
                latency_ms=1.234,
            ),
        ),
        config={"space": "mobilenet_v3_small", "trials": 120, "seed": 0},
        versions={"keras": "3.15.1"},
        seconds={"search": 125.0},
        notes=("Only <two> seeds were tried.",),
        made="2026-01-02",
    )


class ReportTest(absltest.TestCase):
    def test_page_is_whole_and_needs_no_network(self):
        text = report_html(_search())
        page = _Page(text)

        self.assertEmpty(page.external)
        self.assertNotIn("@import", text)
        for link in page.links:
            self.assertIn(link.removeprefix("#"), page.ids)
        self.assertEqual(text.count("plotly.js v"), 1)
        self.assertIn('name="viewport"', text)
        self.assertIn("prefers-color-scheme: dark", text)
        self.assertIn("@media print", text)

    def test_every_figure_is_valid_for_plotly(self):
        page = _Page(report_html(_search()))

        self.assertContainsSubset({"trials", "cost-madds", "memorial"}, page.charts)
        for figure in page.charts.values():
            go.Figure(figure)  # raises on an unknown or malformed property

    def test_headline_is_the_verdict_and_what_the_winner_costs(self):
        data = _search()
        cost = data.space.costs(data.winner)["madds"]

        sentence = headline(data)

        self.assertStartsWith(sentence, data.verdict)
        self.assertIn("93.21 % test accuracy", sentence)
        self.assertIn(f"{cost / 1e6:.4g}M MAdds of the 4.402M allowed", sentence)
        page = _Page(report_html(data))
        self.assertIn("90.1 to 95.4 % (95 % interval)", page.text)
        self.assertIn("+1.11 points against the default network", page.text)
        # A scaled default has the same option indices; it is not the default network.
        scaled = dataclasses.replace(
            data.trained[1], name="width 0.70", costs={"madds": cost / 2}
        )
        changed = dataclasses.replace(data, trained=(data.trained[0], scaled))
        share = cost / data.space.costs(data.space.default)["madds"]
        less = f"{100 * (1 - share):.0f} % less than the default network"
        self.assertIn(less, _Page(report_html(changed)).text)

    def test_trials_figure_shows_all_trials_and_the_running_best(self):
        data = _search()
        traces = _traces(_Page(report_html(data)).charts["trials"])
        complete = [trial for trial in data.trials if trial.reward is not None]
        within = [trial for trial in complete if inside(data.budgets, trial.costs)]

        self.assertLen(traces["inside the budget"]["x"], len(within))
        self.assertLen(traces["outside the budget"]["x"], len(complete) - len(within))
        self.assertEqual(traces["failed"]["x"], [7, 47, 87])
        best = traces["best so far inside"]["y"]
        self.assertEqual(best, sorted(best))
        self.assertAlmostEqual(best[-1], 100 * max(t.reward for t in within), places=4)
        self.assertEqual(traces["best so far inside"]["x"][-1], 119)

    def test_the_best_reward_has_a_band_for_its_validation_images(self):
        data = dataclasses.replace(_search(), valid_images=500)
        traces = _traces(_Page(report_html(data)).charts["trials"])
        best, high = traces["best so far inside"], traces["its 95 % interval"]

        self.assertEqual(best["x"], high["x"])
        for reward, end in zip(best["y"], high["y"]):
            share = reward / 100
            width = 1.96 * (share * (1 - share) / 500) ** 0.5
            self.assertAlmostEqual(end, 100 * (share + width), delta=0.4)
        taste = dataclasses.replace(data, reward_is_share=False)
        traces = _traces(_Page(report_html(taste)).charts["trials"])
        self.assertNotIn("its 95 % interval", traces)

    def test_winners_and_baselines_have_error_bars(self):
        data = _search()
        winner, baseline = data.trained
        cheaper = dataclasses.replace(
            winner,
            costs={**winner.costs, "madds": 1e6},
            test_accuracy=0.9,
            test_interval=(0.88, 0.92),
        )
        worse = dataclasses.replace(cheaper, costs={**winner.costs, "madds": 2e6})
        members = [
            FamilyMember("madds<=80%", winner, baseline, "It is better."),
            FamilyMember("madds<=50%", worse, None, "It is worse."),
            FamilyMember("madds<=30%", cheaper, None, "None can be told."),
        ]
        page = _Page(report_html(dataclasses.replace(data, family=tuple(members))))
        figure = page.charts["family"]
        go.Figure(figure)
        traces = _traces(figure)

        self.assertLen(traces["winner"]["x"], 3)
        self.assertEqual(traces["Pareto front"]["x"], [1e6, winner.costs["madds"]])
        bars = traces["winner"]["error_y"]
        self.assertAlmostEqual(bars["array"][2], 2.0)
        self.assertAlmostEqual(bars["arrayminus"][0], 93.21 - 90.1)
        self.assertEqual(traces["baseline"]["y"], [92.1])
        self.assertIn("madds<=30%: None can be told.", page.text)
        self.assertNotIn("family", _Page(report_html(data)).charts)

    def test_cost_figure_marks_budget_front_winner_and_default(self):
        data = _search()
        figure = _Page(report_html(data)).charts["cost-madds"]
        traces = _traces(figure)
        budget = data.budgets[0].high

        self.assertEqual(set(traces["budget 4.402M"]["x"]), {budget})
        self.assertEqual(figure["layout"]["shapes"][0]["x1"], budget)
        self.assertEqual(
            traces["winner"]["x"], [data.space.costs(data.winner)["madds"]]
        )
        default = data.space.default
        self.assertNotIn(default, [trial.architecture for trial in data.trials])
        self.assertEqual(
            set(traces["default network, not tried"]["x"]),
            {data.space.costs(default)["madds"]},
        )
        trial = ReportTrial(999, default, data.space.costs(default), 0.75)
        tried = dataclasses.replace(data, trials=(*data.trials, trial))
        traces = _traces(_Page(report_html(tried)).charts["cost-madds"])
        self.assertEqual(traces["default network"]["y"], [75.0])
        self.assertNotIn("default network, not tried", traces)
        front = list(zip(traces["Pareto front"]["x"], traces["Pareto front"]["y"]))
        self.assertEqual(front, sorted(front))
        for trial in data.trials:
            if trial.reward is not None:
                reached = [y for x, y in front if x <= trial.costs["madds"]]
                self.assertGreaterEqual(max(reached), 100 * trial.reward - 1e-4)

    def test_memorial_table_is_a_heat_map_of_layers_and_buckets(self):
        data = _search()
        figure = _Page(report_html(data)).charts["memorial"]
        heat, star = figure["data"]

        self.assertEqual(heat["y"], list(data.memorial.rows))
        self.assertIn("lower end", figure["layout"]["xaxis"]["title"]["text"])
        first = min(b for row in data.memorial.rows.values() for b in row)
        filled = 0
        for z, text, row in zip(heat["z"], heat["text"], data.memorial.rows.values()):
            for bucket, cell in row.items():
                self.assertAlmostEqual(z[bucket - first], 100 * cell.reward, places=4)
                option = data.space.layers[1].options[cell.architecture[1]]
                self.assertIn(f"stage1_block1: {option.label}", text[bucket - first])
            filled += sum(value is not None for value in z)
        self.assertEqual(filled, sum(map(len, data.memorial.rows.values())))
        self.assertNotEmpty(star["x"])
        for column, name in zip(star["x"], star["y"]):
            cell = data.memorial.rows[name][column + first]
            self.assertEqual(cell.architecture, data.winner)

    def test_layer_table_puts_winner_beside_default(self):
        data = _search()
        text = report_html(data)
        page = _Page(text)
        walks = zip(data.space.steps(data.winner), data.space.steps(data.space.default))

        for mine, other in walks:
            row = page.row(mine.layer.name)
            self.assertEqual((row[1], row[5]), (mine.option.label, other.option.label))
            after = mine.after
            self.assertEqual(row[2], f"{after.height}×{after.width}×{after.channels}")
        self.assertEqual(
            page.row("whole network")[3],
            f"{data.space.costs(data.winner)['madds'] / 1e6:.4g}M",
        )
        self.assertIn("<mark>", text)
        same = report_html(dataclasses.replace(data, winner=data.space.default))
        self.assertNotIn("<mark>", same)
        self.assertIn("differs from the default network in 0 of 13 layers", same)

    def test_the_tile_is_of_the_first_winners_file(self):
        data = _search()
        other = dataclasses.replace(
            data.files[0], name="winner_30pct/model_int8.tflite", bytes=99_999
        )
        text = report_html(dataclasses.replace(data, files=(*data.files, other)))
        tiles = text[text.index('class="tiles"') : text.index("<h2")]
        self.assertIn("412.3 kB", tiles)
        self.assertNotIn("100 kB", tiles)

    def test_training_and_files_are_tabulated(self):
        page = _Page(report_html(_search()))

        row = page.row("winner")
        self.assertContainsSubset(["3", "80.00 %", "95.00 %", "93.21 %", "yes"], row)
        self.assertContainsSubset(
            ["94.00 %", "92.10 %", "no"], page.row("default network")
        )
        self.assertEqual(
            page.row("winner/model_int8.tflite"),
            [
                "winner/model_int8.tflite",
                "TFLite int8",
                "412.3 kB",
                "93.10 %",
                "−0.11 points (−0.72 to +0.50)",
                "99.12 %",
                "1.23 ms",
            ],
        )
        self.assertEqual(page.row("search"), ["search", "2 min 5 s"])
        self.assertEqual(page.row("keras"), ["keras", "3.15.1"])

    def test_text_from_outside_is_escaped(self):
        data = dataclasses.replace(
            _search(),
            dataset="</title><script>alert(1)</script>",
            config={"workdir": "<img src=x onerror=alert(2)>"},
        )
        text = report_html(data)
        page = _Page(text)

        self.assertNotIn("<script>alert", text)
        self.assertNotIn("<img", text.replace(_plotly(), ""))
        self.assertEqual(page.row("3")[1], "loss is <NaN> & rising")
        self.assertIn("Only <two> seeds were tried.", page.text)
        hover = _traces(page.charts["trials"])["failed"]["text"][0]
        self.assertEqual(hover, "loss is &lt;NaN&gt; &amp; rising")

    def test_effects_are_told_by_attribute(self):
        data = _search()
        found = effects_by_attribute(data)
        layer = data.space.layers[2]
        effects = dict(zip(layer.options, data.effects[1].means))
        centre = np.mean(list(effects.values()))
        fives = [e for option, e in effects.items() if option["kernel"] == 5]

        self.assertCountEqual(found, ["filters", "kernel", "expansion", "se", "drop"])
        self.assertAlmostEqual(
            found["kernel"][layer.name][5], np.mean(fives) - centre, places=9
        )
        self.assertEqual(list(found["kernel"][layer.name]), [3, 5, 7])
        # A dropped block has no kernel: it says nothing about kernels.
        self.assertEqual(list(found["kernel"]["stage2_block2"]), [3, 5, 7])
        self.assertEqual(list(found["drop"]["stage2_block2"]), [None, True])
        page = _Page(report_html(data))
        self.assertEqual(page.charts["effects-4"]["data"][0]["text"][0], ["no", "yes"])

    def test_no_successful_trial_still_gives_a_page(self):
        data = _search()
        failed = tuple(
            dataclasses.replace(t, reward=None, state="failed", reason="out of memory")
            for t in data.trials
        )
        for trials in ((), failed):
            empty = ReportData(data.space, data.budgets, trials)
            page = _Page(report_html(empty))
            self.assertEmpty(page.charts)
            self.assertIn(f"0 of {len(trials)} trials gave a reward", page.text)
        self.assertEqual(page.row("120")[1], "out of memory")

    def test_one_trial_gives_a_page(self):
        data = _search()
        single = ReportData(
            data.space,
            data.budgets,
            data.trials[:1],
            winner=data.trials[0].architecture,
        )
        page = _Page(report_html(single))

        self.assertIn("in the search with", page.text)
        self.assertLen(_traces(page.charts["trials"])["winner"]["x"], 1)

    def test_budgets_on_any_metric_get_their_figures(self):
        data = _search()
        budgets = tuple(
            parse_budget(text, data.space)
            for text in ("params=0.5M..1.2M", "peak_memory_bytes<=60k")
        )
        page = _Page(report_html(dataclasses.replace(data, budgets=budgets)))

        self.assertNotIn("cost-madds", page.charts)
        band = _traces(page.charts["cost-params"])["budget 500k to 1.2M"]
        self.assertEqual(band["x"], [5e5, 5e5, None, 1.2e6, 1.2e6])
        self.assertIn("budget 60 kB", _traces(page.charts["cost-peak_memory_bytes"]))

    def test_space_that_is_no_network_is_reported_in_its_own_unit(self):
        space = burger()
        trials = tuple(
            ReportTrial(n, (n, n, n), space.costs((n, n, n)), float(10 * n))
            for n in range(4)
        )
        data = ReportData(
            space,
            (parse_budget("price=4..8", space),),
            trials,
            winner=(2, 2, 2),
            reward_name="taste",
            reward_is_share=False,
        )
        page = _Page(report_html(data))

        price = space.costs((2, 2, 2))["price"]
        self.assertIn("20 taste in the search", page.text)
        self.assertIn(f"{price:.4g} dollars price (budget 4 to 8)", page.text)
        self.assertIn("cost-price", page.charts)

    def test_hundred_thousand_trials_are_sampled_and_it_says_so(self):
        space = burger()
        rng = np.random.default_rng(1)
        rewards = rng.normal(size=100_000)
        architectures = rng.integers(0, 4, (100_000, 3))
        costs = space.chain.costs(architectures)["price"]
        trials = tuple(
            ReportTrial(n, tuple(a), {"price": cost}, reward)
            for n, (a, cost, reward) in enumerate(
                zip(architectures.tolist(), costs.tolist(), rewards.tolist())
            )
        )
        data = ReportData(
            space, (parse_budget("price<=8", space),), trials, reward_is_share=False
        )
        text = report_html(data)
        page = _Page(text)

        traces = _traces(page.charts["cost-price"])
        drawn = [traces["inside the budget"], traces["outside the budget"]]
        points = {pair for trace in drawn for pair in zip(trace["x"], trace["y"])}
        self.assertLessEqual(sum(len(trace["x"]) for trace in drawn), DRAWN)
        self.assertGreater(sum(len(trace["x"]) for trace in drawn), 0.9 * DRAWN)
        for trial in [*improvements(data), *pareto_front(trials, "price")]:
            self.assertIn((trial.costs["price"], round(trial.reward, 5)), points)
        self.assertIn("2,500 of 100,000 trials are drawn", page.text)
        self.assertLess(len(text) - len(_plotly()), 2e6)

    def test_file_is_replaced_whole(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        path = folder / "report.html"
        path.write_text("an earlier report")

        write_report(_search(), path)

        self.assertStartsWith(path.read_text(encoding="utf-8"), "<!DOCTYPE html>")
        self.assertEqual(os.listdir(folder), ["report.html"])
        self.assertTrue(path.stat().st_mode & stat.S_IROTH)


@functools.cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return get_plotlyjs()


if __name__ == "__main__":
    absltest.main()
