"""Every test file runs its tests when it is started alone, as Bazel does."""

from __future__ import annotations

import pathlib

from absl.testing import absltest, parameterized

_TESTS = sorted(pathlib.Path(__file__).resolve().parent.glob("*_test.py"))


class TestFilesTest(parameterized.TestCase):
    @parameterized.named_parameters((path.name, path) for path in _TESTS)
    def test_ends_in_absltest_main(self, path):
        self.assertEndsWith(
            path.read_text(encoding="utf-8"),
            'if __name__ == "__main__":\n    absltest.main()\n',
        )


if __name__ == "__main__":
    absltest.main()
