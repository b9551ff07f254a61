"""Searches a network under a budget, and hands back a trained and exported winner.

python -m layernas_tf.search --space=mobilenet_v3_small --dataset=digits \
    --budget='madds<=3M' --trials=60 --workdir=runs/x

Running it again with the same workdir continues where it was.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import flags
from rich.console import Console

from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.pipeline import config as configuration
from layernas_tf.pipeline.evaluation import prepare_libraries
from layernas_tf.pipeline.run import run


def define_flags() -> None:
    """Defines the binary's flags: not at import, as tests import this module."""
    configuration.define_flags()
    flags.DEFINE_string("workdir", os.path.join("runs", "search"), "Folder of results.")


def main(argv: Sequence[str]) -> None:
    """Runs the binary."""
    del argv
    prepare_libraries()
    config = configuration.from_flags(flags.FLAGS)
    try:
        run(config, flags.FLAGS.workdir, Console(highlight=False))
    except OSError as error:
        where = error.filename or flags.FLAGS.workdir
        raise UserError(
            f"{where!r}: {error.strerror or error}; the same command continues when "
            "this is mended"
        ) from None


if __name__ == "__main__":
    define_flags()
    run_main(main)
