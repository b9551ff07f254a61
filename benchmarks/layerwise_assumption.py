"""How far the layerwise assumption holds on benchmark tables.

    python -m benchmarks.layerwise_assumption --tables=DIR --out=runs/assumption

LayerNAS assumes that the best architectures of a layer extend the best of the layer
before (Fan et al., arXiv 2304.11517, section 3). That is so if the accuracy is a sum of
one term per layer. Two tables are printed for each table of `benchmarks.tables`:

* What share of the reported accuracy of 2,000 held-out architectures a sum over layers
  explains (R2, and Spearman's rank correlation), the sum plus all pairs of neighbouring
  layers, the sum plus all pairs of layers, by the number of training architectures.
  Means and standard deviations of ten draws.
* How often the assumption holds literally. Among the prefixes of a layer in one of ten
bands of cost, one is the best with default layers after it: how often is it the best
with other layers after it as well, and what is lost where it is not?

Each table's results are kept in --out and are not computed again.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import flags

from benchmarks.tables import MOBILE, TABLES, TOPOLOGY, PublishedTable
from layernas_tf.compare import load
from layernas_tf.core.app import run_main
from layernas_tf.core.files import read_json, write_json
from layernas_tf.space.chain import Chain
from layernas_tf.tabular.table import ArrayTable
from search_spaces.tabular.accel_nasbench import AccelTable, read_accel_rows

TRAINING = (50, 100, 200, 400, 800)
HELD_OUT = 2000
DRAWS = 10
MODELS = ("sum", "neighbours", "all pairs")
PAIR_WEIGHTS = (0.03, 0.1, 0.3, 1.0)
"""Prior variance of a pair's term beside that of a layer's; chosen by leave-one-out."""

RIDGES = tuple(10.0**k for k in np.arange(-4, 2.01, 0.5))
BANDS = 10
PREFIXES, COMPLETIONS = 1500, 200


@dataclasses.dataclass(frozen=True)
class Literal:
    """How often the best prefix stays best, at one layer.

    Example: `Literal(layer=2, holds=0.31, chance=0.1, rank=0.8, loss=0.2)`.

    Attributes:
      layer: Layers of the prefix.
      holds: Share of pairs of band and completion in which it stays best.
      chance: The same if the prefix were drawn at random.
      rank: Spearman's correlation between prefixes with default and other layers
        behind them, mean over the same pairs.
      loss: Accuracy lost by keeping it, in points, mean over the same pairs.
    """

    layer: int
    holds: float
    chance: float
    rank: float
    loss: float


def explained(
    architectures: np.ndarray, accuracy: np.ndarray, training: int, seed: int
) -> dict[str, tuple[float, float]]:
    """R2 and rank correlation on held-out architectures, by model.

    Args:
      architectures: Option indices, int array `(N, L)`.
      accuracy: Float array `(N,)`.
      training: How many of them are fitted to.
      seed: Of the draw.
    """
    from scipy.stats import spearmanr

    rng = np.random.default_rng((seed, training))
    order = rng.permutation(len(accuracy))
    fitted, held = order[:training], order[training : training + HELD_OUT]
    truth, found = accuracy[held], {}
    for model in MODELS:
        predicted = _predict(
            model, architectures[fitted], accuracy[fitted], architectures[held]
        )
        error = np.mean((truth - predicted) ** 2)
        rank = float(spearmanr(predicted, truth).statistic)
        found[model] = float(1 - error / truth.var()), rank
    return found


def _predict(
    model: str, known: np.ndarray, accuracy: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """Ridge regression on indicators of options, and of pairs, by its kernel."""
    mean = accuracy.mean()
    single, pairs = _kernels(model, known, known)
    single_asked, pairs_asked = _kernels(model, asked, known)
    best: tuple[float, np.ndarray] | None = None
    for weight in (0.0,) if model == "sum" else PAIR_WEIGHTS:
        values, vectors = np.linalg.eigh(single + weight * pairs)
        projected = vectors.T @ (accuracy - mean)
        for ridge in RIDGES:
            shrunk = 1 / (np.maximum(values, 0) + ridge)
            dual = vectors @ (shrunk * projected)
            # Leave-one-out errors of ridge regression, in closed form.
            left_out = dual / ((vectors**2) @ shrunk)
            score = float(np.mean(left_out**2))
            if best is None or score < best[0]:
                best = score, mean + (single_asked + weight * pairs_asked) @ dual
    assert best is not None
    return best[1]


def _kernels(
    model: str, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Common options, and common pairs of options, of two batches."""
    same = first[:, None, :] == second[None, :, :]
    count = same.sum(axis=2, dtype=np.float64)
    if model == "all pairs":
        return count, count * (count - 1) / 2
    return count, (same[:, :, 1:] & same[:, :, :-1]).sum(axis=2, dtype=np.float64)


def literal(table: ArrayTable | AccelTable) -> list[Literal]:
    """How often the best prefix of a band of cost stays best, layer by layer."""
    space, rng = table.space, np.random.default_rng(0)
    sizes = [len(layer.options) for layer in space.layers]
    found = []
    for layer in range(1, len(sizes)):
        prefixes = _some(sizes[:layer], PREFIXES, rng)
        completions = _some(sizes[layer:], COMPLETIONS, rng)
        behind = np.array([space.default[layer:]])
        # Column 0 has the defaults behind the prefixes.
        columns = np.vstack([behind, completions])
        values = np.stack(
            [_accuracy(table, np.hstack([prefixes, np.tile(c, (len(prefixes), 1))]))
             for c in columns[:, None, :]], axis=1
        )  # fmt: skip
        bands = _bands(space.chain, table.metric, prefixes)
        found.append(_holds(layer, values, bands))
    return [each for each in found if each is not None]


def _holds(layer: int, values: np.ndarray, bands: np.ndarray) -> Literal | None:
    """None if no band has two prefixes."""
    from scipy.stats import rankdata

    holds, chance, ranks, losses = [], [], [], []
    for band in np.unique(bands):
        rows = values[bands == band]
        if len(rows) < 2:
            continue
        kept = int(rows[:, 0].argmax())
        others = rows[:, 1:]
        lost = others.max(axis=0) - others[kept]
        holds.append(float(np.mean(lost <= 1e-9)))
        losses.append(float(lost.mean()))
        chance.append(1 / len(rows))
        if len(rows) > 2:
            ordered = rankdata(rows, axis=0)
            with np.errstate(invalid="ignore"):
                matrix = np.corrcoef(ordered.T)[0, 1:]
            ranks.append(float(np.nanmean(matrix)))
    if not holds:
        return None
    return Literal(
        layer,
        float(np.mean(holds)),
        float(np.mean(chance)),
        float(np.mean(ranks)) if ranks else float("nan"),
        float(np.mean(losses)),
    )


def _bands(chain: Chain, metric: str, prefixes: np.ndarray) -> np.ndarray:
    cost = chain.costs(prefixes)[metric]
    edges = np.linspace(cost.min(), cost.max(), BANDS + 1)[1:-1]
    return np.searchsorted(edges, cost)


def _some(sizes: Sequence[int], limit: int, rng: np.random.Generator) -> np.ndarray:
    """All combinations of options, or `limit` random ones, int array `(N, len)`."""
    if np.prod(sizes) <= limit:
        return np.indices(sizes).reshape(len(sizes), -1).T
    drawn = np.stack([rng.integers(size, size=limit) for size in sizes], axis=1)
    return np.unique(drawn, axis=0)


def _accuracy(table: ArrayTable | AccelTable, architectures: np.ndarray) -> np.ndarray:
    if isinstance(table, AccelTable):
        return table.accuracy.accuracy(architectures)
    sizes = tuple(len(layer.options) for layer in table.space.layers)
    return table.test[np.ravel_multi_index(tuple(architectures.T), sizes)]


def measure(published: PublishedTable, folder: str) -> dict[str, Any]:
    """Both measurements of one table, ready for JSON."""
    setting = published.setting(folder)
    table = load(setting)
    if isinstance(table, AccelTable):
        rows = read_accel_rows(setting.table)
        architectures, accuracy = rows.architectures, rows.accuracy
    else:
        assert isinstance(table, ArrayTable)
        architectures, accuracy = table.architectures, table.test
    draws = {
        str(count): [explained(architectures, accuracy, count, s) for s in range(DRAWS)]
        for count in TRAINING
    }
    return {
        "explained": draws,
        "literal": [dataclasses.asdict(each) for each in literal(table)],
    }


def _print(results: dict[str, dict[str, Any]]) -> None:
    print("R2 / Spearman's rank correlation, mean ± standard deviation of ten draws\n")
    print(f"| table | model | {' | '.join(map(str, TRAINING))} |")
    print("|---" * (len(TRAINING) + 2) + "|")
    for title, result in results.items():
        for model in MODELS:
            cells = []
            for draws in result["explained"].values():
                values = np.array([draw[model] for draw in draws])
                mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
                cells.append(
                    f"{mean[0]:.2f} ± {spread[0]:.2f} / {mean[1]:.3f} ± {spread[1]:.3f}"
                )
            print(f"| {title} | {model} | {' | '.join(cells)} |")
    print("\nThe best prefix stays best: share (chance), rank correlation, loss\n")
    print("| table | layer | holds | by chance | rank correlation | loss, points |")
    print("|---|---|---|---|---|---|")
    for title, result in results.items():
        for each in result["literal"]:
            print(
                f"| {title} | {each['layer']} | {each['holds']:.0%} | "
                f"{each['chance']:.0%} | {each['rank']:.2f} | {each['loss']:.2f} |"
            )


def define_flags() -> None:
    """Defines the command line; only the program itself calls it."""
    flags.DEFINE_string("tables", None, "Folder of the tables.", required=True)
    flags.DEFINE_string("out", "runs/assumption", "Folder for the results.")


def main(argv: Sequence[str]) -> None:
    """Computes what is not in --out yet and prints both tables."""
    del argv
    given = flags.FLAGS
    os.makedirs(given.out, exist_ok=True)
    results = {}
    for published in (*TABLES, *TOPOLOGY[:3], MOBILE[0]):
        path = os.path.join(given.out, f"{published.folder}.json")
        if not os.path.exists(path):
            write_json(path, measure(published, given.tables))
        results[published.title] = read_json(path)
    _print(results)


if __name__ == "__main__":
    define_flags()
    run_main(main)
