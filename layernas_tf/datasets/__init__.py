"""Data sets by name: `digits`, `npz:FILE`, `folder:DIR`, `tfds:NAME`."""

from __future__ import annotations

from layernas_tf.datasets.load import load_dataset
from layernas_tf.datasets.split import ArraySplit, Dataset, Split

__all__ = ["ArraySplit", "Dataset", "Split", "load_dataset"]
