"""LayerNAS from an Optuna program of your own: a sampler, and `suggest`.

python examples/optuna_sampler.py [sqlite:///study.db]

The reward here is a made-up benchmark whose best architecture is known, so it takes
seconds. With a storage URL, running it again continues the study.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

import optuna  # noqa: E402

from layernas_tf.space.budget import parse_budget
from layernas_tf.study.optuna_sampler import LayerNASSampler, suggest
from search_spaces.tabular.synthetic import synthetic


def main() -> None:
    """Runs 80 trials and compares the best of them with the best possible."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    table = synthetic(layers=8, options=4, buckets=48, interaction=0.1)
    budgets = [parse_budget("cost<=60%", table.space)]

    def objective(trial: optuna.Trial) -> float:
        architecture = suggest(trial, table.space, budgets)
        return table.query(architecture).valid  # your training goes here

    study = optuna.create_study(
        storage=sys.argv[1] if len(sys.argv) > 1 else None,
        study_name="layernas",
        load_if_exists=True,
        direction="maximize",
        sampler=LayerNASSampler(table.space, budgets, algorithm="layernas_bayes"),
    )
    study.optimize(objective, n_trials=80)

    best = study.best_trial  # inside the budget: `suggest` has set the constraint
    print(f"best of {len(study.trials)} trials: {best.value:.4f}, trial {best.number}")
    print(f"cost {best.user_attrs['cost']:g}, budget {budgets[0]}")
    print(f"best possible: {table.best(budgets).valid:.4f}")


if __name__ == "__main__":
    main()
