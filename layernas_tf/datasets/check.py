"""Binary: checks a data set before anything is trained.

    python -m layernas_tf.datasets.check --dataset=folder:DIR

decodes every picture, lists every file that cannot be read, and reports the classes,
what was left out and whatever else matters for training. Its exit code is 1 if pictures
of a folder cannot be read or a search would refuse the folder for another reason, and 2
if there is no data set or its arrays would be refused.
"""

from __future__ import annotations

import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from rich.console import Console

from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import write_json
from layernas_tf.core.resolution import parse_resolution
from layernas_tf.datasets.data_check import DataCheck
from layernas_tf.datasets.file_progress import file_progress
from layernas_tf.datasets.folder import check_listing
from layernas_tf.datasets.folder_listing import list_folder
from layernas_tf.datasets.frame import DEFAULT_FIT, FITS
from layernas_tf.datasets.load import load_dataset
from layernas_tf.datasets.options import Options


def check_dataset(
    text: str, options: Options, console: Console | None = None
) -> DataCheck:
    """Checks a data set; a folder is checked without being loaded.

    Args:
      text: The text of a data set, as for `load_dataset`.
      options: The resolution and the fit choose the size of the network's input.
      console: Shows how many files are done; None shows nothing.

    Raises:
      UserError: The text names no data set, or it cannot be checked beforehand.
    """
    kind, _, path = text.partition(":")
    if kind == "folder" and path:
        listing = list_folder(text, path)
        with file_progress(console) as progress:
            return check_listing(text, listing, options, progress)
    check = load_dataset(text, resolution=options.resolution, fit=options.fit).check
    if check is None:
        raise UserError(
            f"{text} is read only while it is used, so it cannot be checked beforehand"
        )
    return check


def main(argv: Sequence[str]) -> None:
    """Prints the findings."""
    del argv
    values = flags.FLAGS
    resolution = values.resolution and parse_resolution(values.resolution)
    options = Options(resolution or None, 0.2, 0, None, values.fit)
    console = Console(highlight=False)
    check = check_dataset(values.dataset, options, console)
    for line in check.lines(all_files=True):
        console.print(line, soft_wrap=True, markup=False)
    if check.frame is not None:
        rows, columns = check.frame
        console.print(f"A network's input: {rows}x{columns} pixels, fit {values.fit}.")
    if values.out:
        write_json(pathlib.Path(values.out), check.to_json())
    if check.problem or check.unreadable:
        sys.exit(1)


def define_flags() -> None:
    """Defines the binary's flags: not at import, as tests import this module."""
    flags.DEFINE_string(
        "dataset", "digits", "digits, moved_digits, npz:FILE, folder:DIR or tfds:NAME."
    )
    flags.DEFINE_string(
        "resolution", None, "Size of the network's input, as in the search."
    )
    flags.DEFINE_enum(
        "fit", DEFAULT_FIT, FITS, "How images are fitted to the size, as in the search."
    )
    flags.DEFINE_string("out", "", "File that the findings are written to, as JSON.")


if __name__ == "__main__":
    define_flags()
    run_main(main)
