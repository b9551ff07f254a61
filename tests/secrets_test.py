"""Passwords of storage URLs: in no spelling in what is shown."""

from __future__ import annotations

import contextlib
import pathlib
import tempfile
import urllib.parse

from absl.testing import absltest, parameterized
from hypothesis import given
from hypothesis import strategies as st

from layernas_tf.core.errors import UserError
from layernas_tf.core.secrets import redacted, scrubbed
from layernas_tf.pipeline.config import SearchConfig
from layernas_tf.pipeline.config_file import check_resume, save_config
from layernas_tf.study.open_storage import open_storage

SPELLINGS = (
    "postgresql://me:{}@host:5432/db",
    "postgresql://me:{}@host/db?sslmode=require",
    "postgresql://:{}@host/db",
    "postgresql://host/db?user=me&password={}",
    "postgresql://host/db?user=me&PASSWORD={}",
    "postgresql://host/db?user=me&%70assword={}",
    "postgresql+psycopg2://me@host/db?sslpassword={}&host=other",
    "postgresql:///db?dsn=host%3Dh%20password%3D{}",
    "postgresql:///?options=-c%20x={}",
    "mysql+pymysql://me:{}@host/db?charset=utf8",
    "mysql://host/db?passwd={}",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3D{}",
    "mssql+pyodbc://me:{}@dsn",
    "postgresql://me:{}@",
    "postgresql:/me:{}@host/db",
    "postgresql//me:{}@host/db",
    "postgresql:///me:{}@host/db",
    "postgresql://me:{}host/db",
    "me:{}@host/db",
    "password={} host=db",
    "postgresql://host/db&password={}",
    "postgresql://host/db;password={}",
    "postgresql://host/db#{}",
    "postgresql://host/db?{}",
    "postgresql://me:{}@one,two:5433/db",
    "sqlite+pysqlcipher://:{}@/file.db?cipher=aes",
    "sqlite:///file.db?key={}",
)


class SecretsTest(parameterized.TestCase):
    @parameterized.product(
        spelling=SPELLINGS,
        secret=("hunter2secret", "p@ss:w/rd7", "a?b=c&d7", "100%x7{y}", "ü7 x"),
        quoted=(False, True),
    )
    def test_no_spelling_shows_it(self, spelling, secret, quoted):
        written = urllib.parse.quote(secret, safe="") if quoted else secret
        url = spelling.replace("{}", written)
        shown = redacted(url)
        for part in (secret, written, secret[-3:]):
            self.assertNotIn(part, shown, url)
        if "{}host" in spelling:
            return  # nothing tells where the password ends and the host begins
        said = scrubbed(f"could not read {url!r}: bad {secret!r}, {written}", url)
        for part in (secret, written):
            self.assertNotIn(part, said, url)

    @parameterized.parameters(
        ("sqlite:////home/a@b/x y.db", "sqlite:////home/a@b/x y.db"),
        ("postgresql://host:5432/db", "postgresql://host:5432/db"),
        ("postgresql://me:pw@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://h/db?user=me&x=1", "postgresql://h/db?user=me&x=***"),
        ("study.db", "study.db"),
        ("", ""),
    )
    def test_the_rest_is_shown(self, url, shown):
        self.assertEqual(redacted(url), shown)

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_any_text_is_taken(self, text, url):
        redacted(url)
        scrubbed(text, url)

    @parameterized.parameters(*SPELLINGS)
    def test_errors_and_config_json_do_not_have_it(self, spelling):
        for secret in ("hunter2secret", "hunter2{secret", "hunter2%secret"):
            url = spelling.replace("{}", secret)
            if not url.startswith("sqlite"):
                # No server is there: whatever goes wrong is one line without it.
                with self.assertRaises(UserError) as caught:
                    open_storage(url.replace("host", "127.0.0.1:9"), "s")
                self.assertNotIn("hunter2", str(caught.exception))
                self.assertNotIn("\n", str(caught.exception))
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "config.json"
                config = SearchConfig(storage=url)
                save_config(config, path)
                self.assertNotIn("hunter2", path.read_text())
                check_resume(config, path)
                other = SearchConfig(storage="postgresql://elsewhere/db")
                with contextlib.suppress(UserError):
                    check_resume(other, path)
                    self.fail("another storage is another search")


if __name__ == "__main__":
    absltest.main()
