"""The one reader of encoded pictures, both for data in memory and for streamed data.

A picture is read as a viewer shows it: turned upright as its EXIF tag says, with
transparent parts on white and 16 bits scaled to 8; of an animation, the first frame is
read. The name of the file does not matter. Pillow decodes the pictures, large JPEGs at
a reduced size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import numpy as np
from PIL import Image

from layernas_tf.datasets.decoding import ImageError, load_upright, open_picture
from layernas_tf.datasets.frame import Frame
from layernas_tf.datasets.framing import paint
from layernas_tf.datasets.placing import place_picture

_Given = TypeVarTuple("_Given")
_Result = TypeVar("_Result")


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
      content: The encoded picture, in any of `decoding.FORMATS`.
      frame: Size, channels and fit.
      key: Seed of a random part that is shown in place of the whole, stretched to the
        frame (see `augment.crop_box`); None shows the picture as `frame.fit` says.

    Returns:
      Pixels of `frame.shape`, uint8.

    Raises:
      ImageError: The picture is damaged, cut short, or of a kind that is not read.
    """
    image, size = _guarded(open_picture, content)
    placing = place_picture(frame, size, key)
    upright = _guarded(load_upright, image, placing, size)
    return _guarded(paint, upright, frame, placing, size)


def inspect_image(content: bytes) -> ImageFacts:
    """Decodes a picture as `read_image` does, and says what it is.

    Raises:
      ImageError: As `read_image`.
    """
    image, size = _guarded(open_picture, content)
    placing = place_picture(_INSPECTED, size, None)
    upright = _guarded(load_upright, image, placing, size)
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


def _is_grey(image: Image.Image) -> bool:
    pixels = np.asarray(image.reduce(max(1, min(image.size) // 64)))
    return bool((pixels[..., :1] == pixels).all())
