"""A few images in the form of ImageNet, prepared by TFDS' own builder from tars."""

from __future__ import annotations

import io
import pathlib
import tarfile

import numpy as np

SYNSETS = ("n01440764", "n01443537", "n01484850")
"""The first three of the thousand classes."""


def picture(label: int, number: int) -> np.ndarray:
    """Stripes across, stripes down, or a checkerboard, of a size of its own."""
    generator = np.random.default_rng((label, number))
    height, width = generator.integers(40, 90, 2)
    rows, columns = np.mgrid[:height, :width] // 6 % 2
    pattern = (rows, columns, rows ^ columns)[label] * 140 + generator.integers(20, 80)
    noise = generator.normal(0, 8, (height, width, 3))
    return np.clip(pattern[..., None] + noise, 0, 255).astype(np.uint8)


def jpeg(label: int, number: int) -> bytes:
    """The picture, encoded."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture(label, number)).save(content, "JPEG", quality=92)
    return content.getvalue()


def write(folder: pathlib.Path, train: int = 48, test: int = 12) -> pathlib.Path:
    """Writes ImageNet's two archives and prepares them as `imagenet2012`.

    The labels of the validation images are those that TFDS knows for the first names
    of the real set, which these pictures do not show.

    Args:
      folder: An empty one.
      train: Training images, of three classes in turn.
      test: Images of the official validation split.

    Returns:
      What TFDS_DATA_DIR is to be.
    """
    import tensorflow_datasets as tfds

    data_dir = folder / "tensorflow_datasets"
    manual = folder / "manual"
    manual.mkdir(parents=True)
    inner = {}
    for label, synset in enumerate(SYNSETS):
        names = {
            f"{synset}_{number}.JPEG": jpeg(label, number)
            for number in range(label, train, len(SYNSETS))
        }
        inner[f"{synset}.tar"] = _tar(names)
    (manual / "ILSVRC2012_img_train.tar").write_bytes(_tar(inner))
    (manual / "ILSVRC2012_img_val.tar").write_bytes(
        _tar(
            {
                f"ILSVRC2012_val_{number + 1:08}.JPEG": jpeg(number % 3, 1000 + number)
                for number in range(test)
            }
        )
    )
    builder = tfds.builder("imagenet2012", data_dir=str(data_dir))
    builder.download_and_prepare(
        download_dir=str(folder / "downloads"),
        download_config=tfds.download.DownloadConfig(
            manual_dir=str(manual), num_shards=4
        ),
    )
    return data_dir


def _tar(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()
