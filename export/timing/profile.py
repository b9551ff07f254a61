"""The time of every operator of a .tflite file on this machine.

The Python interpreters give no access to their profiler. So each operator is cut out
of the file into a file of its own, with its constants, types and options, and timed
like a whole network. This leaves out how operators affect each other: a
delegate runs neighbours as one, and a tensor that was just written is still in the
cache. The sum therefore differs from the whole network's time; the ratio of both is
part of the result.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from typing import Any

import numpy as np

from export.tflite import runtime as runtimes
from export.tflite.flatbuffer import read_model, schema, write_model
from export.timing.benchmark_output import OperatorTime
from layernas_tf.core.errors import UserError
from layernas_tf.core.files import read_bytes, writing


@dataclasses.dataclass(frozen=True)
class Profile:
    """Times of a network's operators.

    Example:
      >>> parts = (OperatorTime("ADD", "a", 1.0), OperatorTime("MUL", "b", 2.0))
      >>> Profile(parts, whole_ms=2.5, method="one by one").sum_ms
      3.0

    Attributes:
      operators: Times of the operators, in the order they run.
      whole_ms: Median time of the whole network, or None if it was not measured.
      method: How the operators were timed, in words.
    """

    operators: tuple[OperatorTime, ...]
    whole_ms: float | None
    method: str

    @property
    def sum_ms(self) -> float:
        """Total of all operators, in milliseconds."""
        return sum(operator.milliseconds for operator in self.operators)

    def by_kind(self) -> list[tuple[str, int, float]]:
        """For each kind: its name, number and total milliseconds; the slowest first."""
        totals: dict[str, tuple[int, float]] = {}
        for operator in self.operators:
            number, total = totals.get(operator.kind, (0, 0.0))
            totals[operator.kind] = number + 1, total + operator.milliseconds
        return sorted(
            ((kind, *total) for kind, total in totals.items()), key=lambda row: -row[2]
        )


def profile(
    path: str,
    whole_ms: float,
    *,
    runtime: str = "auto",
    threads: int = 1,
    runs: int = 100,
    warmup: int = 10,
) -> Profile:
    """Times each operator of a file by itself.

    Args:
      path: The file.
      whole_ms: Median time of the whole network in the same setting.
      runtime: One of `runtime.RUNTIMES`, or `auto`.
      threads: Threads of one inference.
      runs: Timed inferences of each operator; the median counts.
      warmup: Inferences before them.

    Raises:
      UserError: If the file cannot be read, or the runtime cannot run an operator.
    """
    runtime = runtimes.resolve_runtime(runtime)
    times: dict[bytes, float] = {}
    operators = []
    with tempfile.TemporaryDirectory(prefix="operators_") as folder:
        for kind, name, content in single_operators(path):
            # Blocks repeat, and equal files take the same time.
            if content not in times:
                part = os.path.join(folder, f"{len(times)}.tflite")
                with open(part, "wb") as file:
                    file.write(content)
                try:
                    times[content] = _median_ms(part, runtime, threads, runs, warmup)
                except UserError as error:
                    raise UserError(
                        f"operator {kind} of {path!r} cannot be timed by itself: "
                        f"{error}"
                    ) from error
            operators.append(OperatorTime(kind, name, times[content]))
    return Profile(
        tuple(operators), whole_ms, f"each operator as a network of its own, {runtime}"
    )


def single_operators(path: str) -> list[tuple[str, str, bytes]]:
    """Cuts a file into files of one operator each.

    Returns:
      Kind, name of the output and the bytes of the file, in the order they run.

    Raises:
      UserError: If the file cannot be read or is not a .tflite file.
    """
    model = read_model(read_bytes(path), path)
    graph = model.subgraphs[0]
    return [
        (
            _kind(model, operator),
            _text(graph.tensors[operator.outputs[0]].name),
            _alone(model, graph, operator),
        )
        for operator in graph.operators
    ]


def _kind(model: Any, operator: Any) -> str:
    code = model.operatorCodes[operator.opcodeIndex]
    names = {value: name for name, value in vars(schema().BuiltinOperator).items()}
    # Files from before 2020 have the number in a byte.
    return names[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _alone(model: Any, graph: Any, operator: Any) -> bytes:
    module = schema()
    part = module.ModelT()
    part.version = model.version
    part.operatorCodes = [model.operatorCodes[operator.opcodeIndex]]
    # The first buffer is the empty one, by the format's rule.
    part.buffers = [module.BufferT()]
    places: dict[int, int] = {-1: -1}
    inputs: list[int] = []
    tensors: list[Any] = []
    for index in (*operator.inputs, *operator.outputs):
        if index in places:
            continue
        tensor = _shallow(graph.tensors[index])
        # Equal operators of different layers make equal files.
        tensor.name = str(len(tensors)).encode()
        data = model.buffers[tensor.buffer]
        if data.data is not None and len(data.data):
            part.buffers.append(data)
            tensor.buffer = len(part.buffers) - 1
        else:
            tensor.buffer = 0
            if index in operator.inputs:
                inputs.append(len(tensors))
        places[index] = len(tensors)
        tensors.append(tensor)
    moved = _shallow(operator)
    moved.opcodeIndex = 0
    moved.inputs = [places[index] for index in operator.inputs]
    moved.outputs = [places[index] for index in operator.outputs]
    single = module.SubGraphT()
    single.tensors, single.operators = tensors, [moved]
    single.inputs, single.outputs = inputs, moved.outputs
    part.subgraphs = [single]
    return write_model(part)


def _shallow(value: Any) -> Any:
    copy = type(value)()
    vars(copy).update(vars(value))
    return copy


def _median_ms(path: str, runtime: str, threads: int, runs: int, warmup: int) -> float:
    interpreter = runtimes.open_interpreter(path, runtime=runtime, threads=threads)
    generator = np.random.default_rng(0)
    for tensor in interpreter.get_input_details():
        shape, dtype = tensor["shape"], np.dtype(tensor["dtype"])
        if dtype.kind == "f":
            values = generator.normal(size=shape)
        else:
            limits = np.iinfo(dtype)
            values = generator.integers(limits.min, limits.max, shape)
        interpreter.set_tensor(tensor["index"], values.astype(dtype))
    milliseconds = np.empty(runs)
    for number in range(-warmup, runs):
        start = time.perf_counter_ns()
        interpreter.invoke()
        if number >= 0:
            milliseconds[number] = (time.perf_counter_ns() - start) / 1e6
    return float(np.median(milliseconds))


def draw(profiled: Profile, title: str, path: str) -> None:
    """Draws the operators as a bar chart into a PNG file.

    Raises:
      UserError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    operators = profiled.operators
    kinds = [kind for kind, _, _ in profiled.by_kind()]
    figure = Figure(figsize=(8, 1.2 + 0.16 * len(operators)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, kind in enumerate(kinds):
        rows = [row for row, one in enumerate(operators) if one.kind == kind]
        axes.barh(
            rows,
            [operators[row].milliseconds for row in rows],
            color=f"C{number % 10}",
            label=kind,
        )
    axes.set_yticks(range(len(operators)), [one.kind for one in operators], fontsize=6)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlabel("milliseconds")
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=7)
    with writing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
