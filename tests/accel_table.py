"""A small file in the form of Accel-NASBench's, with made-up figures."""

from __future__ import annotations

import csv

import numpy as np

from search_spaces.tabular.accel_chain import SUMS, accel_space


def true_accuracy(architectures: np.ndarray) -> np.ndarray:
    """A made-up accuracy with an effect of every stage and of two together."""
    accuracy = 60 + 0.02 * architectures.sum(axis=1)
    pair = (architectures[:, 0] >= 24) & (architectures[:, 3] >= 24)
    return accuracy + 0.8 * pair


def write_table(path, rows=1200, change=lambda rows: rows) -> str:
    """A small table: costs of the space, accuracy and sums made up."""
    space = accel_space()
    rng = np.random.default_rng(0)
    sizes = [len(layer.options) for layer in space.layers]
    chosen = np.stack([rng.integers(size, size=rows) for size in sizes], axis=1)
    costs = space.chain.costs(chosen)
    header = [f"block{i}_{a}" for i in range(7) for a in ("e", "k", "l", "se")]
    table = [[*header, "val_top1", "macs_m", "params_m", *SUMS]]
    for row, architecture in enumerate(chosen):
        cells = []
        for layer, option in zip(space.layers, architecture):
            cells += [int(value) for _, value in layer.options[option].attributes]
        cells.append(true_accuracy(chosen[row : row + 1])[0])
        cells += [costs["macs"][row] / 1e6, costs["params"][row] / 1e6]
        total = 1.0 + 0.1 * architecture.sum()
        # One training was interrupted for days, one latency was not measured.
        latency = "" if row == 3 else total
        table.append([*cells, latency, total, total * 100 + (row == 5) * 1e6])
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(change(table))
    return str(path)
