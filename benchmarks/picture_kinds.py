"""The same picture in every mode and format, for the table of the docs and tests."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

SIZE = (48, 64)
"""Height and width of the pictures."""


def shown(seed: int, *, grey: bool = False) -> np.ndarray:
    """What a viewer shows: soft colours, the top left corner bright; (H, W, 3)."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    base = 60 + rows * 2 + columns
    colours = np.stack([base, 230 - base * 0.6, 90 + base * 0.4], -1)
    colours[:16, :16] = 240
    colours += generator.integers(-12, 12)
    pixels = np.clip(colours, 0, 255).astype(np.uint8)
    if not grey:
        return pixels
    return np.repeat(np.asarray(Image.fromarray(pixels).convert("L"))[..., None], 3, 2)


@dataclasses.dataclass(frozen=True)
class Kind:
    """One mode of one format.

    Example: `Kind("PNG, 8-bit grey", ".png", _as("PNG", "L"), grey=True)`.

    Attributes:
      name: For tables.
      suffix: What files of it are called.
      make: From `shown` in RGB to the encoded picture.
      grey: Whether it holds no colour.
      tolerance: Mean difference from `shown` that its compression explains.
      loads: False where it is to be refused.
    """

    name: str
    suffix: str
    make: Callable[[Image.Image], bytes]
    grey: bool = False
    tolerance: float = 0.5
    loads: bool = True

    def content(self, seed: int) -> bytes:
        """The encoded picture."""
        return self.make(Image.fromarray(shown(seed)))


def _as(format: str, mode: str = "RGB", **options: Any) -> Callable:
    def make(image: Image.Image) -> bytes:
        content = io.BytesIO()
        image.convert(mode).save(content, format, **options)
        return content.getvalue()

    return make


def _turned(format: str, **options: Any) -> Callable:
    def make(image: Image.Image) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = 6
        turned = image.transpose(Image.Transpose.ROTATE_90)
        return _as(format, exif=exif, **options)(turned)

    return make


def _alpha(format: str, mode: str = "RGBA", **options: Any) -> Callable:
    """The bright corner is transparent over black: on white it is white again."""

    def make(image: Image.Image) -> bytes:
        rgba = np.asarray(image.convert("RGBA")).copy()
        rgba[:16, :16] = (0, 0, 0, 0)
        return _as(format, mode, **options)(Image.fromarray(rgba))

    return make


def _wide(format: str, **options: Any) -> Callable:
    def make(image: Image.Image) -> bytes:
        grey = np.asarray(image.convert("L"), np.uint16) * 257
        content = io.BytesIO()
        Image.fromarray(grey).save(content, format, **options)
        return content.getvalue()

    return make


def _floats(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.convert("F").save(content, "TIFF")
    return content.getvalue()


def _integers(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.convert("I").save(content, "TIFF")
    return content.getvalue()


def _palette(format: str, **options: Any) -> Callable:
    def make(image: Image.Image) -> bytes:
        content = io.BytesIO()
        image.quantize(256).save(content, format, **options)
        return content.getvalue()

    return make


def _animated(format: str, **options: Any) -> Callable:
    def make(image: Image.Image) -> bytes:
        black = Image.new("RGB", image.size)
        return _as(format, save_all=True, append_images=[black], **options)(image)

    return make


_FINE: dict[str, Any] = {"quality": 95}
KINDS = (
    Kind("JPEG RGB", ".jpg", _as("JPEG", **_FINE), tolerance=4),
    Kind("JPEG progressive", ".jpeg", _as("JPEG", progressive=True), tolerance=6),
    Kind("JPEG grey", ".jpg", _as("JPEG", "L", **_FINE), grey=True, tolerance=2),
    Kind("JPEG CMYK", ".jpg", _as("JPEG", "CMYK", **_FINE), tolerance=4),
    Kind("JPEG turned by EXIF", ".JPG", _turned("JPEG", **_FINE), tolerance=4),
    Kind("JPEG of several pictures (MPO)", ".jpg", _animated("MPO"), tolerance=6),
    Kind("PNG RGB", ".png", _as("PNG")),
    Kind("PNG grey", ".png", _as("PNG", "L"), grey=True),
    Kind("PNG grey 16 bits", ".png", _wide("PNG"), grey=True),
    Kind("PNG black and white", ".png", _as("PNG", "1"), grey=True, tolerance=130),
    Kind("PNG palette", ".png", _palette("PNG"), tolerance=8),
    Kind("PNG RGBA", ".png", _alpha("PNG"), tolerance=2),
    Kind("PNG grey and alpha", ".png", _alpha("PNG", "LA"), grey=True, tolerance=2),
    Kind("PNG turned by EXIF", ".png", _turned("PNG")),
    Kind("PNG animated", ".png", _animated("PNG")),
    Kind("WebP RGB", ".webp", _as("WEBP", quality=95), tolerance=4),
    Kind("WebP RGBA lossless", ".webp", _alpha("WEBP", lossless=True), tolerance=2),
    Kind("WebP animated", ".webp", _animated("WEBP", lossless=True)),
    Kind("WebP turned by EXIF", ".webp", _turned("WEBP", lossless=True)),
    Kind("BMP RGB", ".bmp", _as("BMP")),
    Kind("BMP grey", ".bmp", _as("BMP", "L"), grey=True),
    Kind("BMP palette", ".bmp", _palette("BMP"), tolerance=8),
    Kind("TIFF RGB", ".tif", _as("TIFF")),
    Kind("TIFF LZW", ".tiff", _as("TIFF", compression="tiff_lzw")),
    Kind("TIFF grey 16 bits", ".tif", _wide("TIFF"), grey=True),
    Kind("TIFF CMYK", ".tif", _as("TIFF", "CMYK"), tolerance=2),
    Kind("TIFF RGBA", ".tif", _alpha("TIFF"), tolerance=2),
    Kind("TIFF turned by its tag", ".tif", _turned("TIFF")),
    Kind("TIFF of several pages", ".tif", _animated("TIFF")),
    Kind("TIFF floats", ".tif", _floats, grey=True, loads=False),
    Kind("TIFF integers of 32 bits", ".tif", _integers, grey=True, loads=False),
    Kind("GIF", ".gif", _palette("GIF"), tolerance=8),
    Kind("GIF animated", ".gif", _animated("GIF"), tolerance=12),
    Kind("PPM", ".ppm", _as("PPM")),
    Kind("PGM", ".pgm", _as("PPM", "L"), grey=True),
    Kind("PGM 16 bits", ".pgm", _wide("PPM"), grey=True),
    Kind("JPEG 2000", ".jp2", _as("JPEG2000")),
    Kind("AVIF", ".avif", _as("AVIF", quality=95), tolerance=4),
    Kind("PNG called .jpg", ".jpg", _as("PNG")),
    Kind("JPEG called .png", ".png", _as("JPEG", **_FINE), tolerance=4),
    Kind("JPEG without a suffix", "", _as("JPEG", **_FINE), tolerance=4),
    Kind("WebP called .data", ".data", _as("WEBP", quality=95), tolerance=4),
)
"""Every kind that the docs promise; those that do not load are to be refused."""
