"""Searches for a network inside a budget, then trains and exports the winner.

python -m layernas_tf.search --space=mobilenet_v3_small --dataset=digits \
    --budget='madds<=3M' --trials=60 --workdir=runs/x

Running it again with the same workdir continues where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import flags
from rich.console import Console

from export.conversion.formats import check_formats, check_input_type
from export.exporter import export_winner
from layernas_tf.core import app
from layernas_tf.core.errors import UserError
from layernas_tf.pipeline import run as pipeline
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_check import check_config
from layernas_tf.pipeline.evaluation import prepare_libraries
from layernas_tf.pipeline.inputs import Inputs
from layernas_tf.pipeline.retarget import retargeted
from search_spaces.registry import check_name, get_space


def run(
    config: SearchConfig, workdir: str, console: Console
) -> pipeline.FinishedSearch:
    """The search of a configuration; see `layernas_tf.pipeline.run.run`."""
    check_formats(config.format_names)
    check_input_type(config.export_input_type)
    inputs = Inputs(get_space, check_name)
    return pipeline.run(config, workdir, console, inputs, export_winner)


def define_flags() -> None:
    """Defines the binary's flags: not at import, as tests import this module."""
    app.define_flags(SearchConfig)
    flags.DEFINE_string("workdir", os.path.join("runs", "search"), "Folder of results.")


def main(argv: Sequence[str]) -> None:
    """Runs the binary."""
    del argv
    prepare_libraries()
    if flags.FLAGS.retarget_from:
        config = retargeted(app.given_flags(SearchConfig, flags.FLAGS))
    else:
        config = app.from_flags(SearchConfig, flags.FLAGS)
    check_config(config)
    try:
        run(config, flags.FLAGS.workdir, Console(highlight=False))
    except OSError as error:
        where = error.filename or flags.FLAGS.workdir
        raise UserError(
            f"{where!r}: {error.strerror or error}; the same command continues when "
            "this is fixed"
        ) from None


def cli() -> None:
    """The command `layernas-search`: parses the flags and runs."""
    define_flags()
    app.run_main(main)


if __name__ == "__main__":
    cli()
