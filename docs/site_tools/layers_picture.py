"""The picture of the layers: their order from the contracts, the rest from the code.

The site draws it anew; `python docs/site_tools/layers_picture.py` writes the copy in
`docs/images/` for those who read the pages without the site.
"""

from __future__ import annotations

import ast
import html
import pathlib
import sys
import textwrap
import tomllib

import grimp

_PACKAGES = ("layernas_tf", "search_spaces", "export")
_ENTRY_POINTS = ("api", "search", "train", "compare", "describe")
_ROW = 44
_LINE = 16
_LETTERS = 100
_GAP = 8
_WIDTH = 1000
_STYLE = """
  text { font-family: system-ui, sans-serif; font-size: 13px; fill: #1c2733 }
  .name { font-weight: 600; font-size: 14px }
  .uses { fill: #5b6875; font-size: 12px }
  .title { font-weight: 600; font-size: 16px }
  rect { stroke: #b8c2cc; rx: 6 }
  .layernas_tf { fill: #e8eefb }
  .search_spaces { fill: #e9f6ec }
  .export { fill: #fdf1e3 }
  .page { fill: #ffffff; stroke: none }
"""


def picture(root: pathlib.Path) -> str:
    """The picture as SVG: a row for each folder, above what it imports.

    Args:
      root: The checkout, whose imports are read.
    """
    sys.path.insert(0, str(root))
    try:
        graph = grimp.build_graph(*_PACKAGES, cache_dir=None)
    finally:
        sys.path.remove(str(root))
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    parts: list[str] = []
    top = _GAP
    for contract in contracts["tool"]["importlinter"]["contracts"]:
        if contract["type"] != "layers":
            continue
        (package,) = contract["containers"]
        parts.append(f'<text x="{_GAP}" y="{top + 20}" class="title">{package}/</text>')
        top += 32
        for names in _rows(contract["layers"]):
            box, height = _box(root, graph, package, names, top)
            parts.append(box)
            top += height + _GAP
        top += _GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" '
        f'width="{_WIDTH}" height="{top}">\n<style>{_STYLE}</style>\n'
        f'<rect class="page" width="{_WIDTH}" height="{top}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _rows(layers: list[str]) -> list[list[str]]:
    """What shares a row: all that users call; of others each has its own."""
    rows = []
    for layer in layers:
        names = [name.strip(" ()") for name in layer.replace("|", ":").split(":")]
        rows += [names] if set(names) == set(_ENTRY_POINTS) else [[n] for n in names]
    return rows


def _box(
    root: pathlib.Path,
    graph: grimp.ImportGraph,
    package: str,
    names: list[str],
    top: int,
) -> tuple[str, int]:
    """One row: what it is called, what it is, what it imports; and its height."""
    about = _summary(root / package / names[0]).replace("`", "")
    if len(names) > 1:
        about = "What users call: the Python API and the binaries."
    uses = ", ".join(_used(graph, package, names)) or "nothing of ours"
    lines = textwrap.wrap(f"imports {uses}", _LETTERS)
    height = _ROW + _LINE * (len(lines) - 1)
    spans = "".join(
        f'<tspan x="330" y="{top + 36 + _LINE * i}">{line}</tspan>'
        for i, line in enumerate(lines)
    )
    return (
        f'<rect class="{package}" x="{_GAP}" y="{top}" width="{_WIDTH - 2 * _GAP}" '
        f'height="{height}"/>'
        f'<text x="20" y="{top + 18}" class="name">{", ".join(names)}</text>'
        f'<text x="330" y="{top + 18}">{html.escape(about)}</text>'
        f'<text class="uses">{spans}</text>'
    ), height


def _summary(path: pathlib.Path) -> str:
    """The first line of a folder's or a module's docstring."""
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def _used(graph: grimp.ImportGraph, package: str, names: list[str]) -> list[str]:
    """The folders that these import, those of other packages by their full name."""
    own = {f"{package}.{name}" for name in names}
    found = set()
    for folder in own:
        modules = {folder} | graph.find_descendants(folder)
        for module in modules:
            for imported in graph.find_modules_directly_imported_by(module):
                found.add(".".join(imported.split(".")[:2]))
    return [name.removeprefix(f"{package}.") for name in sorted(found - own)]


if __name__ == "__main__":
    _root = pathlib.Path(__file__).resolve().parent.parent.parent
    (_root / "docs" / "images" / "layers.svg").write_text(picture(_root))
