"""Pretrained weights of a space's published network (`pretrained`)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.space.published import Published
from layernas_tf.space.search_space import SearchSpace
from layernas_tf.space.types import Architecture
from layernas_tf.training.weight_files import StoredLayer, find_layer, read_layers
from layernas_tf.training.weight_matching import assign_weights, corresponding

IMAGENET = "imagenet"
_ENDINGS = (".keras", ".h5", ".npz")


@dataclasses.dataclass(frozen=True, eq=False)
class Pretrained:
    """A trained network of the space, ready for surgery.

    Attributes:
      source: The source of the weights, as the user gave it.
      architecture: The architecture that the weights belong to: the published network
        or an earlier winner.
      model: This network with its weights. Its classifier comes from the file if the
        number of classes is the same; otherwise it is fresh.
      matched: Layers whose weights were in the source.
      fresh: Layers whose weights were not in the source.
      scale: Factor for pixels in [0, 255], one per channel or one for all channels: the
        preprocessing with which the weights were trained.
      offset: What is added to the pixels after that.
      digest: 16 hexadecimal digits that stand for the architecture and the weights as
        they were read.

    Example:
      pretrained = load_pretrained(space, "mobilenetv2.h5")
      print(pretrained)
    """

    source: str
    architecture: Architecture
    model: keras.Model
    matched: tuple[str, ...]
    fresh: tuple[str, ...]
    scale: Any
    offset: Any
    digest: str

    def __str__(self) -> str:
        total = len(self.matched) + len(self.fresh)
        fresh = f"; fresh: {', '.join(self.fresh)}" if self.fresh else ""
        return f"{len(self.matched)} of {total} layers from {self.source}{fresh}"


def check_source(source: str) -> None:
    """Checks the name of a source without reading it.

    Raises:
      UserError: The source is neither `imagenet` nor a file of a known kind.
    """
    if source != IMAGENET and not source.endswith(_ENDINGS):
        raise UserError(
            f"`pretrained`={source}: expected 'imagenet', or a .keras, .h5, "
            ".weights.h5 or .npz file"
        )
    if source != IMAGENET and not pathlib.Path(source).is_file():
        raise UserError(f"`pretrained`: no such file: {source!r}")


def load_pretrained(space: SearchSpace, source: str) -> Pretrained:
    """Reads the weights and puts them into a network of the space.

    Args:
      space: The search space for the user's classes, resolution and channels, which may
        differ from those of the weights. For images of one channel, the first
        convolution is summed over the colours.
      source: `imagenet` or a file: `.keras`, `.h5` or `.weights.h5` of the published
        network, trained by anybody; `.keras` of an earlier winner, beside its
        `architecture.json`; or `.npz` where the space can read one.

    Raises:
      UserError: The source cannot be read or is of another network.
    """
    check_source(source)
    architecture = source_architecture(space, source)
    model = space.build(architecture)
    published = space.published or Published({})
    if source == IMAGENET:
        stored = _download(space, published)
    elif source.endswith(".npz"):
        stored = _read_npz(space, published, pathlib.Path(source))
    else:
        stored = read_layers(pathlib.Path(source))
    _check_constants(published, stored, source)
    layers = [layer for layer in model.layers if layer.weights]
    pairs = corresponding(layers, stored, published.layers)
    optional = published.optional | {layers[-1].name}
    for layer in layers:
        if layer.name not in pairs and layer.name not in optional:
            named = published.layers.get(layer.name, layer.name)
            raise UserError(
                f"`pretrained`={source} has no layer {named!r} of {space.name}: is it "
                "a file of another network?"
            )
    matched: list[str] = []
    fresh: list[str] = []
    for layer in layers:
        found = pairs.get(layer.name)
        taken = found is not None and assign_weights(
            layer, found, source, may_differ=layer is layers[-1]
        )
        (matched if taken else fresh).append(layer.name)
    rescale = next(
        (la for la in model.layers if isinstance(la, keras.layers.Rescaling)), None
    )
    return Pretrained(
        source,
        architecture,
        model,
        tuple(matched),
        tuple(fresh),
        rescale.scale if rescale else 1.0,
        rescale.offset if rescale else 0.0,
        _digest(architecture, model, matched),
    )


def _digest(
    architecture: Architecture, model: keras.Model, layers: Sequence[str]
) -> str:
    digest = hashlib.sha256(json.dumps(list(architecture)).encode())
    for name in layers:
        digest.update(name.encode())
        for variable in model.get_layer(name).weights:
            digest.update(np.asarray(variable.numpy(), np.float32).tobytes())
    return digest.hexdigest()[:16]


def source_architecture(space: SearchSpace, source: str) -> Architecture:
    """The architecture that the weights of a source belong to; reads no weights.

    Args:
      space: The search space.
      source: As for `load_pretrained`.

    Raises:
      UserError: The source is an earlier winner of another space.
    """
    path = pathlib.Path(source)
    beside = path.with_name("architecture.json")
    if path.suffix != ".keras" or not beside.is_file():
        return space.default
    try:
        data = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{str(beside)!r} is not readable as JSON: {error}") from None
    if not isinstance(data, dict) or data.get("space") != space.name:
        named = data.get("space") if isinstance(data, dict) else None
        raise UserError(
            f"`pretrained`={path}: the architecture beside it is of space {named!r}, "
            f"expected {space.name!r}"
        )
    return space.from_json(data)


def _download(space: SearchSpace, published: Published) -> list[StoredLayer]:
    if not published.application:
        raise UserError(
            f"`pretrained`=imagenet: keras.applications has no weights for space "
            f"{space.name!r}; give a file"
        )
    try:
        model = getattr(keras.applications, published.application)(
            weights="imagenet", **published.arguments
        )
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"`pretrained`=imagenet: keras.applications.{published.application} says: "
            f"{reason}"
        ) from None
    except Exception as error:  # urllib's, the operating system's, Keras' own
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            "`pretrained`=imagenet: the weights could not be downloaded "
            f"({reason}); offline, give the file: `pretrained`=FILE.h5"
        ) from None
    return [
        StoredLayer(
            (layer.name,), "", 0, {v.name: np.asarray(v.numpy()) for v in layer.weights}
        )
        for layer in model.layers
        if layer.weights
    ]


def _read_npz(
    space: SearchSpace, published: Published, path: pathlib.Path
) -> list[StoredLayer]:
    if published.from_npz is None:
        raise UserError(
            f"`pretrained`={path}: space {space.name!r} reads no .npz; expected "
            ".keras, .h5 or .weights.h5"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: np.asarray(file[name]) for name in file.files}
    except Exception as error:  # A damaged file may raise any exception.
        raise UserError(
            f"pretrained weights {str(path)!r} cannot be read as .npz: {error}"
        ) from None
    try:
        layers = published.from_npz(arrays)
    except (KeyError, ValueError) as error:
        raise UserError(
            f"pretrained weights {str(path)!r}: no array {error} of {space.name}"
        ) from None
    return [StoredLayer((name,), "", 0, dict(a)) for name, a in layers.items()]


def _check_constants(
    published: Published, stored: list[StoredLayer], source: str
) -> None:
    for name, weights in published.constants.items():
        layer = find_layer(stored, name)
        if layer is None:
            continue
        for index, (weight, allowed) in enumerate(weights.items()):
            value = layer.arrays.get(weight, layer.arrays.get(str(index)))
            if value is None:
                continue
            if not any(
                value.size == len(good) and np.allclose(value.ravel(), good, atol=1e-3)
                for good in allowed
            ):
                raise UserError(
                    f"`pretrained`={source}: {name} has {weight} "
                    f"{value.ravel()[:3].tolist()}, expected {list(allowed[0])}: these "
                    "weights were trained with another preprocessing"
                )
