"""Decodes a picture with Pillow: any format and mode, upright, as 8-bit grey or RGB."""

from __future__ import annotations

import importlib
import io
import math
import warnings

import numpy as np
from PIL import Image, ImageFile

from layernas_tf.datasets.frame import BACKGROUND
from layernas_tf.datasets.placing import Placing

FORMATS = tuple("JPEG PNG WEBP BMP DIB TIFF GIF PPM JPEG2000 AVIF".split())
"""Pillow's names of the formats that are read; none of them can run programs."""

MOST_PIXELS = 178_956_970
"""A picture with more pixels is refused: a small file can claim to be of any size."""

_OVERSAMPLED = 2
"""A JPEG is decoded to at least this many times the height and width that is needed."""

_PARTLY = ("JPEG", "MPO")
"""Formats of which Pillow can decode a smaller version at less cost."""

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

for _plugin in "Avif Bmp Gif Jpeg Jpeg2K Mpo Png Ppm Tiff WebP".split():
    importlib.import_module(f"PIL.{_plugin}ImagePlugin")  # makes its format known

# Pillow warns about large pictures and damaged tags, but it can read them.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageError(ValueError):
    """A picture cannot be read; the text is the reason, in one line.

    Example: `raise ImageError("the file is empty")`.
    """


def open_picture(content: bytes) -> tuple[ImageFile.ImageFile, tuple[int, int]]:
    """The picture, not decoded yet, and its upright width and height.

    Raises:
      ImageError: It is no picture, is empty, too large, or of a kind that is not read.
    """
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise ImageError(_what_else(content)) from None
    except Image.DecompressionBombError:
        raise ImageError(f"it claims more than {MOST_PIXELS:,} pixels") from None
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise ImageError(f"it claims {width:,} x {height:,} pixels")
    if width < 1 or height < 1:
        raise ImageError(f"it is empty, {width} x {height} pixels")
    if image.format not in _PARTLY:
        image.load()  # Tags may follow the pixels; a TIFF is upright after it.
    turned = _orientation(image) in _TURNED
    return image, image.size[::-1] if turned else image.size


def _what_else(content: bytes) -> str:
    """Says what a file is that Pillow cannot identify."""
    head = content[:512].lstrip().lower()
    if not content:
        return "the file is empty"
    if not any(content[:4096]):
        return "the file holds nothing but zeros"
    if head.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "not a picture, but a web page or XML"
    if head.startswith(b"version https://git-lfs"):
        return "not a picture, but a pointer of Git LFS: run `git lfs pull`"
    if content[4:8] == b"ftyp" and content[8:12] in (
        b"heic",
        b"heix",
        b"mif1",
        b"msf1",
    ):
        return "a HEIC picture, which Pillow does not read: convert it to JPEG"
    return "no picture that Pillow knows, or its first bytes are damaged"


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
        return int(value) if isinstance(value, (int, float)) else 1
    # Like in viewers, a picture with damaged tags is not turned.
    except Exception:
        return 1


def load_upright(
    image: ImageFile.ImageFile, placing: Placing, size: tuple[int, int]
) -> Image.Image:
    """The decoded upright picture in mode L or RGB; a JPEG may be reduced in size.

    Raises:
      ImageError: Its pixels have no known scale.
    """
    orientation = _orientation(image)
    if image.format in _PARTLY:
        left, top, right, bottom = placing.source
        wanted = [
            math.ceil(_OVERSAMPLED * whole * part / max(1.0, extent))
            for whole, part, extent in zip(
                size, placing.size, (right - left, bottom - top)
            )
        ]
        if orientation in _TURNED:
            wanted.reverse()
        image.draft(None, (wanted[0], wanted[1]))
        image.load()
    flat = _flattened(image)
    turn = _UPRIGHT.get(orientation)
    return flat if turn is None else flat.transpose(turn)


def _flattened(image: Image.Image) -> Image.Image:
    """Any of Pillow's modes as 8-bit grey or RGB, transparent parts on white."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format in ("PNG", "PPM")):
        wide = np.asarray(image).astype(np.int64)
        grey = ((wide * 255 + 32767) // 65535).clip(0, 255).astype(np.uint8)
        clear = image.info.get("transparency")
        if isinstance(clear, int):
            grey[wide == clear] = BACKGROUND
        return Image.fromarray(grey)
    if mode in ("I", "F"):
        number = "integers" if mode == "I" else "floats"
        raise ImageError(f"its pixels are 32-bit {number} of a scale it does not say")
    if mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[mode])
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        behind = Image.new("RGBA", image.size, (BACKGROUND,) * 4)
        return Image.alpha_composite(behind, image.convert("RGBA")).convert("RGB")
    return image.convert("L" if mode in ("1", "L") else "RGB")
