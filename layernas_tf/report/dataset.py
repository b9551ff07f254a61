"""The data set in the report: the findings of its check, and sample images."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping, Sequence

import numpy as np

from layernas_tf.datasets.data_check import DataCheck
from layernas_tf.report.page import Section

_SHOWN_SIDE = 72
"""CSS pixels of an image's longer side."""


def dataset_section(
    check: DataCheck, samples: Mapping[str, Sequence[np.ndarray]]
) -> Section:
    """A table of the classes with sample images, and the findings of the check.

    Args:
      check: The findings of the check of the data set.
      samples: By class name, uint8 images (H, W, 1 or 3) as the network sees them.
    """
    sizes = {size.name: size for size in check.classes}
    rows = []
    for name, images in samples.items():
        size = sizes.get(name)
        numbers = (size.train, size.valid, size.test) if size else ("", "", "")
        cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
        pictures = "".join(map(_picture, images))
        rows.append(f"<tr><td>{html.escape(name)}</td>{cells}<td>{pictures}</td></tr>")
    head = (
        "<tr><th>class</th><th>train</th><th>validation</th><th>test</th><th></th></tr>"
    )
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in check.lines())
    return Section(
        "Data",
        f"<table>{head}{''.join(rows)}</table><ul>{lines}</ul>",
        "Images as the network sees them. Images held out of the training images count "
        "as validation or test images.",
    )


def _picture(image: np.ndarray) -> str:
    from PIL import Image

    content = io.BytesIO()
    pixels = image[..., 0] if image.shape[-1] == 1 else image
    Image.fromarray(pixels).save(content, "PNG")
    scale = _SHOWN_SIDE / max(image.shape[:2])
    height, width = (max(1, round(scale * side)) for side in image.shape[:2])
    encoded = base64.b64encode(content.getvalue()).decode()
    return (
        f'<img src="data:image/png;base64,{encoded}" width="{width}" '
        f'height="{height}" alt="">'
    )
