"""The figure of the LayerNAS post: NATS-Bench topology and size in one picture.

    python -m benchmarks.topology_and_size --tables=DIR --out=runs/tables

Topology above (no budget; the signal is the validation accuracy after 12 epochs), size
below (half of the largest network's MAdds; 90 epochs), CIFAR-10, CIFAR-100 and
ImageNet16-120 from left to right. Drawn is the reported test accuracy of the best
architecture so far, chosen by the signal, as mean and quartiles; dotted, where an
algorithm has a belief about true quality, that of what it recommends. Runs that are not
in --out are made first, as by `benchmarks.published_tables`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from absl import flags

from benchmarks.published_tables import Outcome, read_outcome, run_missing
from benchmarks.tables import TABLES, TOPOLOGY
from layernas_tf.comparison.figure import complete_from
from layernas_tf.comparison.style import MATPLOTLIB_DASH, style_of
from layernas_tf.core.app import run_main
from layernas_tf.core.files import writing

ALGORITHMS = "layernas_bayes,layernas,random,regularized_evolution,bananas:30,ppo"
PANELS = (*TOPOLOGY[:3], *TABLES[:3])
_VISIBLE_FROM = 10


def draw(outcomes: Sequence[Outcome], path: str) -> None:
    """Draws six panels to a PNG file, whole or not at all."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(
        2, 3, figsize=(12, 7), layout="constrained", dpi=130, sharex=True
    )
    for panel, outcome in zip(panels.flat, outcomes):
        lows, highs = [], []
        for name, curves in outcome.curves.items():
            start = complete_from(curves.test)
            values = curves.test[:, start:]
            if not values.shape[1]:
                continue
            style = style_of(name)
            trials = np.arange(start, curves.test.shape[1]) + 1
            low, high = np.percentile(values, (25, 75), axis=0)
            panel.fill_between(trials, low, high, color=style.colour, alpha=0.12, lw=0)
            panel.plot(
                trials,
                values.mean(axis=0),
                MATPLOTLIB_DASH[style.dash],
                color=style.colour,
                lw=style.width,
                label=f"{style.label} ({len(values)} runs)",
            )
            if curves.recommends:
                panel.plot(
                    trials,
                    curves.recommended_test[:, start:].mean(axis=0),
                    ":",
                    color=style.colour,
                    lw=1.4,
                    label=f"{style.label}, recommended",
                )
                highs.append(curves.recommended_test[:, start:].mean(axis=0).max())
            shown = values.mean(axis=0)[max(0, _VISIBLE_FROM - start) :]
            lows.append(shown.min())
            highs.append(high.max())
        panel.axhline(outcome.best.test, color="black", lw=0.8, dashes=(6, 3))
        highs.append(outcome.best.test)
        margin = 0.05 * (max(highs) - min(lows))
        panel.set_ylim(min(lows) - margin, max(highs) + margin)
        kind = "topology" if outcome.table.benchmark == "nats_tss" else "size"
        dataset = outcome.table.title.rpartition(" ")[2]
        panel.set_title(f"{kind}, {dataset}", fontsize=10)
        panel.grid(alpha=0.25, lw=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in panels[:, 0]:
        panel.set_ylabel("reported test accuracy, %")
    for panel in panels[1]:
        panel.set_xlabel("trials")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    line = pyplot.Line2D([], [], color="black", lw=0.8, dashes=(6, 3))
    figure.legend(
        [*handles, line],
        [*labels, "test of the best possible signal"],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
    pyplot.close(figure)


def main(argv: Sequence[str]) -> None:
    """Makes the missing runs and draws the figure."""
    del argv
    given = flags.FLAGS
    outcomes = []
    for table in PANELS:
        arguments = table, given.tables, given.out, given.algorithms, given.runs
        if not given.only_print:
            run_missing(*arguments, given.processes)
        outcomes.append(read_outcome(*arguments))
    draw(outcomes, given.figure)


if __name__ == "__main__":
    flags.DEFINE_string("tables", None, "Folder of the tables.", required=True)
    flags.DEFINE_string("out", "runs/tables", "Folder of the runs.")
    flags.DEFINE_string("algorithms", ALGORITHMS, "As for layernas_tf.compare.")
    flags.DEFINE_integer("runs", 100, "Runs per algorithm and table.")
    flags.DEFINE_integer(
        "processes", os.cpu_count() or 1, "Runs made at the same time."
    )
    flags.DEFINE_bool("only_print", False, "Only draw what is there, without new runs.")
    flags.DEFINE_string(
        "figure", "docs/images/topology_and_size.png", "A PNG file to write."
    )
    run_main(main)
