"""The full training of one architecture, in a folder from which it can be resumed."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from layernas_tf.core.files import write_json
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.recipe import Recipe

if TYPE_CHECKING:
    import keras

    from layernas_tf.datasets import Dataset
    from layernas_tf.training.start import Start


@dataclasses.dataclass(frozen=True)
class TrainedArchitecture:
    """An architecture after its full training.

    Example:
      trained = train_architecture("architecture.json", train=(x, y), test=(xt, yt))
      trained.model.predict(x[:1]), trained.test_accuracy

    Attributes:
      path: The Keras file.
      valid_accuracy: Share of the validation images classified correctly.
      test_accuracy: Share of the test images classified correctly.
      test_images: Number of test images.
      metrics: The content of `metrics.json`.
    """

    path: pathlib.Path
    valid_accuracy: float
    test_accuracy: float
    test_images: int
    metrics: Mapping[str, Any]

    @property
    def model(self) -> keras.Model:
        """The network: raw pixels in [0, 255] in, probabilities out."""
        import keras

        return keras.models.load_model(self.path, compile=False, safe_mode=True)


def train_fully(
    space: SearchSpace,
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    workdir: pathlib.Path,
    *,
    seed: int = 0,
    start: Start | None = None,
    data: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
) -> TrainedArchitecture:
    """Trains an architecture, or resumes its training in `workdir`.

    Args:
      space: The search space of the architecture.
      architecture: One option index per layer.
      dataset: Images of the size that the space takes.
      recipe: How to train.
      workdir: Gets `model.keras`, `metrics.json` and TensorBoard's files.
      seed: Seed of the weights, the batches and the augmentation.
      start: Gives the network pretrained weights.
      data: How the images were chosen and brought into the frame, by name; these are
        entries of `metrics.json` too. A training on others is not resumed.
      facts: Further entries of `metrics.json`.

    Raises:
      UserError: The folder holds the checkpoint of another training.
    """
    import keras

    from layernas_tf.training.checkpoint import Checkpoint
    from layernas_tf.training.evaluate import evaluate_model
    from layernas_tf.training.train import (
        check_epochs,
        precision,
        save_model,
        train_model,
    )

    check_epochs(recipe)
    about = {
        "space": space.name,
        "arguments": dict(space.arguments),
        "architecture": list(architecture),
        "dataset": dataset.name,
        **(data or {}),
        **({"pretrained": start.digest} if start else {}),
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
    }
    checkpoint = Checkpoint(workdir / "checkpoint.npz", about)
    keras.utils.set_random_seed(seed)
    with precision(recipe):
        model = space.build(architecture)
    if start is not None:
        start.prepare(model)
    board = keras.callbacks.TensorBoard(workdir / "tensorboard", write_graph=False)
    result = train_model(
        model, dataset, recipe, seed=seed, callbacks=[board], checkpoint=checkpoint
    )
    test = evaluate_model(model, dataset.test)
    save_model(model, workdir / "model.keras")
    metrics = {
        "valid_accuracy": result.valid_accuracy,
        "valid_loss": result.valid_loss,
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "train_loss": result.train_loss,
        "train_seconds": result.epoch_seconds,
        "costs": space.costs(architecture),
        **(facts or {}),
        **about,
    }
    write_json(workdir / "metrics.json", metrics)
    checkpoint.path.unlink(missing_ok=True)
    return TrainedArchitecture(
        workdir / "model.keras",
        result.valid_accuracy,
        test.accuracy,
        dataset.test.size,
        metrics,
    )
