"""Who gets in, on the wire: real processes, a real server of keys."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.helpers import tokens
from tests.helpers.gateway_process import ROOT, Running, free_port, read_answer, running
from tests.helpers.key_server import KeyServer
from tests.helpers.raw_upstream import RawUpstream, says
from tests.helpers.tokens import Issuer, issuer, jwks
from tests.helpers.waiting import PATIENCE, until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PROTECTED = "/api/v2/slack/x"
PUBLIC = ("/health", "/openapi.json")


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


def believing(url: str, **more: str) -> dict[str, str]:
    return {**tokens.settings(), "AUTH_KEYS": url, "RATE_LIMIT_ADDRESS": "off", **more}


@pytest.fixture(scope="module")
def upstream() -> Iterator[RawUpstream]:
    with RawUpstream(says(OK, then="keep")) as server:
        yield server


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: RawUpstream) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("auth"), UPSTREAM_SLACK_URL=upstream.url, RATE_LIMIT_ADDRESS="off") as process:
        yield process


def test_everything_but_public_routes_wants_a_token(gateway: Running, upstream: RawUpstream) -> None:
    before = len(upstream.requests)
    for target in PUBLIC:
        assert gateway.ask("GET", target, token="").status == 200
    for method, target in (
        ("GET", PROTECTED), ("POST", PROTECTED), ("DELETE", PROTECTED), ("HEAD", PROTECTED), ("OPTIONS", PROTECTED),
        ("GET", "/nothing"), ("GET", "/"), ("GET", "/api"), ("GET", "/health/"), ("GET", "/Health"), ("GET", "/health/x"),
        ("GET", "/api/v2/slack"), ("GET", "/api/v2/crm/contacts"),
    ):  # fmt: skip
        answer = gateway.ask(method, target, token="")
        assert answer.status == 401, (method, target)
        assert answer.header("www-authenticate") == 'Bearer realm="gateway"'
        assert answer.header("cache-control") == "no-store"
        if method != "HEAD":
            assert set(answer.json()["error"]) == {"code", "message", "requestId", "timestamp"}
            assert answer.code == "UNAUTHENTICATED"
    assert len(upstream.requests) == before


@pytest.mark.parametrize(
    "target", ["/../health", "/health/../api/v2/slack/x", "/%2e%2e/x", "//health", "/health%2f..%2fx", "/health;x"]
)
def test_a_path_that_two_could_read_differently_is_400_before_anybody_is_asked_who_he_is(
    target: str, gateway: Running
) -> None:
    for token in ("", None):
        assert gateway.ask("GET", target, token=token).status == 400


def test_a_wrong_method_of_a_public_path_is_405_for_everybody_and_an_unknown_one_501(gateway: Running) -> None:
    answer = gateway.ask("DELETE", "/health", token="")
    assert (answer.status, answer.header("allow")) == (405, "GET, HEAD")
    assert gateway.ask("BREW", PROTECTED, token="").status == 501


def test_a_preflight_needs_no_token_and_goes_nowhere(gateway: Running, upstream: RawUpstream) -> None:
    before = len(upstream.requests)
    asks = ("Origin: https://app.example", "Access-Control-Request-Method: POST")
    assert gateway.ask("OPTIONS", PROTECTED, *asks, token="").status == 204
    assert len(upstream.requests) == before


SHOWN_WRONG = [
    # what the Authorization field says, status
    ("Bearer", 401), ("Bearer ", 401), ("Basic dXNlcjpwYXNz", 401), ("Bearer a b", 401), ("Bearer {token} x", 401),
    ("{token}", 401),
    ("Token {token}", 401), ("Bearer\t{token}", 401), ("Bearer,{token}", 401), ("Bearer={token}", 401), ('Bearer "{token}"', 401),
    ("Bearer token={token}", 401), ("Bearer {token},Bearer {token}", 401), ("BearerBearer {token}", 401),
    ("bearer {token}", 200), ("BEARER {token}", 200), ("Bearer  {token}", 200), ("Bearer {token}", 200),
]  # fmt: skip


@pytest.mark.parametrize(("field", "status"), SHOWN_WRONG)
def test_only_the_bearer_scheme_counts(field: str, status: int, gateway: Running) -> None:
    line = "Authorization: " + field.replace("{token}", issuer().token())
    assert gateway.ask("GET", PROTECTED, token=line).status == status


def test_two_authorization_fields_are_400_even_when_both_are_right(gateway: Running) -> None:
    right = bearer(issuer().token())
    for first, second in (
        (right, right),
        (right, "Authorization: Basic x"),
        ("Authorization: x", right),
        (right, "authorization:"),
    ):
        answer = gateway.ask("GET", PROTECTED, second, token=first)
        assert (answer.status, answer.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "name", ["access_token", "id_token", "auth_token", "authorization", "bearer", "jwt", "accessToken", "token", "t"]
)
def test_a_token_in_the_query_is_refused_and_leaves_no_trace(
    name: str, gateway: Running, upstream: RawUpstream
) -> None:
    token, before = issuer().token(), len(upstream.requests)
    answer = gateway.ask("GET", f"{PROTECTED}?a=1&{name}={token}", token="")
    assert answer.status == 401
    assert "Authorization field" in answer.json()["error"]["message"]
    assert gateway.ask("GET", f"{PROTECTED}?{name}={token}").status == 400
    assert len(upstream.requests) == before
    assert token.split(".")[2] not in answer.body.decode()


@pytest.mark.parametrize("name", ["token", "session", "__session", "Authorization", "access_token"])
def test_a_token_in_a_cookie_counts_for_nothing(name: str, gateway: Running) -> None:
    assert gateway.ask("GET", PROTECTED, f"Cookie: {name}={issuer().token()}", token="").status == 401
    assert gateway.ask("GET", PROTECTED, f"Cookie: {name}={issuer().token()}").status == 200


@pytest.mark.parametrize(
    "field", ["X-Authorization", "Authorization_", "Proxy-Authorization", "X-Forwarded-Authorization", "X-User-Id"]
)
def test_a_token_in_another_field_counts_for_nothing(field: str, gateway: Running) -> None:
    assert gateway.ask("GET", PROTECTED, f"{field}: Bearer {issuer().token()}", token="").status in (400, 401)


def test_no_token_gets_into_the_log_wherever_it_was_put(tmp_path: Path) -> None:
    token = issuer().token()
    with running(tmp_path, LOG_LEVEL="debug", ERROR_DETAIL="full") as process:
        for ask in (
            (f"/api/v2/slack/{token}",), (f"/nothing?access_token={token}",), ("/health", f"User-Agent: {token}"),
            ("/health", f"User-Agent: x {token[:60]}"), (f"/{token}/{'x' * 2000}", f"X-Request-Id: {token[:100]}"),
            ("/nothing", f"Cookie: token={token}"), (f"/{token[: len(token) // 2]}",),
        ):  # fmt: skip
            process.ask("GET", *ask)
            process.ask("GET", *ask, token="")
            process.ask("GET", ask[0], token=bearer(token + "x"))
        process.stop()
        said = process.out.read_text()
    assert "[token]" in said
    for part in (*token.split("."), token[:60], token[20:60]):
        assert part not in said


@pytest.mark.alone
def test_a_token_of_64_kib_is_refused_within_50_ms(gateway: Running) -> None:
    long = issuer().token(pad="x" * 49_000)
    deep = tokens.b64(b'{"a":' * 9_000).decode() + ".AAAA.AAAA"
    for token, statuses in ((long, (401, 431)), (deep, (401, 431)), ("a." * 4000, (401,)), ("A" * 8100, (401,))):
        best = 9.0
        for _ in range(10):
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as wire:
                began = time.perf_counter()
                wire.sendall(
                    f"GET {PROTECTED} HTTP/1.1\r\nHost: a\r\n{bearer(token)}\r\nConnection: close\r\n\r\n".encode()
                )
                answer = read_answer(wire)
                best = min(best, time.perf_counter() - began)
            assert answer.status in statuses
        assert best < 0.05
    assert gateway.ask("GET", "/health", token="").status == 200


def test_a_refused_upload_is_answered_before_its_body_is_read(gateway: Running) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as wire:
        wire.sendall(
            f"POST {PROTECTED} HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        assert read_answer(wire).status == 401


@pytest.mark.parametrize("role", ["gateway", "crm", "slack", "gmail"])
def test_without_keys_nothing_is_open(role: str, tmp_path: Path) -> None:
    own = {"gateway": "/api/v2/crm/contacts", "crm": "/contacts", "slack": "/channels", "gmail": "/messages"}
    with running(tmp_path, auth=False, ROLE=role, CONTACTS_STORE=f"sqlite://{tmp_path}/c.db") as process:
        assert process.ask("GET", "/health", token="").status == 200
        for token in ("", None, "Authorization: Bearer x"):
            answer = process.ask("GET", own[role], token=token)
            assert (answer.status, answer.code) == (503, "AUTHENTICATION_NOT_CONFIGURED")
            assert answer.json()["error"]["message"] == "Authentication is not configured"


@pytest.mark.parametrize("role", ["crm", "slack", "gmail"])
def test_every_service_checks_for_itself(role: str, tmp_path: Path) -> None:
    own = {"crm": "/contacts", "slack": "/channels", "gmail": "/messages"}
    with running(tmp_path, ROLE=role, CONTACTS_STORE=f"sqlite://{tmp_path}/c.db") as process:
        assert process.ask("GET", own[role]).status == 200
        assert (
            process.ask("GET", own[role], "X-Tenant-Id: acme", "X-User-Id: ada", "Via: 1.1 gateway", token="").status
            == 401
        )
        assert process.ask("GET", own[role], token=bearer(Issuer("key-1").token())).status == 401


def test_an_unsigned_token_is_refused_even_where_the_emulator_is_meant(tmp_path: Path) -> None:
    claims = tokens.b64(tokens.dumps(tokens.right_claims()))
    unsigned = (tokens.b64(b'{"alg":"none","typ":"JWT"}') + b"." + claims + b".").decode()
    with running(tmp_path, FIREBASE_AUTH_EMULATOR_HOST="127.0.0.1:9099") as process:
        assert process.ask("GET", "/nothing", token=bearer(unsigned)).status == 401
        assert process.ask("GET", "/nothing").status == 404


@pytest.mark.parametrize(
    ("env", "named"),
    [
        ({"FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099", "K_SERVICE": "svc"}, "FIREBASE_AUTH_EMULATOR_HOST: "),
        ({"AUTH_KEYS": "/keys.json"}, "AUTH_ISSUER: "),
        ({"AUTH_KEYS": "http://keys.example/"}, "AUTH_KEYS: "),
    ],
)
def test_a_setting_that_would_weaken_it_ends_the_start_with_one_line(
    env: dict[str, str], named: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway_runtime"],
        cwd=ROOT,
        env={"PATH": "/usr/bin", **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"gateway_runtime: {named}")


@pytest.mark.parametrize("form", [tokens.jwks, tokens.certificates], ids=["JWKS", "X.509"])
def test_keys_come_from_a_url_and_are_read_once(form, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    with KeyServer(form(issuer())) as server, running(tmp_path, **believing(server.url)) as process:
        for number in range(20):
            assert process.ask("GET", "/nothing", token=bearer(issuer().token(user=f"u{number}"))).status == 404
        assert server.asked == ["/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com"]


def test_a_storm_of_unknown_keys_asks_the_server_once(tmp_path: Path) -> None:
    with KeyServer(jwks(issuer())) as server, running(tmp_path, **believing(server.url)) as process:
        assert process.ask("GET", "/nothing").status == 404

        def storm(number: int) -> int:
            forged = Issuer(f"unknown-{number}", issuer("key-2").private).token()
            return process.ask("GET", "/nothing", token=bearer(forged)).status

        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(storm, range(300))) == {401}
        assert len(server.asked) == 2
        assert process.ask("GET", "/nothing").status == 404


def test_nothing_in_a_token_makes_the_gateway_ask_anybody(tmp_path: Path) -> None:
    with (
        KeyServer(jwks(issuer("key-2"))) as evil,
        KeyServer(jwks(issuer())) as server,
        running(tmp_path, **believing(server.url)) as process,
    ):
        assert process.ask("GET", "/nothing").status == 404
        for header in (
            {"jku": evil.url},
            {"x5u": evil.url},
            {"kid": evil.url},
            {"jwk": issuer("key-2").jwk},
            {"iss": evil.url},
        ):
            forger = issuer("key-2")
            token = forger.signed(forger.header(**header), tokens.dumps(tokens.right_claims(iss=evil.url))).decode()
            assert process.ask("GET", "/nothing", token=bearer(token)).status == 401
        assert evil.asked == []
        assert len(server.asked) <= 2


def test_a_rotation_is_followed_and_a_withdrawn_key_ends(tmp_path: Path) -> None:
    old, new = issuer(), issuer("key-2")
    with (
        KeyServer(jwks(old), cache_control="max-age=1") as server,
        running(tmp_path, **believing(server.url, AUTH_KEYS_REFETCH="0.2")) as process,
    ):
        asks = {"old": bearer(old.token()), "new": bearer(new.token())}

        def said() -> dict[str, int]:
            return {name: process.ask("GET", "/nothing", token=token).status for name, token in asks.items()}

        assert said() == {"old": 404, "new": 401}
        server.body = jwks(old, new)
        until(lambda: said() == {"old": 404, "new": 404})
        server.body = jwks(new)
        until(lambda: said() == {"old": 401, "new": 404})
        server.play = "500"
        # The server is down: what is known goes on, of the rest nobody can tell.
        until(lambda: said() == {"old": 503, "new": 404})
        server.play = "ok"
        until(lambda: said() == {"old": 401, "new": 404})


@pytest.mark.parametrize("play", ["500", "html", "redirect", "huge", "silent", "drip", "gone"])
def test_without_any_key_it_is_503_and_heals_by_itself(play: str, tmp_path: Path) -> None:
    with KeyServer(jwks(issuer())) as server:
        server.play = play
        url = f"http://127.0.0.1:{free_port()}/keys" if play == "gone" else server.url
        with running(tmp_path, **believing(url)) as process:
            began = time.monotonic()
            answer = process.ask("GET", "/nothing")
            assert time.monotonic() - began < 15, "half of a request's deadline"
            assert (answer.status, answer.code) == (503, "AUTHENTICATION_UNAVAILABLE")
            assert answer.header("retry-after") == "1"
            assert process.ask("GET", "/health", token="").status == 200
            assert b"127.0.0.1" not in answer.body
            assert "/elsewhere" not in server.asked
            if play == "gone":
                return
            server.play = "ok"
            until(lambda: process.ask("GET", "/nothing").status == 404)


def test_keys_that_are_not_there_are_told_at_the_start_and_in_deep_health_until_they_are(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"

    with running(tmp_path, **believing(str(path), AUTH_KEYS_REFETCH="0.1")) as process:

        def told() -> dict[str, str]:
            said = process.ask("GET", "/health/deep", token="").json()
            assert said["status"] == ("degraded" if said["auth"]["status"] == "degraded" else "healthy")
            return dict(said["auth"])

        process.await_log("cannot be read")
        line = next(entry for entry in process.log() if "cannot be read" in entry["message"])
        assert line["severity"] == "ERROR"
        assert line["message"].startswith("The keys of the tokens cannot be read, and what needs a token answers 503: ")
        assert str(path) in line["message"]
        assert told() == {"status": "degraded", "keys": "missing"}
        path.write_bytes(jwks(issuer()))
        until(lambda: told() == {"status": "ok", "keys": "read"})  # nobody has shown a token yet
        assert process.ask("GET", "/nothing").status == 404


@pytest.mark.parametrize("auth", [True, False])
def test_deep_health_tells_whether_tokens_are_configured(auth: bool, tmp_path: Path) -> None:
    with running(tmp_path, auth=auth) as process:
        said = process.ask("GET", "/health/deep", token="").json()
        assert said["status"] == "healthy", "also while the keys are being read for the first time"
        assert said["auth"]["status"] == ("ok" if auth else "not configured")


def test_keys_in_a_file_may_be_missing_at_first_and_replaced_later(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with running(tmp_path, **believing(str(path), AUTH_KEYS_REFETCH="0.1")) as process:
        assert process.ask("GET", "/nothing").status == 503
        path.write_bytes(jwks(issuer()))
        until(lambda: process.ask("GET", "/nothing").status == 404)
        path.write_bytes(jwks(issuer(), issuer("key-2")))
        until(lambda: process.ask("GET", "/nothing", token=bearer(issuer("key-2").token())).status == 404)


def test_strangers_are_limited_by_address_and_cost_no_upstream_call(tmp_path: Path, upstream: RawUpstream) -> None:
    before = len(upstream.requests)
    with running(tmp_path, UPSTREAM_SLACK_URL=upstream.url, RATE_LIMIT_ADDRESS="5/60") as process:
        forged = bearer(Issuer("key-1", issuer("key-2").private).token())
        said = [process.ask("GET", PROTECTED, token=token).status for token in ("", forged) * 5]
        assert said == [401] * 5 + [429] * 5
    assert len(upstream.requests) == before


def test_a_right_token_without_tenant_is_403_with_a_challenge(gateway: Running) -> None:
    answer = gateway.ask("GET", PROTECTED, token=bearer(issuer().token(None)))
    assert (answer.status, answer.code) == (403, "FORBIDDEN")
    assert 'error="insufficient_scope"' in (answer.header("www-authenticate") or "")
    gone = gateway.ask("GET", PROTECTED, token=bearer(issuer().token(ttl=-60, iat=int(time.time()) - 3660)))
    assert (gone.status, gone.json()["error"]["message"]) == (401, "The token has expired")
    assert 'error="invalid_token"' in (gone.header("www-authenticate") or "")


def test_a_token_ends_on_time_on_a_connection_that_stays_open(tmp_path: Path) -> None:
    with running(tmp_path, AUTH_LEEWAY="0") as process, socket.create_connection(("127.0.0.1", process.port)) as wire:
        line = bearer(issuer().token(exp=int(time.time()) + 3))
        said: list[int] = []
        while said.count(401) < 5:
            assert len(said) < 600
            wire.sendall(f"GET /nothing HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n".encode())
            said.append(read_answer(wire).status)
            time.sleep(0.1)
        assert (said[0], said[-1], sorted(said, reverse=True)) == (404, 401, said)
