"""The page of all commands and their flags, from the flags' own definitions."""

from __future__ import annotations

import ast
import html
import pathlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from xml.etree import ElementTree

_WITHOUT_COMMAND = ("layernas_tf.datasets.check", "export.tflite.metadata")

_REPEATS = "; repeat this option to specify a list of values"  # absl's words

_HEAD = """# Commands and flags

Every command is installed with the package and is a module of the checkout too.
Flags are given as `--flag=value`; `--noflag` switches off what is on. A mistake ends
a command with exit code 2 and one line that says what is wrong and what would be
right.

"""


def page(root: pathlib.Path) -> str:
    """The page as Markdown.

    Args:
      root: The checkout, whose commands are asked for their flags.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    commands = {
        reference.partition(":")[0]: command
        for command, reference in project["project"]["scripts"].items()
    }
    modules = sorted(commands, key=_order) + list(_WITHOUT_COMMAND)
    return _HEAD + "\n".join(
        line for module in modules for line in _section(root, module, commands)
    )


def _order(module: str) -> tuple[bool, bool, str]:
    return not module.endswith(".search"), module.startswith("export"), module


def _section(
    root: pathlib.Path, module: str, commands: dict[str, str]
) -> Iterator[str]:
    asked = subprocess.run(
        [sys.executable, "-m", module, "--helpxml"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    # absl exits with 1 after it has printed its help.
    described = ElementTree.fromstring(asked.stdout)
    yield f"## `{commands.get(module, f'python -m {module}')}`"
    yield ""
    if module in commands:
        yield f"`python -m {module}`"
        yield ""
    yield html.escape((described.findtext("usage") or "").split("\n\n")[0].strip())
    yield ""
    yield "| flag | default | meaning |"
    yield "|---|---|---|"
    for flag in sorted(
        described.iter("flag"), key=lambda each: each.findtext("name") or ""
    ):
        if (flag.findtext("file") or "").startswith("absl."):
            continue
        name = flag.findtext("name")
        meaning = " ".join((flag.findtext("meaning") or "").split())
        meaning = meaning.removesuffix(_REPEATS)
        choices = [f"`{each.text}`" for each in flag.iter("enum_value")]
        if choices:  # absl writes them before the meaning, as <a|b>
            meaning = re.sub(r"^<[^>]*>: ", "", meaning)
            meaning += f" One of {', '.join(choices)}."
        yield f"| `--{name}` | {_default(flag)} | {_cell(meaning)} |"
    yield ""


def _default(flag: ElementTree.Element) -> str:
    text = (flag.findtext("default") or "").strip()
    if text.startswith("["):  # a list, as Python writes it
        text = ", ".join(str(each) for each in ast.literal_eval(text))
    return f"`{text}`" if text not in ("", "None") else "–"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
