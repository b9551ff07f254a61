"""The one reader of encoded pictures, both for data in memory and for streamed data.

A picture is read as a viewer shows it: turned upright as its EXIF tag says, with
transparent parts on white and 16 bits scaled to 8; of an animation, the first frame is
read. The name of the file does not matter. Pillow decodes the pictures, large JPEGs at
a reduced size.
"""

from __future__ import annotations

import dataclasses
import importlib
import io
import math
import warnings
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import numpy as np
from PIL import Image, ImageFile

from layernas_tf.datasets.frame import BACKGROUND, BAR_COLOUR, Frame
from layernas_tf.datasets.placing import Placing, place_picture

FORMATS = tuple("JPEG PNG WEBP BMP DIB TIFF GIF PPM JPEG2000 AVIF".split())
"""Pillow's names of the formats that are read; none of them can run programs."""

MOST_PIXELS = 178_956_970
"""A picture with more pixels is refused: a small file can claim to be of any size."""

_Given = TypeVarTuple("_Given")
_Result = TypeVar("_Result")

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


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """Facts about a decoded picture.

    Example:
      facts = inspect_image(pathlib.Path("cat.jpg").read_bytes())
      print(facts.height, facts.width, facts.kind)

    Attributes:
      height: Height of the upright picture, in pixels.
      width: Width of the upright picture, in pixels.
      kind: Format and Pillow's mode, such as `PNG I;16`.
      grey: Whether it shows no colour.
      bits: Bits of a channel, 8 or 16.
      low: The lowest value of any channel, as in the file.
      high: The highest value of any channel, as in the file.
    """

    height: int
    width: int
    kind: str
    grey: bool
    bits: int
    low: int
    high: int


def read_image(
    content: bytes, frame: Frame, key: tuple[int, int] | None = None
) -> np.ndarray:
    """Decodes a picture and brings it into a frame.

    Args:
      content: The encoded picture, in any of `FORMATS`.
      frame: Size, channels and fit.
      key: Seed of a random part that is shown in place of the whole, stretched to the
        frame (see `augment.crop_box`); None shows the picture as `frame.fit` says.

    Returns:
      Pixels of `frame.shape`, uint8.

    Raises:
      ImageError: The picture is damaged, cut short, or of a kind that is not read.
    """
    image, size = _guarded(_open, content)
    placing = place_picture(frame, size, key)
    upright = _guarded(_load, image, placing, size)
    return _guarded(_paint, upright, frame, placing, size)


def inspect_image(content: bytes) -> ImageFacts:
    """Decodes a picture as `read_image` does, and says what it is.

    Raises:
      ImageError: As `read_image`.
    """
    image, size = _guarded(_open, content)
    placing = place_picture(_INSPECTED, size, None)
    upright = _guarded(_load, image, placing, size)
    kind = f"{image.format} {image.mode}"
    wide = image.mode.startswith("I")
    extrema = _guarded((image if wide else upright).getextrema)
    pairs = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return ImageFacts(
        height=size[1],
        width=size[0],
        kind=kind,
        grey=upright.mode == "L" or _is_grey(upright),
        bits=16 if wide else 8,
        low=int(min(low for low, _ in pairs)),
        high=int(max(high for _, high in pairs)),
    )


_INSPECTED = Frame(32, 32, 3)


def fit_images(images: np.ndarray, frame: Frame) -> np.ndarray:
    """Brings decoded pictures of one size into a frame, as `read_image` would.

    Args:
      images: (N, H, W, C), C as the frame's, uint8 or float32, pixels in [0, 255].
      frame: Size and fit.

    Returns:
      (N, height, width, C) of the same type.
    """
    height, width = images.shape[1:3]
    placing = place_picture(frame, (width, height), None)
    whole = (0.0, 0.0, float(width), float(height))
    if placing.size == (width, height) and placing.source == whole:
        if frame.shape[:2] == (height, width):
            return images
    result = np.full((len(images), *frame.shape), BAR_COLOUR, images.dtype)
    (left, top), (columns, rows) = placing.place, placing.size
    target = result[:, top : top + rows, left : left + columns]
    for index, image in enumerate(images):
        for channel in range(images.shape[-1]):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel]))
            target[index, ..., channel] = _resized(plane, placing, (width, height))
    return result


def with_channels(images: np.ndarray, channels: int | None) -> np.ndarray:
    """Decoded pictures in grey or RGB.

    Args:
      images: (N, H, W, 1 or 3), uint8 or float32.
      channels: 1 makes grey as `read_image` does, 3 repeats grey; None keeps them.

    Returns:
      (N, H, W, channels) of the same type.
    """
    if channels is None or images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    luma = images.astype(np.float32) @ np.array([[0.299], [0.587], [0.114]], np.float32)
    if images.dtype == np.uint8:
        luma = np.rint(luma)
    return luma.astype(images.dtype)


def _guarded(function: Callable[[*_Given], _Result], *arguments: *_Given) -> _Result:
    """Calls one step of reading; whatever it raises becomes an `ImageError`."""
    try:
        return function(*arguments)
    except ImageError:
        raise
    # A damaged file leads Pillow's decoders to errors of every kind.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ImageError(lines[0]) from error


def _open(content: bytes) -> tuple[ImageFile.ImageFile, tuple[int, int]]:
    """The picture, not decoded yet, and its upright width and height."""
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


def _load(
    image: ImageFile.ImageFile, placing: Placing, size: tuple[int, int]
) -> Image.Image:
    """The decoded upright picture in mode L or RGB; a JPEG may be reduced in size."""
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


def _paint(
    upright: Image.Image, frame: Frame, placing: Placing, size: tuple[int, int]
) -> np.ndarray:
    part = np.asarray(
        _resized(upright.convert("L" if frame.channels == 1 else "RGB"), placing, size)
    )
    part = part.reshape(part.shape[0], part.shape[1], frame.channels)
    if part.shape == frame.shape:
        return part
    painted = np.full(frame.shape, BAR_COLOUR, np.uint8)
    (left, top), (columns, rows) = placing.place, placing.size
    painted[top : top + rows, left : left + columns] = part
    return painted


def _resized(
    image: Image.Image, placing: Placing, size: tuple[int, int]
) -> Image.Image:
    """The placed part of a picture; the placing refers to a picture of that `size`."""
    across, down = image.width / size[0], image.height / size[1]
    left, top, right, bottom = placing.source
    # Whole pixels, cut out first: resizing alone would look beyond the part's edges.
    box = (
        max(0, min(image.width - 1, round(left * across))),
        max(0, min(image.height - 1, round(top * down))),
        max(1, min(image.width, round(right * across))),
        max(1, min(image.height, round(bottom * down))),
    )
    box = (*box[:2], max(box[0] + 1, box[2]), max(box[1] + 1, box[3]))
    if box != (0, 0, *image.size):
        image = image.crop(box)
    if placing.size == image.size:
        return image
    return image.resize(placing.size, Image.Resampling.BILINEAR)


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image.reduce(max(1, min(image.size) // 64)))
    return bool((pixels[..., :1] == pixels).all())
