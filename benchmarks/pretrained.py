"""What a cut network keeps of pretrained weights, by the criterion of its channels.

    python -m benchmarks.pretrained --weights=mobilenetv2.h5 \
        --dataset=npz:cifar10_1250.npz --seeds=3 --out=runs/pretrained

Cuts the space's published network to smaller expansion ratios, in all blocks alike,
once by each criterion of `layernas_tf.training.importance`, and measures the test
accuracy as cut (statistics recalibrated, classifier fitted, nothing trained) and after
`--epochs` of AdamW. The rows go to `rows.jsonl`; the same command goes on with those
that are missing, and prints the table of all.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import app, flags

from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture

_WEIGHTS = flags.DEFINE_string("weights", None, "Pretrained file.", required=True)
_SPACE = flags.DEFINE_string("space", "mobilenet_v2", "Space that the file is of.")
_DATASET = flags.DEFINE_string("dataset", None, "As for the search.", required=True)
_RESOLUTION = flags.DEFINE_integer("resolution", 96, "Pixels.")
_RATIOS = flags.DEFINE_multi_integer(
    "ratio", [6, 4, 3], "Expansion ratios; the published one is the stock network."
)
_CRITERIA = flags.DEFINE_multi_string(
    "criterion", ["leading", "l1", "l2", "bn_scale", "taylor"], "Of the channels."
)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Splits of the images, and trainings.")
_EPOCHS = flags.DEFINE_integer("epochs", 4, "Of fine-tuning; 0: none.")
_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Peak, of fine-tuning.")
_OUT = flags.DEFINE_string("out", "runs/pretrained", "Folder of the rows.")


def uniform_cut(space: SearchSpace, ratio: int) -> Architecture:
    """The published network with at most this expansion ratio in every block."""
    chosen = []
    for layer in space.layers:
        published = dict(layer.options[layer.default].attributes)
        wanted = published | {"expansion": min(ratio, published.get("expansion", 0))}
        fitting = [
            index
            for index, option in enumerate(layer.options)
            if dict(option.attributes) == wanted
        ]
        chosen.append(fitting[0] if fitting else layer.default)
    return tuple(chosen)


def _measure(seed: int, criterion: str, ratio: int) -> dict[str, Any]:
    import keras

    from layernas_tf.datasets import load_dataset
    from layernas_tf.training.evaluate import evaluate_model
    from layernas_tf.training.pretrained import load_pretrained
    from layernas_tf.training.recipe import Recipe
    from layernas_tf.training.segments import SegmentCache
    from layernas_tf.training.start import Start
    from layernas_tf.training.train import train_model
    from search_spaces.registry import get_space

    dataset = load_dataset(
        _DATASET.value, resolution=_RESOLUTION.value, valid_fraction=0.2, seed=seed
    )
    space = get_space(
        _SPACE.value,
        resolution=_RESOLUTION.value,
        classes=dataset.classes,
        channels=dataset.shape[-1],
    )
    keras.utils.set_random_seed(seed)
    start = Start(load_pretrained(space, _WEIGHTS.value), dataset, criterion)
    segments, published = SegmentCache(), space.costs(space.default)["madds"]
    architecture = uniform_cut(space, ratio)
    model = space.build(architecture)
    start.prepare(model)
    cut = evaluate_model(model, dataset.test, segments=segments)
    row = {
        "seed": seed,
        "criterion": criterion,
        "ratio": ratio,
        "madds_share": space.costs(architecture)["madds"] / published,
        "test_images": dataset.test.size,
        "cut": cut.accuracy,
    }
    if _EPOCHS.value:
        recipe = Recipe(
            _EPOCHS.value, batch_size=32, learning_rate=_RATE.value, warmup_epochs=0.4
        )
        train_model(model, dataset, recipe, seed=seed, segments=segments)
        tuned = evaluate_model(model, dataset.test, segments=segments)
        row |= {"epochs": _EPOCHS.value, "tuned": tuned.accuracy}
    return row


def _table(rows: list[dict]) -> str:
    lines = [
        "| criterion | ratio | MAdds | as cut | fine-tuned |",
        "|---|---|---|---|---|",
    ]
    for criterion in _CRITERIA.value:
        for ratio in _RATIOS.value:
            same = [
                row
                for row in rows
                if (row["criterion"], row["ratio"]) == (criterion, ratio)
            ]
            if same:
                cells = [_interval(same, "cut"), _interval(same, "tuned")]
                lines.append(
                    f"| {criterion} | {ratio} | {same[0]['madds_share']:.0%} | "
                    f"{' | '.join(cells)} |"
                )
    return "\n".join(lines)


def _interval(rows: list[dict], name: str) -> str:
    """Mean over seeds, and 95 % by the seeds and the number of test images."""
    values = [row[name] for row in rows if name in row]
    if not values:
        return "-"
    mean = float(np.mean(values))
    # The seeds share the test images, so more seeds do not make these count for more.
    images = mean * (1 - mean) / rows[0]["test_images"]
    seeds = np.var(values, ddof=1) / len(values) if len(values) > 1 else 0.0
    return f"{mean:.1%} ± {1.96 * np.sqrt(images + seeds):.1%} ({len(values)} seeds)"


def main(argv: Sequence[str]) -> None:
    """Measures what is missing and prints the table."""
    del argv
    path = pathlib.Path(_OUT.value) / "rows.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in path.open()] if path.exists() else []
    for seed in range(_SEEDS.value):
        for criterion in _CRITERIA.value:
            known = {
                row["ratio"]
                for row in rows
                if (row["seed"], row["criterion"]) == (seed, criterion)
                and row.get("epochs", 0) == _EPOCHS.value
            }
            for ratio in _RATIOS.value:
                if ratio in known:
                    continue
                rows.append(_measure(seed, criterion, ratio))
                with path.open("a") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    print(_table([row for row in rows if row.get("epochs", 0) == _EPOCHS.value]))


if __name__ == "__main__":
    app.run(main)
