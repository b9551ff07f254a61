"""How well the surrogates of Accel-NASBench predict rows that they were not fitted to.

    python -m benchmarks.accel_surrogate --table=accel-nasbench_imagenet.csv

A tenth of the rows is held out, ten times in turn; prints the mean over the ten and, in
brackets, the least and the largest. Beside them the part that no predictor can reach:
the noise of single trainings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from absl import flags

from layernas_tf.core.app import run_main
from search_spaces.tabular.accel_nasbench import (
    TRAINING_DEVIATION,
    AccelRows,
    read_accel_rows,
)
from search_spaces.tabular.accel_surrogate import fit_accuracy, fit_sum

FOLDS = 10


def held_out_errors(rows: AccelRows) -> dict[str, np.ndarray]:
    """Kendall's tau, R2, root mean square error, median relative error, by target.

    Returns:
      By name of the target a float array `(FOLDS, 4)`.
    """
    order = np.random.default_rng(0).permutation(len(rows.accuracy))
    sizes = [len(each) for each in rows.options]
    found: dict[str, list[tuple[float, ...]]] = {}
    for held in np.array_split(order, FOLDS):
        fitted = np.setdiff1d(order, held)
        accuracy = fit_accuracy(
            rows.options, rows.architectures[fitted], rows.accuracy[fitted]
        ).accuracy(rows.architectures[held])
        found.setdefault("accuracy, %", []).append(
            _errors(accuracy, rows.accuracy[held])
        )
        for name, cost in rows.sums.items():
            model = fit_sum(sizes, rows.architectures[fitted], cost[fitted])
            found.setdefault(name, []).append(
                _errors(model.predict(rows.architectures[held]), cost[held])
            )
    return {name: np.array(errors) for name, errors in found.items()}


def _errors(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, ...]:
    from scipy.stats import kendalltau

    known = np.isfinite(truth)
    predicted, truth = predicted[known], truth[known]
    square = np.mean((predicted - truth) ** 2)
    return (
        float(kendalltau(predicted, truth).statistic),
        float(1 - square / truth.var()),
        float(np.sqrt(square)),
        float(np.median(np.abs(predicted / truth - 1))),
    )


def main(argv: Sequence[str]) -> None:
    """Prints the errors on held-out rows."""
    del argv
    rows = read_accel_rows(flags.FLAGS.table)
    print("| target | Kendall's tau | R2 | RMSE | median relative error |")
    print("|---|---|---|---|---|")
    for name, errors in held_out_errors(rows).items():
        cells = [
            f"{column.mean():.{digits}f} ({column.min():.{digits}f} to "
            f"{column.max():.{digits}f})"
            for column, digits in zip(errors[:, :3].T, (3, 3, 2))
        ]
        cells.append(f"{errors[:, 3].mean():.2%}")
        print(f"| {name} | {' | '.join(cells)} |")
    share = 1 - TRAINING_DEVIATION**2 / rows.accuracy.var()
    print(
        f"{len(rows.accuracy):,} rows. The noise of single trainings "
        f"({TRAINING_DEVIATION} points) alone limits R2 of the accuracy to {share:.3f}."
    )


if __name__ == "__main__":
    flags.DEFINE_string("table", None, "The CSV file.", required=True)
    run_main(main)
