"""What must import without TensorFlow does, each in a process of its own."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

from absl.testing import absltest, parameterized

import layernas_tf
import layernas_tf.algorithms
import layernas_tf.costs
import layernas_tf.space

# TensorFlow takes seconds to import, the others are as slow or drag it in.
_HEAVY = ("tensorflow", "tf_keras", "keras", "jax", "ray")

_LIGHT_PACKAGES = (layernas_tf.algorithms, layernas_tf.costs, layernas_tf.space)
_LIGHT_MODULES = (
    "layernas_tf",
    "layernas_tf.compare",
    "layernas_tf.core.errors",
    "layernas_tf.study.study",
)


def _light_modules() -> list[str]:
    names = list(_LIGHT_MODULES)
    for package in _LIGHT_PACKAGES:
        names.append(package.__name__)
        names.extend(
            module.name
            for module in pkgutil.walk_packages(
                package.__path__, package.__name__ + "."
            )
        )
    return names


class ImportTest(parameterized.TestCase):
    def test_packages_are_walked(self):
        self.assertIn("layernas_tf.algorithms.layernas", _light_modules())
        self.assertIn("layernas_tf.space.chain", _light_modules())

    @parameterized.parameters(*_light_modules())
    def test_module_loads_no_heavy_package(self, module):
        program = (
            f"import sys, {module}\n"
            f"print(*(name for name in {_HEAVY!r} if name in sys.modules))"
        )
        finished = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True
        )

        self.assertEqual(finished.returncode, 0, finished.stderr)
        self.assertEqual(finished.stdout.split(), [])


if __name__ == "__main__":
    absltest.main()
