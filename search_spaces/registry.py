"""Search spaces by name, ours and the user's own."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import inspect
import pathlib
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution, resolution_name
from layernas_tf.space.search_space import SearchSpace

_FUNCTIONS = {
    "mobilenet_v2": ("mobile.mobilenet_v2", "mobilenet_v2"),
    "mobilenet_v2_1.4": ("mobile.mobilenet_v2", "mobilenet_v2_1_4"),
    "mobilenet_v3_small": ("mobile.mobilenet_v3", "mobilenet_v3_small"),
    "mobilenet_v3_large": ("mobile.mobilenet_v3", "mobilenet_v3_large"),
    "efficientnet_b0": ("mobile.efficientnet", "efficientnet_b0"),
    "mnasnet": ("mobile.mnasnet", "mnasnet"),
    "burger": ("tabular.burger", "burger"),
    "nats_bench_size": ("tabular.nats_bench", "nats_bench_size"),
    "nas_bench_macro": ("tabular.macro_bench", "nas_bench_macro"),
    "channel_bench_macro_mobilenet": (
        "tabular.macro_bench",
        "channel_bench_macro_mobilenet",
    ),
    "channel_bench_macro_resnet": ("tabular.macro_bench", "channel_bench_macro_resnet"),
}


def names() -> tuple[str, ...]:
    """The names of the spaces that come with the framework."""
    return tuple(_FUNCTIONS)


def check_name(name: str) -> None:
    """Raises `UserError` if there is no such space; makes none and runs no file."""
    if name not in _FUNCTIONS:
        _split(name)


def get_space(
    name: str,
    *,
    resolution: int | str | None = None,
    classes: int | None = None,
    channels: int | None = None,
    stem_stride: int | None = None,
    width: float | None = None,
    **others: Any,
) -> SearchSpace:
    """Makes a search space.

    Args:
      name: One of `names()`, or `path/to/file.py:function`: the file is run, and the
        function called with the arguments. Only name files that you trust.
      resolution: Height and width of the images, in pixels: a number, or a text such
        as `96x160` where they differ.
      classes: Outputs.
      channels: Of the images.
      stem_stride: Of the first convolution, 1 or 2.
      width: Multiplies all numbers of filters.
      **others: Further arguments of the function. What is None is left to the
        function's own default.

    Returns:
      The space. One from a file has `name` as its name and the arguments among its
      own, so that an architecture file can make it again.

    Raises:
      UserError: There is no such space, it does not take these arguments, or the
        user's code failed.
    """
    if isinstance(resolution, str):  # a user's function takes squares as a number
        resolution = resolution_name(*parse_resolution(resolution))
    arguments = {
        "resolution": resolution,
        "classes": classes,
        "channels": channels,
        "stem_stride": stem_stride,
        "width": width,
        **others,
    }
    given = {key: value for key, value in arguments.items() if value is not None}
    for key, value in given.items():
        if not isinstance(value, (int, float, str)):
            raise UserError(
                f"space {name!r}: {key} must be a number or a text, got {value!r}"
            )
    if name in _FUNCTIONS:
        module, attribute = _FUNCTIONS[name]
        function = getattr(
            importlib.import_module(f"search_spaces.{module}"), attribute
        )
        _check_arguments(name, function, given)
        return function(**given)
    path, attribute = _split(name)
    function = getattr(_run(name, path), attribute, None)
    if not callable(function):
        raise UserError(f"space {name!r}: {path} has no function {attribute!r}")
    _check_arguments(name, function, given)
    try:
        space = function(**given)
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"space {name!r}: {attribute}() raised {_describe(error, path)}"
        ) from error
    if not isinstance(space, SearchSpace):
        raise UserError(
            f"space {name!r}: {attribute}() must return a "
            f"layernas_tf.space.search_space.SearchSpace, got {type(space).__name__}"
        )
    return dataclasses.replace(space, name=name, arguments={**space.arguments, **given})


def _split(name: str) -> tuple[pathlib.Path, str]:
    file, colon, attribute = name.rpartition(":")
    if not colon or not file.endswith(".py") or not attribute.isidentifier():
        raise UserError(
            f"space {name!r}: expected one of {', '.join(_FUNCTIONS)}, or your own as "
            "path/to/file.py:function"
        )
    path = pathlib.Path(file)
    if not path.is_file():
        raise UserError(f"space {name!r}: there is no file {file}")
    return path, attribute


def _run(name: str, path: pathlib.Path) -> ModuleType:
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    module_name = f"{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up there while it is being run.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[module_name]
        raise UserError(
            f"space {name!r}: running the file raised {_describe(error, path)}"
        ) from error
    return module


def _check_arguments(
    name: str, function: Callable[..., Any], given: dict[str, Any]
) -> None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return
    kinds = inspect.Parameter
    if any(parameter.kind is kinds.VAR_KEYWORD for parameter in parameters):
        return
    taken = [
        parameter.name
        for parameter in parameters
        if parameter.kind in (kinds.KEYWORD_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    unknown = [argument for argument in given if argument not in taken]
    if unknown:
        raise UserError(
            f"space {name!r} takes no argument {unknown[0]!r}: expected "
            f"{', '.join(taken) or 'none'}"
        )


def _describe(error: BaseException, path: pathlib.Path) -> str:
    lines = [
        frame.lineno
        for frame in traceback.extract_tb(error.__traceback__)
        if pathlib.Path(frame.filename) == path
        or pathlib.Path(frame.filename) == path.resolve()
    ]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    where = f" ({path}, line {line})" if line else ""
    message = error.msg if isinstance(error, SyntaxError) else str(error)
    text = " ".join(f"{type(error).__name__}: {message}".split())
    return f"{text}{where}"
