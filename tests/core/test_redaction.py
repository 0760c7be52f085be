"""Secrets in connection strings, URLs, errors and logs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tidemill.core.errors import SettingError, TidemillError, message_of
from tidemill.core.redaction import RedactingFormatter, redact

S = "Hunter2x"
#: A value with the secret, and what is shown of it.
VALUES = {
    f"postgresql://ann:{S}@db:5432/shop?sslmode=require": "postgresql://***@db:5432/shop?sslmode=require",
    f"postgresql://ann:p/{S}@db/shop": "postgresql://***",
    f"postgresql://ann:1/{S}@db/shop": "postgresql://***",
    f"postgresql://ann:p@{S}@db/shop": "postgresql://***@db/shop",
    f"postgresql://ann:p@/{S}@db/shop": "postgresql://***",
    f"postgresql://ann:p?{S}@db/shop": "postgresql://***",
    f"postgresql://ann:p#{S}@db/shop": "postgresql://***",
    f"postgresql://ann:p {S}@db/shop": "postgresql://***@db/shop",
    f"postgresql://ann:{S}": "postgresql://***",
    f"postgresql://{S}@[::1]:5432/shop": "postgresql://***@[::1]:5432/shop",
    f"redis://:{S}@cache:6379/0": "redis://***@cache:6379/0",
    f"mlflow:https://ann:{S}@host/?token={S}": "mlflow:https://***@host/?token=***",
    f"https://a.blob.core.windows.net/c/x.csv?sv=1&sig={S}%2B": "https://a.blob.core.windows.net/c/x.csv?sv=***&sig=***",
    f"https://s3/b/k?X-Amz-Date=1&X-Amz-Signature={S}&region=eu": None,
    f"https://host/p#access_token={S}": "https://host/p#***",
    f"https://hooks.example.org/services/T01/{S}{'a1' * 10}": "https://hooks.example.org/services/T01/***",
    f"sc://host:15002/;token={S};user_id=x": None,
    f"jdbc:sqlserver://host:1433;databaseName=x;user=u;password={S} {S}": None,
    f"kafka:topic?sasl.password={S}&header=true": None,
    f"file:data/x.csv?header=true&{S}": "file:data/x.csv?header=true&***",
    f"Server=db;Database=x;Uid=ann;Pwd={S} {S};": "Server=db;Database=x;Uid=ann;Pwd=***",
    f"AccountName=x;AccountKey={S}+/==;EndpointSuffix=core": "AccountName=x;AccountKey=***",
    f"host=db user=ann password='a {S}' dbname=x": "host=db user=ann password=***",
    f"host=db password=a;{S} dbname=x": "host=db password=***",
}
HARMLESS = (
    "./.tidemill/ledger.sqlite", "sqlite:///home/a@b/x.db", "file:data/*.csv.gz?columns=item_id,_,reviewed_at:unix_s",
    "shop:items?seed=3&customers=50", "s3://bucket/a/day=2026-01-01/part-0000-6ba7b810.parquet", "127.0.0.1", "8400",
    "kafka://h1:9092,h2:9092/topic", "git+https://github.com/org/repo@v1.2#egg=x", "http://127.0.0.1:8400/livez",
    "tokenizers==1.2 --hash=sha256:ab keyring==2", "~/.tidemill/keys", "for example ?n=20",
)  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_of_a_connection_string_only_harmless_parts_are_shown(value: str) -> None:
    shown = redact(value, whole=True)
    assert S not in shown and "***" in shown
    assert VALUES[value] in (None, shown)
    if " " not in value:
        assert S not in redact(f"cannot open `{value}`, or {value}.")
        assert S not in str(TidemillError(f"cannot open {value}", tip=f"see {value}"))
        assert S not in message_of(OSError(f"cannot open {value}"))
    assert redact(shown, whole=True) == shown


@pytest.mark.parametrize("value", HARMLESS)
def test_what_is_harmless_is_shown_whole(value: str) -> None:
    assert redact(value, whole=True) == redact(value) == value
    assert redact(f"cannot open `{value}`: try again") == f"cannot open `{value}`: try again"


@given(st.text(min_size=5, max_size=30), st.sampled_from(["", "/db", "/db?sslmode=require", ":5432/db#x"]))
def test_no_password_is_shown_whatever_it_has_in_it(password: str, after: str) -> None:
    assume(password not in f"postgresql://ann:@host{after}")
    for value in (f"postgresql://ann:{password}@host{after}", f"Pwd={password}", f"http://h/?sig={password}"):
        shown = redact(value, whole=True)
        assert password not in shown.replace("***", "").replace("sslmode=require", "")


@pytest.mark.parametrize(
    "text",
    [
        f'{{"password": "{S}"}}', f"token={S}", f"api_key = {S}", f"Authorization: Bearer {S}", f"secret: {S}",
        "AKIAIOSFODNN7EXAMPLE", "ghp_" + "a1" * 18, "xoxb-1234567890-abcdef", "eyJhbGciOiJI.eyJzdWIiOiI.SflKxwRJ",
    ],
)  # fmt: skip
def test_secrets_are_found_in_prose(text: str) -> None:
    shown = redact(f"the server said {text}\nand more")
    assert S not in shown and text not in shown and shown.endswith("\nand more")


def test_a_log_line_and_its_traceback_have_no_secrets() -> None:
    try:
        raise ConnectionError(f"cannot reach postgresql://ann:{S}@db/x")
    except ConnectionError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "token=%s", (S,), sys.exc_info())
    line = RedactingFormatter("%(message)s").format(record)
    assert S not in line and "ConnectionError" in line and "postgresql://***@db/x" in line


def test_a_process_redacts_what_it_logs(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text("import logging\n\ndef say(url):\n    logging.getLogger().error('at %s', url)\n")
    words = [sys.executable, "-m", "tidemill.core.processes.start_process", "noisy:say", f'{{"url": "x://a:{S}@h/"}}']
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    assert "at x://***@h/" in done.stderr and S not in done.stderr


def test_the_settings_command_shows_no_secret(tmp_path: Path) -> None:
    (tmp_path / "mill.py").write_text('import tidemill as tm\n\nmill = tm.Mill("shop")\n')
    lines = [f'{name} = "{value}"' for name, value in zip(("ledger", "vault", "blobs", "latest"), VALUES, strict=False)]
    (tmp_path / "tidemill.toml").write_text("[laptop]\n" + "\n".join(lines))
    environ = os.environ | {"TIDEMILL_LAKE": f"s3://b/?X-Amz-Signature={S}", "TIDEMILL_SERVE__PORT": f"x://a:b/{S}@h"}
    for form in ([], ["--json"]):
        words = [str(Path(sys.executable).with_name("tidemill")), "status", "--settings", *form]
        failed = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=environ)
        assert failed.returncode == 1 and "serve.port" in failed.stderr
        good = {name: value for name, value in environ.items() if name != "TIDEMILL_SERVE__PORT"}
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=good)
        assert done.returncode == 0 and "X-Amz-Signature=***" in done.stdout
        for said in (failed, done):
            assert S not in said.stdout + said.stderr


def test_a_setting_error_shows_no_secret() -> None:
    for value in VALUES:
        assert S not in str(SettingError(f"the source `{redact(value, whole=True)}` is not valid"))


@pytest.mark.parametrize(
    "text", ["token=", "://", "password=a ", "?=", "?", "key", "eyJ", "a.b", "'", "key='", "x://a/"]
)
def test_redaction_takes_linear_time(text: str) -> None:
    begun = time.process_time()
    redact(text * (200_000 // len(text)))
    assert time.process_time() - begun < 2
