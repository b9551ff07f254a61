"""Pretrained weights for candidates and finalists, cut from the published network."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from layernas_tf.core.errors import UserError
from layernas_tf.core.files import writing
from layernas_tf.datasets.split import Dataset, Split
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.classifier import (
    cross_fitted,
    fit_classifier,
    image_features,
)
from layernas_tf.training.graph_walk import predict
from layernas_tf.training.layer_weights import by_name, layer_weights
from layernas_tf.training.observe import Observations, observe
from layernas_tf.training.recalibrate import IMAGES, recalibrate
from layernas_tf.training.reconstruct import Reconstruction, record
from layernas_tf.training.scoring import Scores, gives_logits, score
from layernas_tf.training.surgery import Donor, make_donor, transplant

if TYPE_CHECKING:
    from layernas_tf.training.pretrained import Pretrained

CRITERION = "taylor"
"""The criterion of channel importance; `benchmarks/pretrained.py` compares them."""

_FEWEST_IMAGES, _MOST_IMAGES = 1_000, 5_000
_PER_CLASS = 20

_NO_SEED = 87654321
"""What TensorFlow takes for its global seed where nobody has set one."""


@dataclasses.dataclass(frozen=True, eq=False)
class Start:
    """Gives networks of a space the pretrained weights, ready for the user's data.

    Example:
      start = observe_start(load_pretrained(space, "imagenet"), dataset)
      model = space.build(architecture)
      start.prepare(model)

    Attributes:
      about: Which layers came from which source, in one line.
      digest: Stands for the pretrained weights, see `Pretrained.digest`.
      architecture: The architecture of the pretrained network.
      weights: Its weights, with a classifier for the user's data.
      seen: What was observed on the user's images.
      donor: The same, ready for surgery.
      uncut: What its convolutions give for the first images.
      images: (N, H, W, C), uint8: some of the training images.
      labels: (N,) integers.
      classes: Number of classes.
    """

    about: str
    digest: str
    architecture: Architecture
    weights: dict[str, dict[str, np.ndarray]]
    seen: Observations
    donor: Donor
    uncut: Reconstruction
    images: np.ndarray
    labels: np.ndarray
    classes: int

    def prepare(self, model: keras.Model) -> float:
        """Gives a fresh network its weights, statistics and classifier.

        Returns:
          The share of its weights that came from the pretrained network, 0..1.
        """
        share, _ = self._calibrate(model)
        return share

    def judge(self, model: keras.Model, valid: Split) -> tuple[float, Scores]:
        """Prepares a fresh network and measures it without any training.

        A validation set of a few hundred images tells little. Nothing but the
        classifier has been fitted to the training images, so that they can be used too:
        each one is classified by what was fitted to others (`cross_fitted`).

        Args:
          model: The network, as for `prepare`.
          valid: The validation images.

        Returns:
          The share as of `prepare`, and the scores on both kinds of images.
        """
        share, known = self._calibrate(model)
        outputs, labels = predict(model, valid)
        crossed = cross_fitted(known, self.labels, self.classes)
        logits = gives_logits(model)
        if logits:
            crossed = np.log(np.clip(crossed, 1e-7, 1))
        return share, score(
            np.concatenate([outputs, crossed]),
            np.concatenate([labels, self.labels]),
            logits,
        )

    def _calibrate(self, model: keras.Model) -> tuple[float, np.ndarray]:
        done = transplant(self.donor, model)
        refit = functools.partial(self.uncut.refit, done.channels)
        first = recalibrate(model, self.images, done.identities, refit)
        rest = image_features(model, self.images[IMAGES:])
        known = np.concatenate([first, rest]) if len(rest) else first
        fit_classifier(model, known, self.labels, self.classes)
        return done.share, known


def start_from(source: str, space: SearchSpace, dataset: Dataset) -> Start:
    """`observe_start` of what `load_pretrained` reads from a source.

    Raises:
      UserError: The source cannot be read or is of another network.
    """
    from layernas_tf.training.pretrained import load_pretrained

    return observe_start(load_pretrained(space, source), dataset)


def observe_start(
    pretrained: Pretrained, dataset: Dataset, criterion: str = CRITERION
) -> Start:
    """Observes the pretrained network on the user's data.

    Args:
      pretrained: The network; its model gets a classifier for the user's data, unless
        it has one of as many classes.
      dataset: The user's data, of which the training images are used.
      criterion: See `importance`.
    """
    images, labels = _sample(dataset)
    model = pretrained.model
    recalibrate(model, images)
    if pretrained.fresh:
        known = image_features(model, images)
        fit_classifier(model, known, labels, dataset.classes)
    seen = observe(model, images, labels)
    about = (str(pretrained), pretrained.digest, pretrained.architecture)
    return _start(about, model, seen, images, labels, dataset.classes, criterion)


def save_start(start: Start, path: pathlib.Path) -> None:
    """Writes what was observed, whole or not at all, so that `load_start` reads it."""
    arrays = {
        f"weights/{layer}/{name}": value
        for layer, weights in start.weights.items()
        for name, value in weights.items()
    }
    arrays |= {f"taylor/{name}": value for name, value in start.seen.taylor.items()}
    arrays |= {f"gates/{name}": value for name, value in start.seen.gates.items()}
    about = [start.about, start.digest, list(start.architecture)]
    with writing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, about=np.array(json.dumps(about)), **arrays)


def observed_digest(path: pathlib.Path) -> str | None:
    """`Start.digest` of a file that `save_start` wrote; None if there is none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(json.loads(str(file["about"]))[1])
    except Exception:  # A damaged file may raise any exception; it is made again.
        return None


def load_start(
    path: pathlib.Path,
    space: SearchSpace,
    dataset: Dataset,
    criterion: str = CRITERION,
) -> Start:
    """Reads what `save_start` wrote, for the same space and data.

    Raises:
      UserError: The file is missing or damaged.
    """
    parts: dict[str, dict[str, np.ndarray]] = {"weights": {}, "taylor": {}, "gates": {}}
    try:
        with np.load(path, allow_pickle=False) as file:
            about, digest, options = json.loads(str(file["about"]))
            for name in file.files:
                part, _, rest = name.partition("/")
                if part in parts:
                    parts[part][rest] = file[name]
        model = space.build(space.check(tuple(options)))
        weights: dict[str, dict[str, np.ndarray]] = {}
        for name, value in parts["weights"].items():
            layer, _, weight = name.partition("/")
            weights.setdefault(layer, {})[weight] = value
        for layer in model.layers:
            for weight, variable in by_name(layer).items():
                variable.assign(weights[layer.name][weight])
    except Exception as error:  # A damaged file may raise any exception.
        raise UserError(
            f"{str(path)!r} is no observation of pretrained weights "
            f"({type(error).__name__}); remove it and run the same command again"
        ) from None
    seen = Observations(parts["taylor"], parts["gates"])
    images, labels = _sample(dataset)
    known = (about, digest, tuple(options))
    return _start(known, model, seen, images, labels, dataset.classes, criterion)


def _start(
    known: tuple[str, str, Architecture],
    model: keras.Model,
    seen: Observations,
    images: np.ndarray,
    labels: np.ndarray,
    classes: int,
    criterion: str,
) -> Start:
    about, digest, architecture = known
    return Start(
        about=about,
        digest=digest,
        architecture=architecture,
        weights=layer_weights(model),
        seen=seen,
        donor=make_donor(model, criterion, taylor=seen.taylor, gates=seen.gates),
        uncut=record(model, images[:IMAGES]),
        images=images,
        labels=labels,
        classes=classes,
    )


def _sample(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Some of the training images and their labels, always the same."""
    # The order of the images depends on the global seed, too. After a resume it may be
    # another one than when the images were observed.
    before, _ = tf.compat.v1.random.get_seed(0)
    tf.random.set_seed(_NO_SEED)
    try:
        return _first_images(dataset)
    finally:
        tf.random.set_seed(before)


def _first_images(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    most = min(max(_FEWEST_IMAGES, _PER_CLASS * dataset.classes), _MOST_IMAGES)
    images, labels = [], []
    for batch in dataset.train.batches(256, seed=0).as_numpy_iterator():
        images.append(np.round(batch[0]).astype(np.uint8))
        labels.append(batch[1])
        if sum(map(len, labels)) >= most:
            break
    return np.concatenate(images)[:most], np.concatenate(labels)[:most]
