"""Finds the picture files in a folder; hidden and system files are left out."""

from __future__ import annotations

import collections
import os
import pathlib
import stat
from collections.abc import Iterator

from layernas_tf.core.errors import UserError, reason_of

SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .webp .bmp .dib .tif .tiff .gif .ppm .pgm "
    ".pbm .pnm .jp2 .j2k .jpx .avif".split()
)
"""Files with these suffixes are taken to be pictures, whatever format they hold."""

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a")
"""First bytes of pictures, to recognize pictures with other suffixes."""

_NEVER_PICTURES = frozenset(
    ".txt .csv .tsv .json .xml .yaml .yml .md .html .htm .py .ipynb .db .ini .log .lnk "
    ".zip .tar .gz .7z .rar .mp4 .mov .avi .mkv .pdf .npy .npz .pkl .h5 .mat .svg "
    ".heic .heif .cr2 .cr3 .nef .arw .dng .orf .raf .rw2 .psd .ai .eps .exr "
    ".hdr .tmp .part .crdownload".split()
)
"""Files with these suffixes are never read, even if they begin like a picture."""

_SYSTEM = frozenset(
    "__macosx @eadir @tmp @recycle @recently-snapshot #recycle #snapshot $recycle.bin "
    "recycler lost+found __pycache__ thumbs.db ehthumbs.db ehthumbs_vista.db "
    "desktop.ini icon\r".split()
) | {"system volume information", "network trash folder", "temporary items"}
"""Names, in lower case, of files and folders that systems put beside pictures."""


def shown(path: str) -> str:
    """A path for messages: quoted, and readable whatever bytes it is made of."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    signs = (
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )
    return f"'{''.join(signs)}'"


def entries(
    folder: pathlib.Path, left_out: collections.Counter[str] | None = None
) -> list[pathlib.Path]:
    """What a folder holds, in order, without hidden files and those of systems."""
    try:
        names = sorted(os.listdir(folder), key=os.fsencode)
    except OSError as error:
        raise UserError(
            f"the folder {shown(str(folder))} cannot be read: {reason_of(error)}"
        ) from None
    kept = []
    for name in names:
        if name.startswith(".") or name.casefold() in _SYSTEM:
            if left_out is not None:
                left_out["hidden or a system's"] += 1
        else:
            kept.append(folder / name)
    return kept


def is_folder(path: pathlib.Path) -> bool:
    """Whether it is a folder, or a link to one."""
    return path.is_dir()


def pictures(
    folder: pathlib.Path,
    left_out: collections.Counter[str],
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[str]:
    """All pictures in a folder and its folders; a link back upwards is not followed."""
    facts = os.stat(folder)
    here = (facts.st_dev, facts.st_ino)
    if here in above:
        left_out["links to a folder they lie in"] += 1
        return
    for entry in entries(folder, left_out):
        if is_folder(entry):
            yield from pictures(entry, left_out, (*above, here))
            continue
        kind = kind_left_out(entry)
        if kind:
            left_out[kind] += 1
        else:
            yield str(entry)


def kind_left_out(file: pathlib.Path) -> str:
    """The kind of a file that is left out; empty for a picture."""
    suffix = file.suffix.lower()
    if suffix in SUFFIXES:
        # Reading a pipe would never end; a broken link is listed as unreadable.
        try:
            regular = stat.S_ISREG(os.stat(file).st_mode)
        except OSError:
            return ""
        return "" if regular else "pipes, sockets and devices"
    if suffix not in _NEVER_PICTURES and _begins_like_a_picture(file):
        return ""
    printable = suffix.isascii() and suffix.isprintable() and len(suffix) <= 12
    return suffix if suffix and printable else "files without a suffix"


def _begins_like_a_picture(file: pathlib.Path) -> bool:
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return False
        with open(file, "rb") as opened:
            head = opened.read(12)
    except OSError:
        return False
    return head.startswith(_MAGIC) or (head[:4], head[8:]) == (b"RIFF", b"WEBP")
