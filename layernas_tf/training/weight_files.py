"""Reads weights from files of Keras as arrays; no code in the files is run.

- `.h5` of Keras 2 and 3 (whole models or weights, also nested models): one folder per
  layer, which contains the weights by name.
- `.weights.h5` of Keras 3, alone or inside a `.keras` archive: the layers of each class
  are numbered, and their names are there if the version of Keras wrote them.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
import re
import zipfile
from collections.abc import Sequence

import h5py
import numpy as np

from layernas_tf.core.errors import UserError

_COUNTER = re.compile(r"_(\d+)$")
_ALIASES = {"depthwise_kernel": "kernel"}
_IGNORED = ("optimizer", "optimizer_weights")
_MOST_BYTES = 4 * 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class StoredLayer:
    """One layer with weights, as it is stored in a file.

    Example:
      for layer in read_layers(pathlib.Path("mobilenetv2.h5")):
          print(layer.path[-1], {name: a.shape for name, a in layer.arrays.items()})

    Attributes:
      path: Folders in the file; the last one is the layer's name.
      kind: Class of the layer, such as `conv2d`, where the file numbers the layers of
        each class.
      number: Number of the layer among those of its class, where the file has one; else
        0.
      arrays: Weights by name, or by `0`, `1`, ... in the order that the layer has them.
    """

    path: tuple[str, ...]
    kind: str
    number: int
    arrays: dict[str, np.ndarray]

    @property
    def names(self) -> set[str]:
        """Possible names of the layer: the ends of its path in a common spelling."""
        return {plain("_".join(self.path[start:])) for start in range(len(self.path))}


def plain(name: str) -> str:
    """A common spelling for the names of Keras 2 and 3."""
    return name.replace("/", "_").lower().replace("batchnorm", "bn")


def read_layers(path: pathlib.Path) -> list[StoredLayer]:
    """All layers with weights in a `.keras`, `.h5` or `.weights.h5` file.

    Raises:
      UserError: The file is missing, damaged, or none of these.
    """
    if not path.is_file():
        raise UserError(f"pretrained weights: no such file: {str(path)!r}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = io.BytesIO(archive.read("model.weights.h5"))
            with h5py.File(content, "r") as file:
                found = _layers(file)
        else:
            with h5py.File(path, "r") as file:
                found = _layers(file)
    except UserError:
        raise
    # A damaged file may raise any exception.
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(
            f"pretrained weights {str(path)!r} cannot be read as .keras, .h5 or "
            f".weights.h5: {reason}"
        ) from None
    if not found:
        raise UserError(f"pretrained weights {str(path)!r} hold no layer with weights")
    return found


def _layers(file: h5py.File) -> list[StoredLayer]:
    folders: dict[str, dict[str, np.ndarray]] = {}
    total = 0

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        nonlocal total
        parts = name.split("/")
        if not isinstance(item, h5py.Dataset) or parts[0] in _IGNORED:
            return
        if item.dtype.kind not in "fiu" or item.is_virtual or item.external:
            return
        total += item.size * 4
        if total > _MOST_BYTES:
            raise ValueError("more than 4 GB of weights")
        weight = parts[-1].split(":")[0]
        folders.setdefault("/".join(parts[:-1]), {})[_ALIASES.get(weight, weight)] = (
            np.asarray(item[()], np.float32)
        )

    file.visititems(visit)
    return sorted(
        (_stored(file, folder, arrays) for folder, arrays in folders.items()),
        key=lambda layer: (layer.kind, layer.number),
    )


def _stored(file: h5py.File, folder: str, arrays: dict[str, np.ndarray]) -> StoredLayer:
    parts = tuple(part for part in folder.split("/") if part)
    if not parts or parts[-1] != "vars":
        return StoredLayer(parts or ("",), "", 0, arrays)
    counted = parts[-2] if len(parts) > 1 else ""
    match = _COUNTER.search(counted)
    name = file[folder].attrs.get("name") or file[folder].parent.attrs.get("name")
    if isinstance(name, bytes):
        name = name.decode()
    return StoredLayer(
        (str(name) if name else counted,),
        _COUNTER.sub("", counted),
        int(match[1]) if match else 0,
        arrays,
    )


def find_layer(layers: Sequence[StoredLayer], name: str) -> StoredLayer | None:
    """The layer of that name; if there are several, the least deeply nested one.

    Raises:
      UserError: Two of them are equally deeply nested.
    """
    wanted = plain(name)
    found = sorted(
        (layer for layer in layers if wanted in layer.names),
        key=lambda layer: len(layer.path),
    )
    if len(found) > 1 and len(found[0].path) == len(found[1].path):
        raise UserError(f"pretrained weights: two layers are called {name!r}")
    return found[0] if found else None
