"""Decoded images of any layout and scale, as (N, H, W, 1 or 3) with pixels in 0..255.

The meaning of an array is taken from its shape and values, and only where it is
certain: a scale is accepted if the values reach its upper half. A note tells the user
about any form that Keras' own data sets do not have. Everything else is an error of one
line.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from layernas_tf.core.errors import UserError
from layernas_tf.datasets.frame import BACKGROUND

_CHANNELS = (1, 3, 4)


def read_pixels(
    arrays: Mapping[str, np.ndarray], numbers: Mapping[str, int]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Brings images of one data set into one form; all arrays have the same meaning.

    Args:
      arrays: Images by name, all of one layout and scale, such as `x_train`, `x_test`.
      numbers: By the same names, the numbers of labels, and thus of images.

    Returns:
      By name, the images (N, H, W, C), uint8 or float32, with C of 1 or 3 and pixels in
      [0, 255]; and sentences about whatever was converted or interpreted.

    Raises:
      UserError: The layout or the scale of an array is uncertain; the array is named.
    """
    notes: list[str] = []
    ordered = {}
    for key, array in arrays.items():
        ordered[key], note = channels_last(key, array, numbers[key])
        if note and note not in notes:
            notes.append(note)
    scaled, note = _scaled(ordered)
    if note:
        notes.append(note)
    if any(array.shape[-1] == 4 for array in scaled.values()):
        scaled = {key: without_alpha(array) for key, array in scaled.items()}
        notes.append("the fourth channel is read as alpha: transparency becomes white")
    return scaled, notes


def channels_last(key: str, array: np.ndarray, number: int) -> tuple[np.ndarray, str]:
    """The images as (N, H, W, C) with 1, 3 or 4 channels, and a note or "".

    Args:
      key: The array's name.
      array: An array of any shape.
      number: How many images it must hold.

    Raises:
      UserError: The shape is not that of images, or is empty.
    """
    shape = array.shape
    if 0 in shape or not shape:
        raise UserError(f"{key} is empty, its shape is {shape}")
    if array.ndim == 3:
        return array[..., None], ""
    if array.ndim == 4:
        if shape[0] != number and shape[-1] == number and shape[2] in _CHANNELS:
            moved = np.moveaxis(array, -1, 0)
            return moved, "the last axis of the images is read as their number"
        if shape[-1] in _CHANNELS:
            return array, ""
        if shape[1] in _CHANNELS:
            moved = np.moveaxis(array, 1, -1)
            return moved, "the images are read as channels first, (N, C, H, W)"
    flat = array.ndim == 2 and shape[0] == number and shape[1] >= 64
    raise UserError(
        f"{key} has shape {shape}: expected (N, H, W), (N, H, W, C) or (N, C, H, W) "
        "with 1, 3 or 4 channels" + ("; reshape the flattened images" if flat else "")
    )


def without_alpha(images: np.ndarray) -> np.ndarray:
    """RGBA images composited on white, as encoded pictures are; others unchanged.

    Args:
      images: (N, H, W, C), uint8 or float32, pixels in [0, 255].

    Returns:
      (N, H, W, 3) of the same type; where C is not 4, the same images.
    """
    if images.shape[-1] != 4:
        return images
    result = np.empty((*images.shape[:3], 3), images.dtype)
    for index, image in enumerate(images):  # one at a time, to save memory
        part = image[..., 3:].astype(np.float32) / 255
        mixed = image[..., :3] * part + BACKGROUND * (1 - part)
        result[index] = np.rint(mixed) if images.dtype == np.uint8 else mixed
    return result


def from_16_bits(images: np.ndarray) -> np.ndarray:
    """Pixels of 0..65535 as uint8, rounded as `decoding` rounds them."""
    result = np.empty(images.shape, np.uint8)
    for index, image in enumerate(images):
        result[index] = (image.astype(np.int64) * 255 + 32767) // 65535
    return result


def _scaled(arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], str]:
    """The arrays with pixels in 0..255, and a note or ""."""
    kinds = {key: _kind(key, array) for key, array in arrays.items()}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{key} {arrays[key].dtype}" for key in arrays)
        raise UserError(f"the images are of different kinds: {listed}; expected one")
    kind = next(iter(kinds.values()))
    if kind == "boolean":
        white = {key: array.astype(np.uint8) * 255 for key, array in arrays.items()}
        return white, "boolean pixels are read as black (False) and white (True)"
    where = next(iter(arrays)) if len(arrays) == 1 else _widest(arrays)
    low = min(float(array.min()) for array in arrays.values())
    high = max(float(array.max()) for array in arrays.values())
    return (_floats if kind == "float" else _integers)(arrays, where, low, high)


def _kind(key: str, array: np.ndarray) -> str:
    if array.dtype == bool:
        return "boolean"
    if np.issubdtype(array.dtype, np.integer):
        return "integer"
    if not np.issubdtype(array.dtype, np.floating):
        raise UserError(f"{key} is of type {array.dtype}: expected integers or floats")
    if not np.isfinite(array).all():
        raise UserError(f"{key} has pixels that are NaN or infinite")
    return "float"


def _widest(arrays: Mapping[str, np.ndarray]) -> str:
    """The array with the value farthest from zero, which an error names."""
    return max(
        arrays, key=lambda k: max(abs(float(arrays[k].min())), float(arrays[k].max()))
    )


def _integers(
    arrays: Mapping[str, np.ndarray], where: str, low: float, high: float
) -> tuple[dict[str, np.ndarray], str]:
    if low >= 0 and high <= 255:
        return {key: array.astype(np.uint8) for key, array in arrays.items()}, ""
    if low >= 0 and 32767 < high <= 65535:
        scaled = {key: from_16_bits(array) for key, array in arrays.items()}
        return scaled, f"pixels up to {high:,.0f} are read as 16 bits, 0..65535"
    if low < 0 and all(array.dtype == np.int8 for array in arrays.values()):
        scaled = {
            key: (array.astype(np.int16) + 128).astype(np.uint8)
            for key, array in arrays.items()
        }
        return scaled, "int8 pixels are read as -128..127 for 0..255"
    raise UserError(
        f"{where} has integer pixels from {low:.0f} to {high:.0f}: expected 0..255, or "
        "16 bits that reach the upper half of 0..65535 (scale others to one of them)"
    )


def _floats(
    arrays: Mapping[str, np.ndarray], where: str, low: float, high: float
) -> tuple[dict[str, np.ndarray], str]:
    if low >= 0 and high <= 1:
        factor, offset, note = 255.0, 0.0, ""
    elif -1 <= low < -0.5 and 0.5 < high <= 1:
        factor, offset = 127.5, 127.5
        note = f"float pixels from {low:.3g} to {high:.3g} are read as -1..1"
    elif low >= 0 and 127.5 < high <= 255:
        factor, offset = 1.0, 0.0
        note = f"float pixels up to {high:.4g} are read as 0..255"
    else:
        raise UserError(
            f"{where} has float pixels from {low:g} to {high:g}: expected floats in "
            "[0, 1], or 0..255 or -1..1 of which the upper half is used, or integers "
            "in 0..255 (undo a normalization: the network does its own)"
        )
    scaled = {
        key: np.clip(array.astype(np.float32) * factor + offset, 0, 255).astype(
            np.float32
        )
        for key, array in arrays.items()
    }
    return scaled, note
