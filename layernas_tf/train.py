"""Binary: the full training of one architecture.

    python -m layernas_tf.train --architecture=FILE --dataset=digits --workdir=DIR

writes `model.keras` and `metrics.json` (test accuracy too) into the workdir, and logs
for TensorBoard. With `--distill` the space's published network is trained first, and
teaches; the folder `teacher/` keeps it. Running it again after an interruption
continues after the last finished epoch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.workdir import lock_workdir, open_workdir
from layernas_tf.datasets.augment import AUGMENTATIONS
from layernas_tf.datasets.frame import DEFAULT_FIT, FITS
from layernas_tf.training.recipe import OPTIMIZERS, SCHEDULES, Recipe, with_epochs
from layernas_tf.training.soft_labels import DISTILLATIONS, default_distillation

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.space.search_space import SearchSpace

_RECIPE_FLAGS = (
    "epochs",
    "batch_size",
    "optimizer",
    "learning_rate",
    "weight_decay",
    "schedule",
    "warmup_epochs",
    "label_smoothing",
    "augment",
    "randaugment",
    "mixup",
    "ema",
)


def main(argv: Sequence[str]) -> None:
    """Checks the flags, trains, prints the accuracies."""
    from layernas_tf.pipeline.config_check import check_seed
    from search_spaces.architecture_files import load_architecture

    del argv
    values = flags.FLAGS
    for name in ("architecture", "workdir"):
        if not values[name].value:
            raise UserError(f"`{name}` is needed (--help lists the flags)")
    check_seed(values.seed)
    space, architecture = load_architecture(
        values.architecture, values.space or "", dropout=values.dropout
    )
    from layernas_tf.pipeline.teaching import lesson_for, taught_about
    from layernas_tf.training.devices import all_devices
    from layernas_tf.training.full_training import train_fully
    from layernas_tf.training.recipe import default_recipe

    if values.pretrained:
        from layernas_tf.training.pretrained import check_source

        check_source(values.pretrained)
    workdir = open_workdir(values.workdir)
    with lock_workdir(workdir), all_devices(values.tpu) as devices:
        dataset = _images(values, space)
        start = None
        if values.pretrained:
            from layernas_tf.training.start import start_from

            start = start_from(values.pretrained, space, dataset)
            print(f"Pretrained weights: {start.about}.")
        pretrained = start is not None
        recipe = with_flags(
            default_recipe(dataset, proxy=False, pretrained=pretrained), values
        )
        lesson = lesson_for(
            values.distill or default_distillation(pretrained=pretrained),
            workdir / "teacher",
            space,
            dataset,
            recipe,
            seed=values.seed,
            say=print,
            start=start,
            about=lambda: taught_about(
                dataset,
                values.dataset,
                space,
                fit=values.fit,
                valid_fraction=values.valid_fraction,
            ),
        )
        trained = train_fully(
            space,
            architecture,
            lesson.dataset,
            recipe,
            workdir,
            seed=values.seed,
            start=start,
            data={
                "fit": values.fit,
                "valid_fraction": values.valid_fraction,
                **lesson.about(),
            },
            facts={"devices": devices},
        )
    print(
        f"valid accuracy {trained.valid_accuracy:.4f}, test accuracy "
        f"{trained.test_accuracy:.4f}; {trained.path}"
    )


def _images(values: flags.FlagValues, space: SearchSpace) -> Dataset:
    """The images that the flags name, in the size that the space takes."""
    from layernas_tf.datasets import load_dataset

    return load_dataset(
        values.dataset,
        resolution=(space.start.height, space.start.width),
        channels=space.start.channels,
        fit=values.fit,
        skip_unreadable=values.skip_unreadable,
        valid_fraction=values.valid_fraction,
        seed=values.seed,
    )


def with_flags(recipe: Recipe, values: flags.FlagValues) -> Recipe:
    """The recipe with what the flags say in place of the defaults."""
    chosen = {name: values[name].value for name in _RECIPE_FLAGS}
    given = {name: value for name, value in chosen.items() if value is not None}
    if "epochs" in given:
        recipe = with_epochs(recipe, given.pop("epochs"))
    return dataclasses.replace(recipe, mixed_precision=values.mixed_precision, **given)


def define_flags() -> None:
    """Defines the binary's flags: not at import, as in the other binaries."""
    flags.DEFINE_string(
        "architecture", None, "File that a search wrote: winner/architecture.json."
    )
    flags.DEFINE_string(
        "space",
        None,
        "The architecture's space, needed for one of your own "
        "(path/to/file.py:function): an architecture file alone never runs code.",
    )
    flags.DEFINE_string(
        "dataset", "digits", "digits, moved_digits, npz:FILE, folder:DIR or tfds:NAME."
    )
    flags.DEFINE_enum(
        "fit", DEFAULT_FIT, FITS, "How images are fitted to the size, as in the search."
    )
    flags.DEFINE_bool(
        "skip_unreadable", False, "Leave out the files of a folder that cannot be read."
    )
    flags.DEFINE_float(
        "valid_fraction", 0.2, "Share of the training images held out for validation."
    )
    flags.DEFINE_string(
        "pretrained", "", "Weights that the network starts from, as in the search."
    )
    flags.DEFINE_enum(
        "distill",
        None,
        DISTILLATIONS,
        "What a teacher, the space's published network trained by the same recipe, "
        "gives: features (what its last layer reads), logits (soft labels) or none; by "
        "default features with --pretrained, else none.",
    )
    flags.DEFINE_string("workdir", None, "Folder for the results.")
    flags.DEFINE_float(
        "dropout",
        None,
        "Dropout rate before the classifier; by default that of the architecture file.",
    )
    flags.DEFINE_bool("mixed_precision", False, "Compute in bfloat16.")
    flags.DEFINE_string(
        "tpu",
        "",
        "Name or address of a TPU ('local' on its own machine). GPUs need no flag: all "
        "visible ones are used together.",
    )
    flags.DEFINE_integer(
        "seed", 0, "Seed of the weights, the held-out images and the order of images."
    )
    _define_recipe_flags()


def _define_recipe_flags() -> None:
    flags.DEFINE_integer("epochs", None, "Number of epochs.")
    flags.DEFINE_integer("batch_size", None, "Images per step, over all devices.")
    flags.DEFINE_enum("optimizer", None, OPTIMIZERS, "The optimizer.")
    flags.DEFINE_float("learning_rate", None, "Peak learning rate.")
    flags.DEFINE_float("weight_decay", None, "Decoupled weight decay.")
    flags.DEFINE_enum(
        "schedule", None, SCHEDULES, "Schedule of the learning rate after the warm-up."
    )
    flags.DEFINE_float(
        "warmup_epochs", None, "Epochs of warm-up, in which the learning rate rises."
    )
    flags.DEFINE_float(
        "label_smoothing", None, "Share of a label that is spread over all classes."
    )
    flags.DEFINE_enum(
        "augment", None, AUGMENTATIONS, "How images are shifted, cropped and mirrored."
    )
    flags.DEFINE_float(
        "randaugment", None, "Magnitude of RandAugment, 1 to 10; 0 switches it off."
    )
    flags.DEFINE_float("mixup", None, "Alpha of mixup, such as 0.2; 0 switches it off.")
    flags.DEFINE_float(
        "ema",
        None,
        "Momentum of the average of weights, such as 0.9999; 0 switches it off.",
    )


def cli() -> None:
    """The command `layernas-train`: parses the flags and runs."""
    define_flags()
    run_main(main)


if __name__ == "__main__":
    cli()
