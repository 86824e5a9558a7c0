"""The way to Google Cloud, walked against the embedded server: the same code, another endpoint, no credentials."""

from __future__ import annotations

import time

import pytest

from tests.helpers.place import TARGET, Done, Place
from xgw.errors import ExitCode
from xgw.plan.phase1 import PHASE1

pytestmark = pytest.mark.e2e

FLAGS = ("--project", "xgw-local", "--region", "us-central1")
APPLY = ("phase1", "apply", "--only", "1.7")
REHEARSAL = f"{TARGET}@loopback"
"""How the ledger calls a project that was an endpoint on this machine."""


def cloud(place: Place, *words: str, endpoint: str | None = None) -> Done:
    return place.run(*words, *FLAGS, env={"XGW_ENDPOINT": endpoint or place.endpoint().grpc})


def test_a_project_is_planned_through_the_endpoint(place: Place) -> None:
    done = cloud(place, "phase1", "plan", "-o", "json")
    assert done.code == ExitCode.OK, done
    assert [step["state"] for step in done.data["steps"]] == [
        "waits" if step.after else "change" for step in PHASE1.steps
    ]
    assert done.data["target"] == REHEARSAL


def test_what_is_to_be_typed_next_reaches_the_same_project(place: Place) -> None:
    done = cloud(place, "phase1", "plan", "--only", "1.7")
    words = f"XGW_ENDPOINT={place.endpoint().grpc} xgw phase1 apply {' '.join(FLAGS)} --only 1.7"
    assert f"Next: {words}\n" in done.err


def test_a_change_of_a_project_needs_a_yes_that_names_it(place: Place) -> None:
    writes, state = place.writes(), place.state()
    for words in (APPLY, (*APPLY, "--no-input")):
        done = cloud(place, *words)
        assert done.code == ExitCode.USAGE, done
        assert "nobody is there to give it" in done.err
        assert "This changes project xgw-local, region us-central1. Apply?" in done.err
        assert "add --yes" in done.err
        assert "ERROR_DETAIL" in done.err  # the plan is shown before the question
        assert done.out == ""
    assert (place.writes(), place.state()) == (writes, state)


def test_with_yes_it_is_applied_measured_and_put_back(place: Place) -> None:
    state = place.state()
    done = cloud(place, *APPLY, "--yes", "-o", "json")
    assert done.code == ExitCode.OK, done
    assert place.step("1.7", REHEARSAL) == "validated"
    refused = cloud(place, "rollback", "gateway")
    refused.assert_told(ExitCode.USAGE, "project xgw-local, region us-central1", "Move 100%", "--yes")
    refused = cloud(place, "phase1", "rollback")
    refused.assert_told(ExitCode.USAGE, "project xgw-local, region us-central1", "Put back 1.7?", "--yes")
    assert place.step("1.7", REHEARSAL) == "validated"
    assert cloud(place, "phase1", "rollback", "--yes").code == ExitCode.OK
    assert place.state() == state
    assert place.step("1.7") == ""  # the rehearsal is not in the local target's own record


@pytest.mark.parametrize(
    "endpoint", ["203.0.113.7:443", "run.googleapis.com:443", "10.0.0.3:80", "0.0.0.0:80", "nonsense"]
)
def test_an_endpoint_elsewhere_is_refused(place: Place, endpoint: str) -> None:
    done = cloud(place, "phase1", "plan", endpoint=endpoint)
    done.assert_told(ExitCode.USAGE, f"XGW_ENDPOINT='{endpoint}' is not a loopback address", "127.0.0.1:PORT")


def test_an_endpoint_where_nobody_answers_is_unreachable(place: Place) -> None:
    done = cloud(place, "phase1", "plan", endpoint="127.0.0.1:1")
    done.assert_told(ExitCode.UNREACHABLE, "no answer")


def test_without_credentials_the_way_to_sign_in_is_said_at_once(place: Place) -> None:
    (place.root / "nobody").mkdir(exist_ok=True)
    env = {"HOME": str(place.root / "nobody"), "NO_GCE_CHECK": "true", "CLOUDSDK_CONFIG": str(place.root / "nobody")}
    began = time.monotonic()
    for words in (("phase1", "plan"), (*APPLY, "--yes"), ("status",), ("rollback", "gateway")):
        done = place.run(*words, "--project", "my-project-1", env=env, timeout=60)
        done.assert_told(ExitCode.NOT_SIGNED_IN, "not signed in", "gcloud auth application-default login")
    assert time.monotonic() - began < 100


def test_a_project_without_the_services_says_what_is_there(place: Place) -> None:
    env = {"XGW_ENDPOINT": place.endpoint().grpc}
    done = place.run("phase1", "plan", "--project", "another-project", env=env)
    done.assert_told(ExitCode.USAGE, "there is no service 'xynergyos-intelligence-gateway'", "none", "xgw init")


def test_the_demo_refuses_a_project(place: Place) -> None:
    cloud(place, "demo").assert_told(ExitCode.USAGE, "the demo runs on the local target only", "leave --project out")
