"""How far predicted file sizes and peak memory are from those of TFLite.

    python -m benchmarks.size_and_memory --architectures=20 --converted=3

Peak memory is compared with the arena that TFLite's interpreter lays out for int8
networks, of the default and random architectures; they are written with the operators
of converted ones, in milliseconds each. File sizes are those of files that TensorFlow
converts, in many seconds each.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from benchmarks.number_flags import define_numbers
from layernas_tf.core.app import run_main
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture


def architectures(space: SearchSpace, number: int) -> Iterator[Architecture]:
    """The default, then random ones."""
    rng = np.random.default_rng(0)
    yield space.default
    for _ in range(number - 1):
        yield tuple(int(rng.integers(len(layer.options))) for layer in space.layers)


def peak_memory_ratios(space: SearchSpace, number: int) -> np.ndarray:
    """Predicted over real peak memory of int8 networks."""
    from export.tflite.memory import arena_bytes
    from export.timing.space_files import network_file

    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.tflite")
        for architecture in architectures(space, number):
            with open(path, "wb") as file:
                file.write(network_file(space, architecture, "int8"))
            predicted = space.costs(architecture)["peak_memory_bytes"]
            ratios.append(predicted / arena_bytes(path))
    return np.array(ratios)


def size_ratios(space: SearchSpace, number: int) -> dict[str, np.ndarray]:
    """Predicted over real sizes of converted files, by the cost's name."""
    import keras

    from export.conversion.convert import convert_all

    ratios: dict[str, list[float]] = {"model_bytes": [], "float32_bytes": []}
    rng = np.random.default_rng(0)
    shape = (2, space.start.height, space.start.width, space.start.channels)
    images = rng.uniform(0, 255, shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        paths = {form: os.path.join(folder, form) for form in ("int8", "float32")}
        for architecture in architectures(space, number):
            model = space.build(architecture)
            # Moving averages and offsets of 0 would be left out of the files.
            for weight in model.weights:
                if len(weight.shape) < 2:
                    weight.assign(rng.uniform(0.5, 1.0, weight.shape))
            convert_all(model, paths, representative_images=images)
            costs = space.costs(architecture)
            for name, form in zip(ratios, paths):
                ratios[name].append(costs[name] / os.path.getsize(paths[form]))
            keras.backend.clear_session()
    return {name: np.array(values) for name, values in ratios.items()}


def main(argv: Sequence[str]) -> None:
    """Prints the table of errors."""
    del argv
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from search_spaces.registry import get_space

    values = flags.FLAGS
    table = Table(box=box.SIMPLE_HEAD, title="Predicted over real")
    for column in ("space", "pixels", "cost"):
        table.add_column(column, no_wrap=True)
    for column in ("networks", "mean error", "lowest", "median", "highest"):
        table.add_column(column, justify="right", no_wrap=True)

    def add(space: SearchSpace, cost: str, ratios: np.ndarray) -> None:
        error = np.mean(np.abs(ratios - 1))
        table.add_row(
            space.name,
            str(space.start.height),
            cost,
            str(len(ratios)),
            f"{error:.1%}",
            *(f"{value:.3f}" for value in np.quantile(ratios, (0, 0.5, 1))),
        )

    for name in values.spaces:
        for resolution in values.resolutions:
            space = get_space(name, resolution=resolution, classes=values.classes)
            ratios = peak_memory_ratios(space, values.architectures)
            add(space, "peak_memory_bytes", ratios)
        if values.converted:
            # Sizes hardly depend on the resolution: the last one is asked for.
            for cost, ratios in size_ratios(space, values.converted).items():
                add(space, cost, ratios)
    Console(width=100).print(table)


if __name__ == "__main__":
    flags.DEFINE_list(
        "spaces",
        ["mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0"],
        "Names of spaces.",
    )
    define_numbers("resolutions", [224, 96, 32], "Image sizes, in pixels.")
    flags.DEFINE_integer("classes", 10, "Number of classes.")
    flags.DEFINE_integer("architectures", 20, "Networks for the memory.", lower_bound=1)
    flags.DEFINE_integer("converted", 3, "Networks for the sizes; 0: none.")
    run_main(main)
