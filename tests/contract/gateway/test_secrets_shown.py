"""What carries a secret is never printed by the real process: not among its settings, not in a complaint, not in its log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gateway_runtime.settings import TABLE
from tests.helpers.gateway_process import KEPT, ROOT, running

# Written down here and not taken from the table: a row that loses its `secret=True` must fail.
SECRETS: dict[str, str] = {
    "OPERATOR_TOKEN": "hunter2-operator-token",
    "CONTACTS_CURSOR_KEY": "hunter2-cursor-key-0001",
    "REDIS_URL": "redis://somebody:hunter2@10.0.0.3:6379/0",
}
WRONG = {
    "OPERATOR_TOKEN": "hunter2",
    "CONTACTS_CURSOR_KEY": "hunter2",
    "REDIS_URL": "redis://somebody:hunter2@10.0.0.3:6379/x",
}
OPEN = {"AUTH_KEYS", "AUTH_KEYS_REFETCH", "AUTH_KEYS_STALE", "RATE_LIMIT_KEYS"}
"""Settings that are called like secrets and hold none: public keys, and counts."""


def told(**env: str) -> subprocess.CompletedProcess[str]:
    base = {name: os.environ[name] for name in KEPT if name in os.environ}
    return subprocess.run(
        [sys.executable, "-m", "gateway_runtime", "--show-settings"],
        env={**base, **env}, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def test_every_secret_is_masked_among_the_settings_shown() -> None:
    done = told(**SECRETS)
    shown = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert {name: shown[name] for name in SECRETS} == dict.fromkeys(SECRETS, "********")
    assert "hunter2" not in done.stdout + done.stderr
    assert set(shown) == {setting.env for setting in TABLE}


def test_a_secret_that_is_not_set_is_not_masked_for_one() -> None:
    shown = dict(line.split("=", 1) for line in told().stdout.splitlines())
    assert {name: shown[name] for name in SECRETS} == dict.fromkeys(SECRETS, "")


@pytest.mark.parametrize("name", SECRETS)
def test_a_wrong_secret_is_refused_without_being_said(name: str) -> None:
    done = told(**{name: WRONG[name]})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"gateway_runtime: {name}: the value must be ")
    assert "hunter2" not in done.stderr


def test_no_secret_is_in_the_log_of_a_process_whose_redis_is_away(tmp_path: Path) -> None:
    env = SECRETS | {"REDIS_URL": "redis://somebody:hunter2@127.0.0.1:9"}
    with running(tmp_path, LOG_LEVEL="debug", **env) as gateway:
        gateway.ask("GET", "/metrics", token=f"Authorization: Bearer {env['OPERATOR_TOKEN']}")
        gateway.ask("GET", "/health/deep")
        gateway.await_log("/health/deep")
        gateway.stop()
        assert "hunter2" not in gateway.out.read_text()


def test_whatever_is_called_like_a_secret_is_one() -> None:
    called = {s.env for s in TABLE if re.search(r"TOKEN|KEY|SECRET|PASSWORD|CREDENTIAL", s.env)} - OPEN
    assert called <= set(SECRETS)
    assert {setting.env for setting in TABLE if setting.secret} == set(SECRETS)
