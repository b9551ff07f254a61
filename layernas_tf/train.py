"""Binary: the full training of one architecture.

    python -m layernas_tf.train --architecture=FILE --dataset=digits --workdir=DIR

writes `model.keras` and `metrics.json` (test accuracy too) into the workdir, and logs
for TensorBoard. Run again after an interruption, it goes on after the last epoch that
was finished.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from layernas_tf.errors import UserError, run_main
from layernas_tf.recipe import OPTIMIZERS, Recipe

_ARCHITECTURE = flags.DEFINE_string(
    "architecture", None, "File that a search wrote: winner/architecture.json."
)
_SPACE = flags.DEFINE_string(
    "space",
    None,
    "The architecture's space, needed for one of your own (path/to/file.py:function): "
    "an architecture file alone never runs code.",
)
_DATASET = flags.DEFINE_string(
    "dataset", "digits", "digits, npz:FILE, folder:DIR or tfds:NAME."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for the results.")
_EPOCHS = flags.DEFINE_integer("epochs", None, "Rounds through the training images.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Images per step.")
_OPTIMIZER = flags.DEFINE_enum("optimizer", None, OPTIMIZERS, "The optimizer.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", None, "Peak learning rate.")
_MIXED_PRECISION = flags.DEFINE_bool("mixed_precision", False, "Compute in bfloat16.")
_SEED = flags.DEFINE_integer("seed", 0, "Of weights, images held out, and their order.")


def main(argv: Sequence[str]) -> None:
    """Checks the flags, trains, prints the accuracies."""
    del argv
    for name in ("architecture", "workdir"):
        if not flags.FLAGS[name].value:
            raise UserError(f"--{name} is needed (--help lists the flags)")
    data = read_architecture(_ARCHITECTURE.value)
    workdir = pathlib.Path(_WORKDIR.value)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--workdir: cannot write {str(workdir)!r}: {error}") from error
    metrics = train_architecture(data, workdir)
    print(
        f"valid accuracy {metrics['valid_accuracy']:.4f}, test accuracy "
        f"{metrics['test_accuracy']:.4f}; {workdir / 'model.keras'}"
    )


def read_architecture(path: str) -> dict:
    """Reads an architecture file; `UserError` where it is none."""
    try:
        data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"--architecture: cannot read {path!r}: {error.strerror}"
        ) from error
    except ValueError as error:
        raise UserError(f"--architecture: {path!r} is not JSON: {error}") from error
    if (
        not isinstance(data, dict)
        or not isinstance(data.get("space"), str)
        or not isinstance(data.get("arguments"), dict)
    ):
        raise UserError(
            f"--architecture: {path!r} is no architecture file: expected an object "
            "with 'space', 'arguments' and 'architecture'"
        )
    return data


def train_architecture(data: dict, workdir: pathlib.Path) -> dict[str, float]:
    """Trains the architecture by the flags; returns what is in `metrics.json`."""
    from search_spaces.registry import get_space

    if _SPACE.value is None and ".py" in data["space"]:
        raise UserError(
            f"the architecture is of the space {data['space']!r}, which is code: give "
            f"--space={data['space']} if you trust that file"
        )
    if _SPACE.value is not None and _SPACE.value != data["space"]:
        raise UserError(
            f"--space={_SPACE.value}, but the architecture is of {data['space']!r}"
        )
    space = get_space(data["space"], **data["arguments"])
    architecture = space.from_json(data)

    import keras

    from layernas_tf.datasets import load_dataset
    from layernas_tf.training import (
        default_recipe,
        evaluate_model,
        precision,
        save_model,
        train_model,
    )

    if space.start.height != space.start.width:
        raise UserError(f"space {space.name!r}: expected square images")
    dataset = load_dataset(
        _DATASET.value, resolution=space.start.height, seed=_SEED.value
    )
    recipe = with_flags(default_recipe(dataset, proxy=False))
    keras.utils.set_random_seed(_SEED.value)
    with precision(recipe):
        model = space.build(architecture)
    result = train_model(
        model,
        dataset,
        recipe,
        seed=_SEED.value,
        callbacks=[
            keras.callbacks.BackupAndRestore(workdir / "checkpoint"),
            keras.callbacks.TensorBoard(workdir / "tensorboard", write_graph=False),
        ],
    )
    test = evaluate_model(model, dataset.test)
    save_model(model, workdir / "model.keras")
    metrics = {
        "valid_accuracy": result.valid_accuracy,
        "valid_loss": result.valid_loss,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "train_loss": result.train_loss,
        "train_seconds": result.train_seconds,
        "costs": space.costs(architecture),
        "recipe": dataclasses.asdict(recipe),
        "dataset": dataset.name,
        "seed": _SEED.value,
    }
    partial = workdir / ".partial-metrics.json"
    partial.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, workdir / "metrics.json")
    return metrics


def with_flags(recipe: Recipe) -> Recipe:
    """The recipe with what the flags say in place of the defaults."""
    given = {
        flag.name: flag.value
        for flag in (_EPOCHS, _BATCH_SIZE, _OPTIMIZER, _LEARNING_RATE)
        if flag.value is not None
    }
    if "epochs" in given and given["epochs"] > 0:
        share = recipe.warmup_epochs / recipe.epochs
        given["warmup_epochs"] = share * given["epochs"]
    return dataclasses.replace(recipe, mixed_precision=_MIXED_PRECISION.value, **given)


if __name__ == "__main__":
    sys.exit(run_main(main))
