"""What `benchmark_model` says when it did not measure what it was asked to.

The tool warns and goes on: with flags that it does not know, and on the processor when
a delegate cannot be applied. The lines are those of tensorflow/lite/tools/benchmark
(benchmark_model.cc, benchmark_tflite_model.cc), of tools/delegates and of
core/subgraph.cc, from TensorFlow 2.4 to LiteRT 2.
"""

from __future__ import annotations

import re

_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags:(.*)")
_NEEDED_FLAGS = frozenset("graph num_threads use_gpu use_nnapi".split())
"""Without our other flags, a tool measures the same and says a little less."""

_APPLIED = r"(?:Explicitly a|A)pplied {} delegate, and the model graph will be"
_REPLACED = r"Replacing (\d+) out of \d+ node\(s\) with delegate \(\S*{}\S*\)"
_NOT_APPLIED = (
    r"Though {} delegate is explicitly applied, the model\s+graph will not be.*",
    r".*{} acceleration is unsupported on this platform.*",
    r".*[Ff]ailed to apply {} delegate.*",
    r".*{} delegate .*(?:not initialized|creation failed|could not be created).*",
)
_ANY_DELEGATE = (
    r".*Failed to apply the default TensorFlow Lite delegate.*",
    r".*all previously applied delegates are reverted.*",
    r".*Disallowed CPU fallback detected.*",
    r".*Restored original execution plan after delegate application failure.*",
)
_FAILED = re.compile(
    r"^.*(?:Failed to parse flag|Failed to invoke|Failed to allocate tensors|"
    r"failed to prepare|Benchmarking failed|Segmentation fault|Illegal instruction|"
    r"\bAborted\b|Encountered unresolved custom op|Killed\s*$).*$",
    re.MULTILINE,
)


def not_as_asked(text: str, delegate: str) -> str:
    """Why an output is not a measurement of what was asked for, or "".

    Args:
      text: All that the tool printed.
      delegate: What should run the network: `none`, `gpu` or `nnapi`.

    Returns:
      One line with the tool's own words; empty if nothing speaks against the timings.
    """
    for match in _UNKNOWN_FLAGS.finditer(text):
        named = re.findall(r"--(\w+)", match.group(1))
        unknown = [name for name in named if name in _NEEDED_FLAGS]
        if unknown:
            return (
                f"this benchmark_model has no flag --{unknown[0]} (it printed: "
                f"{_short(match.group(0))}): expected a build with it"
            )
    failed = _FAILED.search(text)
    if failed:
        return f"benchmark_model failed: {_short(failed.group(0))}"
    if delegate == "none":
        return ""
    name = delegate.upper()
    for pattern in (*_NOT_APPLIED, *_ANY_DELEGATE):
        said = re.search(pattern.replace("{}", name), text)
        if said:
            return f"the {name} delegate was not applied: {_short(said.group(0))}"
    replaced = re.search(_REPLACED.replace("{}", name), text, re.IGNORECASE)
    if replaced and int(replaced.group(1)) == 0:
        return f"the {name} delegate was not applied: {_short(replaced.group(0))}"
    if not replaced and not re.search(_APPLIED.replace("{}", name), text):
        return (
            f"benchmark_model does not say that it applied the {name} delegate: the "
            "times may be the processor's"
        )
    return ""


def _short(line: str) -> str:
    return " ".join(line.split())[:200]
