from __future__ import annotations

from xgw.cli.overview import _told

KNOWN = {"env.LOG_LEVEL"}


def test_the_value_of_a_variable_the_plan_does_not_name_is_not_shown():
    shown = _told("env.PASSWORD", "hunter2", KNOWN)
    assert "hunter2" not in shown
    assert shown == _told("env.PASSWORD", "hunter2", KNOWN)
    assert shown != _told("env.PASSWORD", "hunter3", KNOWN)
    assert shown != _told("env.OTHER", "hunter2", KNOWN)


def test_what_the_plan_names_and_what_is_no_variable_is_shown():
    for name, value in {"env.LOG_LEVEL": "info", "memory": "512Mi", "env.KEY": "secret:key/latest"}.items():
        assert _told(name, value, KNOWN) == value
