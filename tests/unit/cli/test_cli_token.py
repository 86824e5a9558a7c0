from __future__ import annotations

import base64
import json
import stat
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway_runtime.auth.claims import Rules, identify
from gateway_runtime.auth.identity import Identity
from gateway_runtime.auth.keys import read_keys
from gateway_runtime.auth.token import parse, take_apart
from tests.helpers.command import xgw
from xgw.local import files, issuer

RULES = Rules(issuer.NAME, issuer.NAME)


def identity(token: str, data: Path) -> Identity:
    """As a service of the local target would find it."""
    parts = take_apart(token.encode())
    key = read_keys(Path(issuer.settings(data)["AUTH_KEYS"]).read_bytes())[parts.kid]
    assert key.signed(parts.signed, parts.signature)
    return identify(parse(parts.payload), RULES, time.time())


def test_a_token_is_the_only_thing_on_stdout_and_the_services_believe_it(tmp_path: Path) -> None:
    done = xgw(
        "token", "--user", "ada", "--tenant", "acme", "--role", "admin", "--role", "sales", "--ttl", "60", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    found = identity(done.stdout.strip(), files.data(tmp_path / "state"))
    assert (found.tenant, found.user, found.roles) == ("acme", "ada", ("admin", "sales"))
    assert 50 < found.expires - time.time() <= 60


def test_json_says_for_whom_it_is_and_when_it_ends(tmp_path: Path) -> None:
    document = json.loads(xgw("token", "-o", "json", cwd=tmp_path).stdout)
    assert document["schema"] == "xgw.token/v1"
    data = document["data"]
    assert (data["user"], data["tenant"], data["roles"]) == ("engineer", "demo", [])
    ends = datetime.fromisoformat(data["expires"])
    assert ends.utcoffset() == timedelta(0)
    assert identity(data["token"], files.data(tmp_path / "state")).expires == pytest.approx(ends.timestamp(), abs=2)


@pytest.mark.parametrize(
    "args",
    [("--user", ""), ("--user", "a b"), ("--tenant", "../x"), ("--tenant", "\x1b[31m"), ("--role", "a,b"), ("--ttl", "0"),
     ("--ttl", "604801"), ("--project", "my-project-1")],
)  # fmt: skip
def test_what_cannot_be_signed_is_a_usage_fault(args: tuple[str, str], tmp_path: Path) -> None:
    done = xgw("token", *args, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "\x1b" not in done.stderr
    assert not (tmp_path / "state" / "local").exists()


def test_the_private_key_is_its_owners_alone_and_is_made_once(tmp_path: Path) -> None:
    first = issuer.token(tmp_path / "data")
    key = tmp_path / "data" / "issuer.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    assert identity(first, tmp_path / "data").user == identity(issuer.token(tmp_path / "data"), tmp_path / "data").user
    assert key.read_bytes() == before
    assert "PRIVATE" not in (tmp_path / "data" / "keys.json").read_text()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["issuer.pem", "keys.json"]


def test_another_homes_issuer_is_not_believed(tmp_path: Path) -> None:
    token = issuer.token(tmp_path / "one")
    with pytest.raises(KeyError):
        identity(token, tmp_path / "two")


def test_a_damaged_key_is_said_in_words(tmp_path: Path) -> None:
    data = files.data(tmp_path / "state")
    data.mkdir(parents=True)
    (data / "issuer.pem").write_text("no key")
    done = xgw("token", cwd=tmp_path)
    assert done.returncode == 1
    assert "xgw local reset" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_header_names_the_key_and_nothing_else(tmp_path: Path) -> None:
    header = issuer.token(tmp_path).split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(header + "==")).keys() == {"alg", "typ", "kid"}
