from __future__ import annotations

from pathlib import Path

import pytest

from xgw.cli.main import main
from xgw.errors import UsageFault
from xgw.plan import steps
from xgw.plan.overrides import check
from xgw.settings import load


def told(tmp_path: Path, text: str) -> None:
    (tmp_path / "xgw.toml").write_text(text)
    check(load({}, environ={}, cwd=tmp_path), steps())


BAD = [
    ('[overrides."1.20"]\nmemory = "1Gi"', "xgw.toml:2: there is no step 1.20", "did you mean 1.2?"),
    ('[overrides."2.3"]\nmemory = "1Gi"', "there is no step 2.3", ""),
    ('[overrides."1.1".crm]\nmemory = "1Gi"', "step 1.1 does not touch crm", "its services: gateway"),
    ('[overrides."1.8"]\nmemory = "1Gi"', "memory of gateway belongs to step 1.1", '[overrides."1.1"]'),
    ('[overrides."1.9".slack]\nmemory = "1Gi"', "memory of slack belongs to step 1.2", '[overrides."1.2"]'),
    (
        '[overrides."1.3"]\ncpu = "2"\n[overrides."1.5"]\ncpu = "2"',
        "xgw.toml:4: cpu of gateway belongs to step 1.3",
        "",
    ),
    ('[overrides."1.9".env]\nLOG_SAMPLE_RATE = "half"', "'half', and wants a share", "the plan's value is '0.1'"),
    ('[overrides."1.9".env]\nLOG_SAMPLE_RATE = "1.5"', "wants a share", ""),
    ('[overrides."1.9".env]\nLOG_SAMPLE_RATE = "nan"', "wants a share", ""),
    ('[overrides."1.9".crm.env]\nLOG_SAMPLE_RATE = ""', "wants a share", ""),
    ('[overrides."1.6".env]\nWS_MAX_TOTAL = "off"', "wants a whole number", ""),
    ('[overrides."1.6".env]\nWS_MAX_TOTAL = "\u0665"', "wants a whole number", ""),
    ('[overrides."1.5".env]\nBREAKER = "yes"', "wants on or off", ""),
    ('[overrides."1.8".env]\nCORS_ALLOWED_ORIGINS = ""', "wants a value", ""),
    ('[overrides."1.9".env]\nLOG_SAMPLE_RATE = "secret:rate"', "reference to a secret", "the value itself"),
    ('[overrides."1.8".env]\nCORS_ALLOWED_ORIGINS = "secret:origins"', "reference to a secret", ""),
]


@pytest.mark.parametrize(("text", "message", "fix"), BAD, ids=[bad[0].replace("\n", " ")[:50] for bad in BAD])
def test_an_override_that_cannot_be_carried_out_is_refused_with_its_line(
    text: str, message: str, fix: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageFault) as caught:
        told(tmp_path, text)
    assert message in caught.value.message
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    "text",
    [
        '[overrides."1.2"]\nmemory = "512Mi"\n[overrides."1.2".crm]\nmemory = "384Mi"\nexecution_environment = "gen1"',
        '[overrides."1.8"]\nenv = { CORS_ALLOWED_ORIGINS = "https://a.example" }',
        '[overrides."1.9".env]\nLOG_SAMPLE_RATE = "1"\nLOG_LEVEL = "warning"',
        '[overrides."1.1"]\nexecution_environment = "gen2"\n[overrides."1.2"]\nexecution_environment = "gen1"',
        '[overrides."1.8".env]\nEXTRA_TOKEN = "secret:token/3"',
        '[overrides."1.6".env]\nWS_MAX_PER_USER = "3"\nWS_PING_INTERVAL = "anything: no step knows its kind"',
    ],
)
def test_an_override_that_the_plan_can_carry_out_is_taken(text: str, tmp_path: Path) -> None:
    told(tmp_path, text)


def test_every_value_of_the_plan_is_of_its_own_kind(tmp_path: Path) -> None:
    for step in steps().values():
        for change in step.changes:
            named = {name.removeprefix("env."): v for name, v in change.wanted().items() if name.startswith("env.")}
            lines = [f'[overrides."{step.id}".{change.role}.env]', *(f'{name} = "{v}"' for name, v in named.items())]
            told(tmp_path, "\n".join(lines))


def test_the_settings_are_refused_by_whatever_command_reads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XGW_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "xgw.toml").write_text('[overrides."1.20"]\nmemory = "1Gi"')
    assert main(["config", "show"]) == 2
    assert "there is no step 1.20" in capsys.readouterr().err
