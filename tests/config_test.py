"""Flags of workers and storage: what is refused, kept and compared."""

from __future__ import annotations

import pathlib
import tempfile

from absl.testing import absltest, parameterized

from layernas_tf.core.errors import UserError
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_check import check_config
from layernas_tf.pipeline.config_file import check_resume, save_config

_STORAGE = "postgresql://me:secret@db.example:5432/nas"


class ConfigTest(parameterized.TestCase):
    @parameterized.parameters(
        ({"workers": 0}, "`workers`: expected at least 1, got 0"),
        ({"trial_retries": -1}, "`trial_retries`: expected at least 0"),
        ({"trial_timeout": 0.0}, "`trial_timeout`: expected more than 0, got 0"),
        ({"trial_timeout": 1e9}, r"`trial_timeout`: expected at most 1e\+06 seconds"),
        (
            {"trial_timeout": 9.0, "trials_per_process": 0},
            "`trial_timeout`: expected `trials_per_process` above 0",
        ),
        ({"cpus_per_trial": float("inf")}, "`cpus_per_trial`: expected more than 0"),
        ({"gpus_per_trial": float("inf")}, "a whole number, got inf"),
        ({"gpus_per_trial": -1.0}, "a whole number, got -1"),
        ({"gpus_per_trial": 1.5}, "a share below 1 or a whole number, got 1.5"),
        ({"study": "x"}, "`study`: expected with `storage`"),
        ({"final_seeds": 0}, "`final_seeds`: expected at least 1, got 0"),
        ({"class_weights": None}, "`class_weights`: expected one of"),
        ({"baseline": "best"}, "`baseline`: expected one of width, default, none"),
    )
    def test_refuses(self, flags, pattern):
        with self.assertRaisesRegex(UserError, pattern) as caught:
            check_config(SearchConfig(**flags))
        self.assertNotIn("\n", str(caught.exception))

    def test_accepts_timeouts_wherever_a_process_can_be_stopped(self):
        check_config(SearchConfig(trial_timeout=9.0))
        check_config(SearchConfig(trial_timeout=9.0, trials_per_process=0, workers=2))

    def test_password_is_not_written(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        config = SearchConfig(storage=_STORAGE, study="a")
        save_config(config, folder / "config.json")

        self.assertNotIn("secret", (folder / "config.json").read_text())
        check_resume(config, folder / "config.json")
        with self.assertRaisesRegex(UserError, "`study` was a, is b") as caught:
            check_resume(
                SearchConfig(storage=_STORAGE, study="b"), folder / "config.json"
            )
        self.assertNotIn("secret", str(caught.exception))

    def test_workers_may_change_and_drivers_need_not_agree_on_them(self):
        folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory()))
        save_config(SearchConfig(), folder / "config.json")
        changed = SearchConfig(workers=4, ray_address="auto", trial_timeout=60.0)

        check_resume(changed, folder / "config.json")
        self.assertEqual(changed.settings(), SearchConfig().settings())
        self.assertNotEqual(SearchConfig(seed=1).settings(), SearchConfig().settings())


if __name__ == "__main__":
    absltest.main()
