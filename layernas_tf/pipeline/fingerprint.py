"""What a search is of, in digests: a resumed search must be the same search.

Names and costs do not tell everything. A space file whose activation was edited keeps
both, and its networks are others; a folder may have got new pictures.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from layernas_tf.datasets.folder_listing import list_folder
from layernas_tf.datasets.split import ArraySplit
from layernas_tf.pipeline.task import Task
from layernas_tf.space.search_space import SearchSpace

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.training.recipe import Recipe

SPACE, DATA, RECIPE = "the search space", "the data", "the proxy recipe"
WEIGHTS = "the pretrained weights"


def fingerprint(task: Task) -> dict[str, str]:
    """Digests of the space with its networks, of the data, and of the proxy recipe.

    With pretrained weights, there is a digest of these too.

    Example: `fingerprint(task)["the data"]` is a text of 16 hexadecimal digits.
    """
    parts = {SPACE: _digest(_space(task.space))}
    if task.dataset is not None:
        named = task.config.dataset if task.inputs.dataset is None else ""
        parts[DATA] = data_digest(task.dataset, named)
        parts[RECIPE] = _digest([_json(_recipe(task.proxy_recipe))])
    if task.pretrained is not None:
        parts[WEIGHTS] = task.pretrained.digest
    return parts


def data_digest(dataset: Dataset, named: str) -> str:
    """A digest of a data set's images, labels and classes.

    Example: `data_digest(load_dataset("digits"), "digits")` is a text of 16 hexadecimal
    digits.

    Args:
      dataset: The data set.
      named: What it was loaded from, such as `folder:DIR`, whose files are looked up
        where the images are not in memory; empty for images that were given.
    """
    return _digest((*_data(dataset), *_files(dataset, named)))


def _recipe(recipe: Recipe | None) -> dict[str, Any]:
    """What is not by default: a later version may have further fields."""
    if recipe is None:
        return {}
    defaults = {field.name: field.default for field in dataclasses.fields(recipe)}
    chosen = dataclasses.asdict(recipe)
    return {name: v for name, v in chosen.items() if v != defaults[name]}


def _space(space: SearchSpace) -> Iterator[bytes]:
    """Structure, costs and, where there are networks, three of them."""
    chain = space.chain
    for depth, layer in enumerate(space.layers):
        options = [option.attributes for option in layer.options]
        yield _json([layer.name, options, layer.default])
        yield chain.next_state[depth].tobytes()
        for metric in chain.metrics:
            yield metric.encode()
            yield chain.cost[metric][depth].tobytes()
    if space.builder is None:
        return
    first = tuple(0 for _ in space.layers)
    last = tuple(len(layer.options) - 1 for layer in space.layers)
    for architecture in dict.fromkeys((space.default, first, last)):
        yield _json(_without_names(space.build(architecture).get_config()))


_NAMING = frozenset(("name", "keras_history", "input_layers", "output_layers"))
"""Where a configuration has names of layers; elsewhere `softmax` is an activation."""


def _without_names(
    config: Any, known: dict[str, int] | None = None, naming: bool = False
) -> Any:
    """A Keras configuration with the layers' names, which count up, as numbers."""
    known = {} if known is None else known
    if isinstance(config, Mapping):
        return {
            key: _without_names(value, known, key in _NAMING)
            for key, value in config.items()
        }
    if isinstance(config, (list, tuple)):
        return [_without_names(value, known, naming) for value in config]
    if naming and isinstance(config, str):
        return known.setdefault(config, len(known))
    return config


def _data(dataset: Dataset) -> Iterator[bytes]:
    yield _json([dataset.classes, dataset.class_names, dataset.shape])
    for split in (dataset.train, dataset.valid, dataset.test):
        yield _json(split.size)
        if isinstance(split, ArraySplit):
            yield np.ascontiguousarray(split.images).tobytes()
            yield np.ascontiguousarray(split.labels).tobytes()
    if dataset.check is not None:
        # Not its stamp: files that were merely copied have other times.
        check = dataset.check.to_json()
        yield _json({key: value for key, value in check.items() if key != "stamp"})


def _files(dataset: Dataset, named: str) -> Iterator[bytes]:
    """The files of a folder that is streamed: names, labels and sizes."""
    kind, _, path = named.partition(":")
    if kind != "folder" or isinstance(dataset.train, ArraySplit):
        return  # their pixels are known
    root = os.path.expanduser(path)
    listing = list_folder(named, root)
    for split, files in listing.splits.items():
        for file, label in zip(files.paths, files.labels):
            size = os.stat(file).st_size if os.path.exists(file) else -1
            yield os.fsencode(os.path.relpath(file, root))
            yield _json([split, label, size])


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def _digest(parts: Any) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]
