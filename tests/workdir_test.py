"""The folder of a search: what a killed process left there is removed, no more."""

from __future__ import annotations

import pathlib
import tempfile

from absl.testing import absltest

from layernas_tf.core.files import writing
from layernas_tf.core.workdir import lock_workdir


class LeftoversTest(absltest.TestCase):
    def setUp(self):
        super().setUp()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))

    def leave(self, *names: str) -> list[pathlib.Path]:
        """Files as a process leaves them that is killed while it writes these."""
        left = []
        for name in names:
            with writing(self.folder / name) as temporary:
                temporary.write_text("half")
            left.append(temporary)
            (self.folder / name).rename(temporary)
        return left

    def test_half_written_files_are_removed_at_any_depth(self):
        left = self.leave("config.json", "weights/trial_00001.npz", "a/b/no_suffix")
        with lock_workdir(self.folder):
            self.assertEmpty([path for path in left if path.exists()])

    def test_the_users_files_stay(self):
        (self.folder / "sub").mkdir()
        own = [
            self.folder / name
            for name in (".config.tmpl", "sub/.x.tmp", "sub/.0123456789abcdef.tmpl")
        ]
        for path in own:
            path.write_text("mine")
        place = self.folder / ".0123456789abcdef.tmp"
        place.mkdir()
        with lock_workdir(self.folder):
            for path in (*own, place):
                self.assertTrue(path.exists(), path)

    def test_another_workdir_below_is_left_alone(self):
        (left,) = self.leave("other/config.json")
        with lock_workdir(self.folder / "other"):
            left.write_text("half")  # it is being written now
            with lock_workdir(self.folder):
                self.assertTrue(left.exists())


if __name__ == "__main__":
    absltest.main()
