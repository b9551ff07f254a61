"""Reads the timings that TFLite's `benchmark_model` prints.

The lines are those of tensorflow/lite/tools/benchmark (benchmark_model.cc,
benchmark_tflite_model.cc, README.md) and of the statistics in
tensorflow/core/util/stats_calculator: older versions lack the percentiles, and have
one more column in the table of operators.
"""

from __future__ import annotations

import dataclasses
import re

from layernas_tf.core.errors import UserError

_FIGURE = r"([-+.\deE]+)"
_STATISTICS = re.compile(r"(?:^|[\s:\]])count=(\d+)((?: \w+=[-+.\deE]+)*)")
_PAIR = re.compile(rf"(\w+)={_FIGURE}")
_INITIALIZED = re.compile(rf"Init: {_FIGURE}")
_AVERAGE = re.compile(rf"Inference(?: \(avg\))?: {_FIGURE}(?![-+.\deE]* *ms)")
# LiteRT 2 prints a table in milliseconds instead.
_SESSION = re.compile(
    rf"(?:Initialized session in|Model initialization:)\s+{_FIGURE} ?ms"
)
_AVERAGE_MS = re.compile(rf"Inference \(avg\):\s+{_FIGURE} ms(?: \((\d+) runs\))?")
_PEAK_MB = re.compile(rf"Peak memory:\s+{_FIGURE} MB")
_MEMORY = re.compile(rf"start of the tool \(MB\): init={_FIGURE} overall={_FIGURE}")
_PEAK = re.compile(rf"peak memory footprint \(MB\).*?: {_FIGURE}")
_DELEGATED = re.compile(
    r"graph will be (completely|partially) executed by the delegate"
)
_NOT_DELEGATED = "graph will not be executed by the delegate"
_RUN_ORDER = re.compile(r"=+ Run Order =+")


@dataclasses.dataclass(frozen=True)
class OperatorTime:
    """Time of one operator of a network.

    Example: `OperatorTime("CONV_2D", "stem/conv", 0.12)`.

    Attributes:
      kind: TFLite's name of the operator.
      name: Name of the operator's output, as far as it is known.
      milliseconds: Mean time per inference.
    """

    kind: str
    name: str
    milliseconds: float


@dataclasses.dataclass(frozen=True)
class BenchmarkOutput:
    """Timings of one run of `benchmark_model`; None for what it did not print.

    Example: `parse_output(printed).mean_ms`.

    Attributes:
      runs: Inferences that were timed.
      mean_ms: Mean time of an inference, in milliseconds.
      min_ms: Time of the fastest inference.
      max_ms: Time of the slowest inference.
      p50_ms: Median time.
      p95_ms: 95th percentile of the time.
      init_ms: Time to load and prepare the network.
      memory_mb: Growth of the process's memory from the start of the tool, in MiB; its
        peak if the tool watched it.
      delegated: How much of the network the delegate runs: `completely`, `partially`,
        `not`; empty if the tool does not say.
      operators: Times of the operators in the order they run; empty without profiling.
    """

    runs: int
    mean_ms: float
    min_ms: float | None
    max_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    init_ms: float | None
    memory_mb: float | None
    delegated: str
    operators: tuple[OperatorTime, ...]


def parse_output(text: str) -> BenchmarkOutput:
    """Reads the timings of one run.

    Raises:
      UserError: If there are none: the last error the tool printed is named.
    """
    statistics = [
        {"count": float(count), **{key: float(value) for key, value in _pairs(rest)}}
        for line in text.splitlines()
        if "Memory (bytes)" not in line
        for count, rest in _STATISTICS.findall(line)
        if int(count) > 0
    ]
    average_us, average_ms = _AVERAGE.search(text), _AVERAGE_MS.search(text)
    if not statistics and average_ms:
        runs = float(average_ms.group(2) or 1)
        statistics = [{"count": runs, "avg": float(average_ms.group(1)) * 1e3}]
    if not statistics:
        raise UserError(f"benchmark_model gave no timings: {_reason(text)}")
    if average_us:
        whole = float(average_us.group(1))
    elif average_ms:
        whole = float(average_ms.group(1)) * 1e3
    else:
        # The timings found are those of the warm-up, before the tool failed.
        raise UserError(f"benchmark_model did not finish: {_reason(text)}")
    # The warm-up comes first. With profiling, the same timings come once more, with the
    # profiler's own work in them, after a title.
    timed = statistics[min(1, len(statistics) - 1)]
    average = timed.get("avg", timed.get("curr", whole))
    initialized, session, memory = (
        pattern.search(text) for pattern in (_INITIALIZED, _SESSION, _MEMORY)
    )
    peak = _PEAK.search(text) or _PEAK_MB.search(text)
    delegated = _DELEGATED.findall(text)
    megabytes = float(peak.group(1)) if peak else None
    if megabytes is None and memory:
        megabytes = float(memory.group(2))
    return BenchmarkOutput(
        runs=int(timed["count"]),
        mean_ms=average / 1e3,
        min_ms=_milliseconds(timed.get("min")),
        max_ms=_milliseconds(timed.get("max")),
        p50_ms=_milliseconds(timed.get("median")),
        p95_ms=_milliseconds(timed.get("p95")),
        init_ms=(
            float(initialized.group(1)) / 1e3
            if initialized
            else float(session.group(1))
            if session
            else None
        ),
        memory_mb=megabytes,
        delegated=(
            delegated[-1] if delegated else "not" if _NOT_DELEGATED in text else ""
        ),
        operators=_operators(text),
    )


def _pairs(text: str) -> list[tuple[str, str]]:
    return _PAIR.findall(text)


def _milliseconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e3


def _operators(text: str) -> tuple[OperatorTime, ...]:
    # Newer versions print a table of the initialization first.
    tables = _RUN_ORDER.split(text)
    if len(tables) < 2:
        return ()
    lines = tables[-1].splitlines()
    header = next((line for line in lines if "[node type]" in line.lower()), "")
    columns = [column.strip("[] \t").lower() for column in header.split("\t")]
    if "avg ms" not in columns:
        return ()
    found = []
    for line in lines[lines.index(header) + 1 :]:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) != len(columns):
            break
        row = dict(zip(columns, fields))
        found.append(
            OperatorTime(
                row["node type"],
                # The node's number in the graph follows its name.
                re.sub(r"\]?:\d+$", "", row.get("name", "").lstrip("[")).rstrip("]"),
                float(row["avg ms"]),
            )
        )
    return tuple(found)


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [
        line for line in lines if re.search(r"error|fail|denied|not found", line, re.I)
    ]
    return (errors or lines or ["it printed nothing"])[-1][:200]
