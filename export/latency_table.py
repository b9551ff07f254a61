"""Measures every distinct block of a search space on a device; a binary.

python -m export.latency_table --space=mobilenet_v3_small --resolution=224 \
    --device=host --out=table.json

`layernas_tf.search --latency_table=table.json --budget='latency_ms<=4'` searches with
it. An interrupted measurement continues when the same command is run again.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from export.tflite import runtime as runtimes
from export.tflite.tflite_graph import FORMATS
from export.timing.host_timer import HostTimer
from export.timing.latency_table import Timer, measure_table
from layernas_tf.core.app import run_main
from layernas_tf.core.errors import UserError
from layernas_tf.core.workdir import check_workdir

DEVICES = ("host", "android")
"""Where a table can be measured: this machine or an Android device."""


def _timer(values: flags.FlagValues) -> Timer:
    common = {
        "threads": values.threads,
        "rounds": values.rounds,
        "form": values.format,
    }
    if values.device == "android":
        from export.timing.android_timer import AndroidTimer

        return AndroidTimer.connect(
            values.adb, values.serial, values.benchmark_model, **common
        )
    return HostTimer(runtime=runtimes.resolve_runtime(values.runtime), **common)


def main(argv: Sequence[str]) -> None:
    """Runs the binary."""
    del argv
    values = flags.FLAGS
    if not values.space or not values.out:
        missing = "space" if not values.space else "out"
        raise UserError(f"--{missing} is needed (--help lists the flags)")
    if values.device not in DEVICES:
        raise UserError(
            f"unknown device {values.device!r}: expected {', '.join(DEVICES)}"
        )
    if values.format not in FORMATS:
        raise UserError(
            f"unknown format {values.format!r}: expected {', '.join(FORMATS)}"
        )
    for name in ("threads", "rounds"):
        if values[name].value < 1:
            raise UserError(f"--{name}: expected 1 or more, got {values[name].value}")
    from search_spaces.registry import get_space

    if values.device == "android" and values.runtime != "auto":
        raise UserError(
            f"--runtime={values.runtime} is for the host: on Android, benchmark_model "
            "is the runtime"
        )
    out = pathlib.Path(values.out)
    check_workdir(out.parent)
    space = get_space(
        values.space,
        **{name: values[name].value for name in _SPACE_FLAGS},
    )
    timer = _timer(values)
    out.parent.mkdir(parents=True, exist_ok=True)
    table = measure_table(space, timer, out)
    found = table["calibration"]
    print(
        f"{out}: {table['distinct_blocks']:,} distinct blocks of {space.name} on "
        f"{table['device']}, {table['runtime']} {table['runtime_version']}, "
        f"{table['threads']} thread(s), {table['format']}, in "
        f"{table['seconds']:.0f} s\n"
        f"Latency of a network = {found['scale']:.3f} x its blocks + "
        f"{found['offset_ms']:.3f} ms, {found['error']:.1%} off on average over "
        f"{len(found['networks'])} whole networks"
    )


_SPACE_FLAGS = ("resolution", "classes", "channels", "stem_stride")


def define_flags() -> None:
    """Defines the binary's flags: not at import, as tests import this module."""
    flags.DEFINE_string("space", "", "A space's name or path/to/file.py:function.")
    flags.DEFINE_string(
        "resolution", None, "Size of the images in pixels, such as 96 or 96x160."
    )
    flags.DEFINE_integer("classes", None, "Number of classes of the data set.")
    flags.DEFINE_integer("channels", None, "Channels of the images.")
    flags.DEFINE_integer(
        "stem_stride", None, "Stride of the first convolution, as in the search."
    )
    flags.DEFINE_string("device", "host", f"Where to run: {', '.join(DEVICES)}.")
    flags.DEFINE_string("out", "", "File that the table is written to.")
    flags.DEFINE_integer("threads", 1, "Threads of one inference.")
    flags.DEFINE_string(
        "runtime", "auto", f"auto or one of {', '.join(runtimes.RUNTIMES)}."
    )
    flags.DEFINE_string(
        "benchmark_model", "", "TFLite's tool built for Android: see docs/latency.md."
    )
    flags.DEFINE_string(
        "serial", "", "Serial of the Android device, if several are connected."
    )
    flags.DEFINE_string("adb", "adb", "The adb command.")
    flags.DEFINE_string(
        "format", "float32", f"Format of the blocks: {', '.join(FORMATS)}."
    )
    flags.DEFINE_integer(
        "rounds", 5, "Rounds in which every block is timed; more of them reduce noise."
    )


def cli() -> None:
    """The command `layernas-latency-table`: parses the flags and runs."""
    define_flags()
    run_main(main)


if __name__ == "__main__":
    cli()
