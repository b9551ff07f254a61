"""Which `--fit` suits wide and tall pictures: pad, squash or crop, by trainings.

    python -m benchmarks.image_fit --npz=cifar10.npz --out=runs/image_fit \
        --space=examples/my_space.py:tiny

Of every picture of the archive a random part is cut out, up to three times as wide as
high or as high as wide (proportions log-uniform), and written as a file. The default
network of a space is trained on these files with each fit and seed, at one input size,
and tested on files made likewise. Finished trainings are kept in --out.
"""

from __future__ import annotations

import json
import math
import pathlib
import statistics
from collections.abc import Sequence

import numpy as np
from absl import flags
from PIL import Image

from layernas_tf.core.app import run_main
from layernas_tf.datasets.frame import FITS

MOST = 3.0
"""The widest part, as a multiple of its height; the tallest likewise."""


def cut(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A random part of an image, wide or tall, as large as its proportions allow."""
    side = image.shape[0]
    ratio = math.exp(generator.uniform(-math.log(MOST), math.log(MOST)))
    height, width = (max(1, round(side * min(1, r))) for r in (1 / ratio, ratio))
    top, left = (int(generator.integers(side - s + 1)) for s in (height, width))
    return image[top : top + height, left : left + width]


def write_pictures(archive: str, folder: pathlib.Path, numbers: dict[str, int]) -> None:
    """Writes train/CLASS/ and test/CLASS/ of these numbers of pictures."""
    with np.load(archive) as arrays:
        for split, number in numbers.items():
            images = arrays[f"x_{split}"][:number]
            labels = arrays[f"y_{split}"].reshape(-1)[:number]
            generator = np.random.default_rng(len(split))
            for index, (image, label) in enumerate(zip(images, labels)):
                file = folder / split / f"class{label}" / f"{index}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(cut(image, generator)).save(file)


def train(
    folder: pathlib.Path, name: str, fit: str, seed: int, epochs: int
) -> dict[str, float]:
    """Trains the default network of a space and tests it."""
    import dataclasses

    import keras

    from layernas_tf.datasets import load_dataset
    from layernas_tf.training.evaluate import evaluate_model
    from layernas_tf.training.recipe import default_recipe
    from layernas_tf.training.train import train_model
    from search_spaces.registry import get_space

    dataset = load_dataset(f"folder:{folder}", resolution=32, fit=fit, seed=seed)
    space = get_space(name, resolution=32, classes=dataset.classes, channels=3)
    recipe = default_recipe(dataset, proxy=False)
    share = recipe.warmup_epochs / recipe.epochs
    recipe = dataclasses.replace(recipe, epochs=epochs, warmup_epochs=share * epochs)
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    model = space.build(space.default)
    result = train_model(model, dataset, recipe, seed=seed)
    return {
        "test_accuracy": evaluate_model(model, dataset.test).accuracy,
        "test_images": dataset.test.size,
        "train_seconds": result.train_seconds,
    }


def main(argv: Sequence[str]) -> None:
    """Trains what is not trained yet and prints the table."""
    del argv
    values = flags.FLAGS
    out = pathlib.Path(values.out)
    pictures = out / f"pictures_{values.train}_{values.test}"
    if not pictures.is_dir():
        partial = pictures.with_suffix(".partial")
        numbers = {"train": values.train, "test": values.test}
        write_pictures(values.npz, partial, numbers)
        partial.rename(pictures)
    scores: dict[str, list[float]] = {fit: [] for fit in FITS}
    for seed in range(values.seeds):
        for fit in FITS:
            path = out / f"{fit}-{values.epochs}-{seed}.json"
            if not path.exists():
                done = train(pictures, values.space, fit, seed, values.epochs)
                path.write_text(json.dumps(done), "utf-8")
            scores[fit].append(json.loads(path.read_text("utf-8"))["test_accuracy"])
            print(f"{fit}, seed {seed}: {scores[fit][-1]:.4f}", flush=True)
    print("\n| fit | test accuracy by seed | mean | standard deviation |")
    print("|---|---|---|---|")
    for fit, found in scores.items():
        seeds = " / ".join(f"{100 * score:.2f}" for score in found)
        spread = statistics.stdev(found) if len(found) > 1 else math.nan
        print(
            f"| {fit} | {seeds} | {100 * statistics.mean(found):.2f} % "
            f"| {100 * spread:.2f} |"
        )


def define_flags() -> None:
    """Defines the binary's flags."""
    flags.DEFINE_string("npz", "cifar10.npz", "Keras' arrays of square RGB images.")
    flags.DEFINE_string(
        "space", "mobilenet_v3_small", "Search space whose default network is trained."
    )
    flags.DEFINE_string("out", "runs/image_fit", "Folder for pictures and figures.")
    flags.DEFINE_integer("train", 10_000, "Training pictures.", lower_bound=100)
    flags.DEFINE_integer("test", 5_000, "Test pictures.", lower_bound=100)
    flags.DEFINE_integer("epochs", 8, "Epochs of each training.", lower_bound=1)
    flags.DEFINE_integer("seeds", 3, "Trainings with each fit.", lower_bound=1)


if __name__ == "__main__":
    define_flags()
    run_main(main)
