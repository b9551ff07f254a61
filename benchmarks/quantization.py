"""Accuracy of a network in float32, in int8 as converted, and in int8 trained with it.

    python -m benchmarks.quantization --network=runs/v2 --network=runs/v3/winner \
        --network=some/architecture.json --dataset=npz:cifar10.npz --out=runs/quantized

A network is a search's --workdir or the folder of a winner (architecture.json and
model.keras), or an architecture file alone, which is then trained first. What is
finished is kept in --out and not done again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import pathlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import read_json, write_json

if TYPE_CHECKING:
    from layernas_tf.datasets import Dataset
    from layernas_tf.space.search_space import SearchSpace
    from layernas_tf.space.types import Architecture

_FORMATS = ("float32", "int8", "qat_int8")


@dataclasses.dataclass(frozen=True)
class Network:
    """An architecture file, and the trained network if there is one.

    Example: `Network(pathlib.Path("architecture.json"), model=None)`.
    """

    architecture: pathlib.Path
    model: pathlib.Path | None


def find_network(text: str) -> Network:
    """Finds what `--network` names.

    Raises:
      UserError: If there is no architecture file.
    """
    path = pathlib.Path(text)
    folders = (path, path / "winner")
    for file in (path, *(folder / "architecture.json" for folder in folders)):
        if file.is_file():
            model = file.with_name("model.keras")
            alone = file == path or not model.is_file()
            return Network(file, None if alone else model)
    raise UserError(
        f"--network={text}: expected an architecture file, or a folder with "
        "architecture.json or winner/architecture.json"
    )


def main(argv: Sequence[str]) -> None:
    """Exports what is not exported yet and prints the table."""
    del argv
    values = flags.FLAGS
    if not values.network or not values.out:
        raise UserError("expected --network=... , at least one, and --out=FOLDER")
    networks = {text: find_network(text) for text in values.network}
    rows = {text: _row(network, values) for text, network in networks.items()}
    print("\n| network | float32 | int8 | QAT int8 | QAT - float32 | seconds of QAT |")
    print("|---|---|---|---|---|---|")
    for text, row in rows.items():
        accuracies = [100 * row[name] for name in _FORMATS]
        figures = " | ".join(f"{accuracy:.2f} %" for accuracy in accuracies)
        gap = accuracies[2] - accuracies[0]
        print(f"| {text} | {figures} | {gap:+.2f} | {row['qat_seconds']:.0f} |")


def _row(network: Network, values: flags.FlagValues) -> dict[str, float]:
    from export.conversion.keras_model import load_keras_model
    from export.exporter import export_winner
    from export.quantization.quantize import Qat, Tuning
    from layernas_tf.datasets import load_dataset
    from search_spaces.architecture_files import load_architecture

    space, architecture = load_architecture(str(network.architecture), values.space)
    source = network.model or network.architecture
    key = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    folder = pathlib.Path(values.out) / f"{network.architecture.parent.name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "accuracies.json"
    asked = {
        "dataset": values.dataset,
        "limit": values.limit,
        "epochs": values.epochs,
        "qat_epochs": values.qat_epochs,
        "qat_learning_rate": values.qat_learning_rate,
        "seed": values.seed,
    }
    if record.exists():
        done = read_json(record)
        if done["asked"] == asked:
            return done
    dataset = load_dataset(
        values.dataset, resolution=space.start.height, limit=values.limit
    )
    path = network.model or folder / "model.keras"
    if network.model is None and not path.exists():
        _train(space, architecture, dataset, path, values)
    model = load_keras_model(str(path))
    tuning = Tuning(values.qat_epochs, values.qat_learning_rate, seed=values.seed)
    files = export_winner(model, dataset, str(folder), _FORMATS[:2])
    started = time.monotonic()
    files += export_winner(
        model,
        dataset,
        str(folder),
        _FORMATS[2:],
        qat=Qat(space, architecture, tuning),
    )
    row = {file.format: file.accuracy for file in files}
    row["qat_seconds"] = time.monotonic() - started
    write_json(record, {"asked": asked, **row})
    return row


def _train(
    space: SearchSpace,
    architecture: Architecture,
    dataset: Dataset,
    path: pathlib.Path,
    values: flags.FlagValues,
) -> None:
    import keras

    from layernas_tf.training.recipe import default_recipe, with_epochs
    from layernas_tf.training.train import save_model, train_model

    recipe = default_recipe(dataset, proxy=False)
    if values.epochs:
        recipe = with_epochs(recipe, values.epochs)
    keras.utils.set_random_seed(values.seed)
    model = space.build(architecture)
    result = train_model(model, dataset, recipe, seed=values.seed)
    print(f"{path}: {result.valid_accuracy:.2%} on validation", flush=True)
    save_model(model, path)


def define_flags() -> None:
    """Defines the binary's flags: not at import, as its test imports this module."""
    flags.DEFINE_multi_string("network", [], "A folder or file, as above. May repeat.")
    flags.DEFINE_string("dataset", "digits", "As for the search.")
    flags.DEFINE_integer(
        "limit", None, "Number of training images; by default, all.", lower_bound=1
    )
    flags.DEFINE_string("out", "", "Folder for the files and figures.")
    flags.DEFINE_string("space", "", "The networks' space if it is your own code.")
    flags.DEFINE_integer(
        "epochs", None, "Epochs for training an architecture.", lower_bound=1
    )
    flags.DEFINE_integer("qat_epochs", None, "As for export.convert.")
    flags.DEFINE_float("qat_learning_rate", 2e-4, "As for export.convert.")
    flags.DEFINE_integer("seed", 0, "Seed of every training.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
