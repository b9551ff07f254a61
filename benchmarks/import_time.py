"""How long the parts that need no TensorFlow take to import.

    python -m benchmarks.import_time

Each row is a fresh interpreter, the median of several runs; the ratio is to an
interpreter that imports nothing, which carries over to other machines better than
the seconds do.
"""

from __future__ import annotations

import pkgutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from types import ModuleType

import layernas_tf.algorithms
import layernas_tf.costs

_RUNS = 7


def modules_of(package: ModuleType) -> list[str]:
    """Names of a package and of every module inside it."""
    inside = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    return [package.__name__, *(module.name for module in inside)]


def import_seconds(modules: Sequence[str]) -> float:
    """Median wall time, in seconds, of an interpreter that imports the modules."""
    program = "import " + ", ".join(modules) if modules else "pass"
    seconds = []
    for _ in range(_RUNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    """Prints the table."""
    algorithms = modules_of(layernas_tf.algorithms)
    costs = modules_of(layernas_tf.costs)
    rows = {
        "nothing": [],
        "numpy": ["numpy"],
        "layernas_tf": ["layernas_tf"],
        "layernas_tf.costs (all)": costs,
        "layernas_tf.algorithms (all)": algorithms,
        "layernas_tf.compare": ["layernas_tf.compare"],
        "all of these": ["layernas_tf", *costs, *algorithms, "layernas_tf.compare"],
    }
    bare = import_seconds([])
    print(f"{'imports':<30}{'seconds':>9}{'ratio':>8}")
    for name, modules in rows.items():
        seconds = import_seconds(modules) if modules else bare
        print(f"{name:<30}{seconds:>9.3f}{seconds / bare:>8.1f}")


if __name__ == "__main__":
    main()
