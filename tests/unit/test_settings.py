from __future__ import annotations

from pathlib import Path

import pytest

from xgw.errors import UsageFault
from xgw.plan import model
from xgw.plan.baseline import DEFAULT_NAMES
from xgw.settings import ROLES, Settings, load, override, state_home

BAD = [
    ("projct = 'x'", "xgw.toml:1: unknown key projct", "did you mean project?"),
    ("[services]\n\ngatway = 'x'", "xgw.toml:3: unknown key services.gatway", "did you mean services.gateway?"),
    ("gateway = 'x'", "xgw.toml:1: unknown key gateway", "did you mean services.gateway?"),
    ("[zzz]\nqqq = 1", "xgw.toml:2: unknown key zzz.qqq", "known: project, region"),
    ("project = 7", "xgw.toml:1: project is 7, and wants a Google Cloud project id", ""),
    ("project = 'Bad_Project'", "xgw.toml:1: project is 'Bad_Project'", ""),
    ("region = 'us'", "xgw.toml:1: region is 'us', and wants a Google Cloud region", ""),
    ("[limits]\np95_ms = true", "xgw.toml:2: limits.p95_ms is True, and wants whole milliseconds", ""),
    ("[limits]\np95_ms = 0", "xgw.toml:2: limits.p95_ms is 0", ""),
    ("[limits]\np95_ms = 1.5", "xgw.toml:2: limits.p95_ms is 1.5", ""),
    ("[limits]\np95_ms = nan", "xgw.toml:2: limits.p95_ms is nan", ""),
    ("[limits]\nerror_share = 1.1", "xgw.toml:2: limits.error_share is 1.1, and wants a share", ""),
    ("[limits]\nerror_share = nan", "xgw.toml:2: limits.error_share is nan", ""),
    ("limits = { p95_ms = -1 }", "xgw.toml:1: limits.p95_ms is -1", ""),
    ("[redis]\naddress = 'host'", "xgw.toml:2: redis.address is 'host', and wants HOST:PORT", ""),
    ("[services]\ncrm = 'Crm'", "xgw.toml:2: services.crm is 'Crm', and wants a Cloud Run service name", ""),
    ("services = 'x'", "xgw.toml:1: unknown key services", ""),
    ("overrides = 1", "xgw.toml:1: overrides is not an override", 'write [overrides."1.8"]'),
    ("[overrides]\nx = 1", "xgw.toml:2: overrides.x is not an override", ""),
    ("[overrides.1.8]\nenv = { A = 'b' }", "xgw.toml:2: overrides.1.8.env.A is not an override", ""),
    ('[overrides."9.1"]\nmemory = "1Gi"', "xgw.toml:2: overrides.9.1.memory is not an override", ""),
    ('[overrides."1.2"]\nmemroy = "1Gi"', "xgw.toml:2: an override has no field 'memroy'", "did you mean memory?"),
    ('[overrides."1.2"]\nmemory = "1GB"', "xgw.toml:2: memory is '1GB', and wants memory as Cloud Run", ""),
    ('[overrides."1.2"]\ncpu = 1', "xgw.toml:2: cpu is 1, and wants vCPU as a string", ""),
    ('[overrides."1.2".cmr]\nmemory = "1Gi"', "xgw.toml:2: an override has no field 'cmr.memory'", ""),
    ('[overrides."1.8".env]\nA = 1', "xgw.toml:2: env.A is 1, and wants a string", '"1"'),
    ('[overrides."1.8".env]\n"A B" = "1"', "xgw.toml:2: 'A B' is not the name of an environment variable", ""),
    ("project = ", "is not valid TOML", "see xgw help config"),
    ("a = " + "[" * 5000, "is not valid TOML", ""),
    ("a = 1\na = 2", "is not valid TOML", ""),
]


def _load(tmp_path: Path, text: str = "", **environ: str) -> Settings:
    (tmp_path / "xgw.toml").write_text(text)
    return load({}, environ=environ, cwd=tmp_path)


@pytest.mark.parametrize(("text", "message", "fix"), BAD, ids=[bad[0][:40] for bad in BAD])
def test_a_bad_file_is_refused_with_its_line(text: str, message: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageFault) as caught:
        _load(tmp_path, text)
    assert message in caught.value.message
    assert fix in caught.value.fix
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a = '\xe9'"])
def test_a_file_that_is_not_utf8_is_refused(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "xgw.toml").write_bytes(raw)
    with pytest.raises(UsageFault, match="is not UTF-8"):
        load({}, environ={}, cwd=tmp_path)


def test_a_file_as_windows_saves_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "xgw.toml").write_bytes(b'\xef\xbb\xbfregion = "europe-west1"\r\n')
    assert load({}, environ={}, cwd=tmp_path).region == "europe-west1"


@pytest.mark.parametrize(
    ("flag", "variable", "line", "wanted", "origin"),
    [
        ("europe-west1", "europe-west2", "region = 'europe-west3'", "europe-west1", "flag --region"),
        (None, "europe-west2", "region = 'europe-west3'", "europe-west2", "variable XGW_REGION"),
        (None, "", "region = 'europe-west3'", "europe-west3", "xgw.toml:1"),
        (None, "", "", "us-central1", "default"),
    ],
)
def test_flags_win_over_variables_over_the_file_over_defaults(
    flag: str | None, variable: str, line: str, wanted: str, origin: str, tmp_path: Path
) -> None:
    (tmp_path / "xgw.toml").write_text(line)
    found = load({"region": flag}, environ={"XGW_REGION": variable}, cwd=tmp_path)
    assert (found.region, found.origins["region"]) == (wanted, origin)


def test_an_empty_flag_is_refused_because_an_unset_shell_variable_wrote_it(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="--project is ''"):
        load({"project": ""}, environ={}, cwd=tmp_path)


def test_an_empty_name_of_a_file_is_refused_and_does_not_mean_the_one_here(tmp_path: Path) -> None:
    (tmp_path / "xgw.toml").write_text('region = "europe-west1"')
    with pytest.raises(UsageFault, match="--config names no file"):
        load({"config": ""}, environ={}, cwd=tmp_path)
    assert load({}, environ={"XGW_CONFIG": ""}, cwd=tmp_path).region == "europe-west1"


def test_a_bad_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageFault, match="XGW_REGION is 'nowhere'"):
        _load(tmp_path, XGW_REGION="nowhere")


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    for flags, environ in (({"config": "a.toml"}, {}), ({}, {"XGW_CONFIG": "a.toml"})):
        with pytest.raises(UsageFault, match="is not there"):
            load(flags, environ=environ, cwd=tmp_path)


def test_a_named_file_wins_over_the_one_here(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('region = "europe-west1"')
    (tmp_path / "xgw.toml").write_text('region = "europe-west3"')
    found = load({"config": "a.toml"}, environ={}, cwd=tmp_path)
    assert (found.region, found.origins["region"]) == ("europe-west1", "a.toml:1")


def test_an_override_for_a_role_wins_over_the_step(tmp_path: Path) -> None:
    found = _load(
        tmp_path,
        '[overrides."1.2"]\nmemory = "512Mi"\nenv.A = "1"\n[overrides."1.2".crm]\nmemory = "1Gi"\n',
    )
    assert override(found, "1.2", "slack") == {"memory": "512Mi", "env.A": "1"}
    assert override(found, "1.2", "crm") == {"memory": "1Gi", "env.A": "1"}
    assert override(found, "1.3", "crm") == {}


def test_without_a_file_the_settings_are_the_documents() -> None:
    found = load({}, environ={}, cwd=Path("/"))
    assert found.project is None
    assert dict(found.services) == dict(DEFAULT_NAMES)
    assert ROLES == model.ROLES


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_TOKEN", '"hunter2"'),
        ("API_TOKEN", "4711"),
        ("db_password", '"hunter2"'),
        ("SENTRY_DSN", '"hunter2"'),
        ("STRIPE_KEY", '"hunter2"'),
        ("REDIS_URL", '"redis://:hunter2@10.0.0.3:6379"'),
        ("CRM_URL", '"https://crm.example/?api_key=hunter2"'),
        ("STORE", '"host=db password=hunter2"'),
        ("SIGNING", '"-----BEGIN PRIVATE KEY-----hunter2"'),
        ("API_TOKEN", '"secret:no/such/form hunter2"'),
    ],
)
def test_an_override_with_a_secret_in_clear_is_refused_and_not_repeated(name: str, value: str, tmp_path: Path) -> None:
    with pytest.raises(UsageFault) as caught:
        _load(tmp_path, f'[overrides."1.1".gateway.env]\n{name} = {value}')
    assert caught.value.message.startswith(f"xgw.toml:2: env.{name} ")
    assert "secret:NAME" in caught.value.fix
    assert "hunter2" not in str(vars(caught.value))


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("secret:api-token", "secret:api-token/latest"),
        ("secret:api-token/3", "secret:api-token/3"),
        ("secret:projects/my-1/secrets/t/3", "secret:projects/my-1/secrets/t/3"),
        ("literal:a", "literal:literal:a"),
        ("masked:a", "literal:masked:a"),
    ],
)
def test_a_reference_to_a_secret_is_kept_in_full_and_a_literal_stays_one(told: str, kept: str, tmp_path: Path) -> None:
    found = _load(tmp_path, f'[overrides."1.1".gateway.env]\nX = "{told}"')
    assert override(found, "1.1", "gateway") == {"env.X": kept}


def test_a_password_in_a_value_that_cannot_be_used_is_not_repeated(tmp_path: Path) -> None:
    for text, environ in (
        ('[redis]\naddress = "redis://:hunter2@h:1"', {}),
        ("", {"XGW_REDIS_ADDRESS": "redis://:hunter2@h:1"}),
    ):
        with pytest.raises(UsageFault) as caught:
            _load(tmp_path, text, **environ)
        assert "'redis://***@h:1'" in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[services]\ncrm = 'one'\nslack = 'one'", "services.slack and services.crm are both 'one'"),
        ("[services]\ngateway = 'crm-engine'", "xgw.toml:2: services.gateway and services.crm are both 'crm-engine'"),
    ],
)
def test_two_roles_are_never_one_service(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageFault) as caught:
        _load(tmp_path, text)
    assert message in caught.value.message


def test_settings_cannot_be_changed() -> None:
    found = load({}, environ={}, cwd=Path("/"))
    with pytest.raises(AttributeError):
        found.region = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.services["crm"] = "x"  # type: ignore[index]


def test_the_state_directory_is_the_one_told_or_the_platforms(tmp_path: Path) -> None:
    assert state_home({"XGW_HOME": str(tmp_path)}) == tmp_path
    assert state_home({"XGW_HOME": "relative"}).is_absolute()
    assert state_home({}).name == "xgw"
