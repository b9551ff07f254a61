"""Search spaces by name, ours and the user's own."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from layernas_tf.core.errors import UserError
from layernas_tf.core.resolution import parse_resolution, resolution_name
from layernas_tf.core.user_code import check_arguments, parse_reference
from layernas_tf.space.search_space import SearchSpace

_FUNCTIONS = {
    "mobilenet_v2": ("mobile.mobilenet_v2", "mobilenet_v2"),
    "mobilenet_v2_1.4": ("mobile.mobilenet_v2", "mobilenet_v2_1_4"),
    "mobilenet_v3_small": ("mobile.mobilenet_v3", "mobilenet_v3_small"),
    "mobilenet_v3_large": ("mobile.mobilenet_v3", "mobilenet_v3_large"),
    "efficientnet_b0": ("mobile.efficientnet", "efficientnet_b0"),
    "efficientnet_lite0": ("mobile.efficientnet_lite", "efficientnet_lite0"),
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
        parse_reference("space", name, _FUNCTIONS)


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
      classes: Number of classes.
      channels: Channels of the images.
      stem_stride: Stride of the first convolution, 1 or 2.
      width: Factor on all numbers of filters.
      **others: Further arguments of the function. For any argument, None keeps the
        function's own default.

    Returns:
      The space. A space from a file has `name` as its name and keeps the arguments, so
      that an architecture file can make it again.

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
        check_arguments(f"space {name!r}", function, given)
        return function(**given)
    code = parse_reference("space", name, _FUNCTIONS)
    function = code.load_callable()
    check_arguments(code.subject, function, given)
    space = code.call(function, **given)
    if not isinstance(space, SearchSpace):
        raise UserError(
            f"space {name!r}: {code.attribute}() must return a "
            f"layernas_tf.space.search_space.SearchSpace, got {type(space).__name__}"
        )
    return dataclasses.replace(space, name=name, arguments={**space.arguments, **given})
