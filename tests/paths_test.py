"""`~` in the paths of flags."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile

from absl.testing import absltest, parameterized
from hypothesis import given
from hypothesis import strategies as st

from layernas_tf.core.paths import expand_home

_HOME = {"HOME": "/home/ada"}


class ExpandHomeTest(parameterized.TestCase):
    @parameterized.parameters(
        ("~", "/home/ada"),
        ("~/x.npz", "/home/ada/x.npz"),
        ("npz:~/x.npz", "npz:/home/ada/x.npz"),
        ("folder:~", "folder:/home/ada"),
        ("~/space.py:function", "/home/ada/space.py:function"),
        ("sqlite:///~/study.db", "sqlite:////home/ada/study.db"),
        ("sqlite+pysqlite:///~/study.db", "sqlite+pysqlite:////home/ada/study.db"),
        ("/data/~/x", "/data/~/x"),
        ("madds<=3M", "madds<=3M"),
        ("postgresql://~/x", "postgresql://~/x"),
        ("~nobody_of_this_name/x", "~nobody_of_this_name/x"),
        ("", ""),
    )
    def test_only_a_leading_home_is_expanded(self, text, expected):
        with absltest.mock.patch.dict(os.environ, _HOME):
            self.assertEqual(expand_home(text), expected)

    @given(st.text(max_size=30))
    def test_texts_without_a_tilde_stay_as_they_are(self, text):
        if "~" not in text:
            self.assertEqual(expand_home(text), text)

    def test_binaries_expand_their_flags(self):
        with tempfile.TemporaryDirectory() as home:
            path = pathlib.Path(home) / "net.json"
            path.write_text("not JSON")
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "layernas_tf.describe",
                    "--architecture=~/net.json",
                ],
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "HOME": home},
            )
        self.assertEqual(done.returncode, 2)
        self.assertIn(str(path), done.stderr)


if __name__ == "__main__":
    absltest.main()
