from __future__ import annotations

from dataclasses import replace

import pytest
from google.cloud import run_v2

from tests.helpers.engine import IMAGE, NAMES, Engine, target_on, two_steps
from tests.helpers.local_cloud import PARENT, LocalCloud
from xgw.changes.service import ServiceSpec
from xgw.errors import Conflict, ExitCode, NotFound, Refused, Unreachable, UsageFault
from xgw.plan.model import GATEWAY, Outcome, Phase, Probe, Reading, Step, Subject, Verdict
from xgw.resources import LATEST

LATEST_FORM = [(None, 100, "")]


def set_variable(cloud: LocalCloud, name: str, value: str, service: str = "gateway") -> None:
    """As a colleague with another client would."""
    message = cloud.get(service)
    variables = {v.name: v for v in message.template.containers[0].env}
    variables[name].value = value
    message.template.revision = ""
    cloud.update(message)


def test_a_phase_is_applied_proven_and_left_on_the_latest_revision(engine: Engine):
    run = engine.apply()
    assert run.exit_code is ExitCode.OK
    assert engine.states() == {"1.1": "validated", "1.2": "validated"}
    assert engine.traffic() == dict.fromkeys(NAMES, LATEST_FORM)
    assert engine.serving_mode("gateway") == engine.serving_mode("crm") == "strict"
    assert engine.fields()["gateway"]["memory"] == "1Gi"


def test_variables_that_the_plan_does_not_name_stay(engine: Engine):
    engine.apply()
    assert engine.fields()["gateway"]["env.KEEP"] == "me"


def test_a_second_apply_sends_nothing_and_records_nothing(engine: Engine, cloud: LocalCloud):
    engine.apply()
    before, records = dict(cloud.server.rpc_counts), engine.ledger().check()
    run = engine.apply()
    assert (run.id, run.exit_code) == (0, ExitCode.OK)
    assert {r.reason for r in run.steps} == {"holds already"}
    writes = {name: count for name, count in cloud.server.rpc_counts.items() if "Update" in name}
    assert writes == {name: count for name, count in before.items() if "Update" in name}
    assert engine.ledger().check() == records


def test_the_record_says_what_was_changed_and_what_held_already(engine: Engine):
    engine.apply(only=["1.2"])
    run = engine.apply()
    [*_, end] = engine.ledger().records(target=engine.target.id, kind="run-end")
    assert end.run == run.id
    assert [(step["step"], step["reason"], step["changed"]) for step in end.body["steps"]] == [
        ("1.1", "", True),
        ("1.2", "holds already", False),
    ]


def test_a_step_whose_values_are_there_is_measured_and_not_said_to_be_changed(engine: Engine):
    engine.target.run.update("gateway", fields={"memory": "1Gi"}, revision="gateway-by-hand", traffic=LATEST)
    run = engine.apply(only=["1.1"])
    assert (run.steps[0].outcome, run.steps[0].changed) == (Outcome.VALIDATED, False)


def test_apply_then_revert_is_where_it_began(engine: Engine):
    fields, traffic = engine.fields(), engine.traffic()
    engine.apply()
    assert engine.fields() != fields
    engine.revert()
    assert (engine.fields(), engine.traffic()) == (fields, traffic)
    assert set(engine.states().values()) == {"reverted"}
    assert engine.serving_mode("gateway") == "loose"


def test_revert_needs_only_the_ledger_in_another_process(engine: Engine, cloud: LocalCloud, tmp_path):
    before = engine.fields()
    engine.apply()
    Engine(target_on(cloud.target, tmp_path), tmp_path).revert()
    assert engine.fields() == before


def test_planning_sends_no_rpc_that_could_change_anything(cloud: LocalCloud, tmp_path):
    Engine(target_on(cloud.target, tmp_path, writable=False), tmp_path).plan()
    counts = {name.rsplit("/")[-1]: count for name, count in cloud.server.rpc_counts.items()}
    assert counts.pop("CreateService") == len(NAMES)  # from setting the stage
    assert all(name.startswith(("Get", "List")) for name in counts), counts


def test_a_connection_for_reading_refuses_to_write_before_anything_leaves(cloud: LocalCloud, tmp_path):
    engine = Engine(target_on(cloud.target, tmp_path, writable=False), tmp_path)
    with pytest.raises(Refused, match="only reads"):
        engine.target.run.update("gateway", fields={"env.MODE": "strict"}, revision="gateway-x", traffic=LATEST)
    assert not any("Update" in name for name in cloud.server.rpc_counts)


@pytest.mark.parametrize("where", ["candidate", "live"])
def test_a_missed_limit_undoes_the_step_and_stops_the_phase(cloud, tmp_path, where):
    engine = Engine(target_on(cloud.target, tmp_path), tmp_path, two_steps({where: Verdict.FAILED}))
    run = engine.apply()
    assert run.exit_code is ExitCode.MISSED
    assert [result.outcome for result in run.steps] == [Outcome.VALIDATED, Outcome.REJECTED]
    assert engine.fields()["gateway"]["env.MODE"] == engine.fields()["crm"]["env.MODE"] == "loose"
    assert engine.fields()["gateway"]["memory"] == "1Gi"
    assert engine.traffic() == dict.fromkeys(NAMES, LATEST_FORM)
    assert engine.serving_mode("gateway") == "loose"


def test_what_was_not_asked_for_is_not_said_to_be_stopped_by_a_rejected_step(cloud, tmp_path):
    phase = two_steps({"live": Verdict.FAILED})
    steps = (phase.steps[1], phase.steps[0], replace(phase.steps[0], id="1.3"))
    engine = Engine(target_on(cloud.target, tmp_path), tmp_path, replace(phase, steps=steps))
    run = engine.apply(skip=["1.1"])
    assert [result.outcome for result in run.steps] == [Outcome.REJECTED, Outcome.SKIPPED, Outcome.SKIPPED]
    assert [result.reason for result in run.steps[1:]] == ["skipped: not asked for", "not started: 1.2 was rejected"]


def test_a_candidate_that_fails_never_had_traffic(cloud, tmp_path):
    engine = Engine(target_on(cloud.target, tmp_path), tmp_path, two_steps({"candidate": Verdict.FAILED}))
    engine.apply()
    attempt = engine.ledger().latest(engine.target.id)["1.2"]
    candidates = {delta["revision"] for delta in attempt.deltas}
    served = {route.revision for event in cloud.journal if event[0] == "routes" for route in event[2] if route.percent}
    assert len(candidates) == 2
    assert not candidates & served


@pytest.mark.parametrize("verdict", [Verdict.INCONCLUSIVE, Verdict.ERRORED])
def test_no_data_promotes_nothing_undoes_nothing_and_goes_on_when_there_is_data(cloud, tmp_path, verdict):
    verdicts = {"candidate": verdict}
    engine = Engine(target_on(cloud.target, tmp_path), tmp_path, two_steps(verdicts))
    run = engine.apply()
    assert run.exit_code is ExitCode.UNPROVEN
    assert engine.states()["1.2"] == "unproven"
    assert engine.serving_mode("gateway") == "loose"
    made = {role: len(engine.target.revisions(role)) for role in NAMES}
    verdicts.clear()
    assert engine.apply().exit_code is ExitCode.OK
    assert engine.serving_mode("gateway") == "strict"
    assert {role: len(engine.target.revisions(role)) for role in NAMES} == made


def test_an_unproven_live_step_is_validated_by_a_later_measurement(cloud, tmp_path):
    from xgw import runner

    verdicts = {"live": Verdict.INCONCLUSIVE}
    engine = Engine(target_on(cloud.target, tmp_path), tmp_path, two_steps(verdicts))
    engine.apply()
    assert engine.serving_mode("gateway") == "strict"
    verdicts.clear()
    run = runner.validate(engine.bench(), engine.phase, command="validate")
    assert run.exit_code is ExitCode.OK
    assert engine.states()["1.2"] == "validated"


def test_validating_before_anything_was_applied_misses_and_changes_nothing(engine: Engine, cloud: LocalCloud):
    from xgw import runner

    run = runner.validate(engine.bench(), engine.phase, command="validate", only=["1.2"])
    assert run.exit_code is ExitCode.MISSED
    assert not any("Update" in name for name in cloud.server.rpc_counts)


def test_values_that_already_hold_are_measured_before_they_count(engine: Engine, cloud: LocalCloud):
    for service in NAMES.values():
        set_variable(cloud, "MODE", "strict", service)
    assert {p.step.id: p.state for p in engine.plan().steps}["1.2"] == "measure"
    engine.apply()
    attempt = engine.ledger().latest(engine.target.id)["1.2"]
    assert attempt.state == "validated"
    assert [e["where"] for e in attempt.evidence] == ["live", "live"]


def test_a_high_risk_step_gets_its_traffic_by_shares(cloud, tmp_path):
    engine = Engine(target_on(cloud.target, tmp_path), tmp_path, two_steps(high_risk=True))
    assert engine.apply().exit_code is ExitCode.OK
    shares = [
        sorted(route.percent for route in event[2] if route.percent)
        for event in cloud.journal
        if event[0] == "routes" and event[1] == "gateway"
    ]
    assert [10, 90] in shares
    assert [50, 50] in shares
    assert engine.traffic()["gateway"] == LATEST_FORM


def test_a_gate_measures_the_new_revision_while_it_has_its_share(cloud, tmp_path):
    looked: list[tuple[str, str]] = []

    def measure(subject: Subject) -> Reading:
        service = subject.target.service(GATEWAY)
        old = next((share.percent for share in service.holding if share.revision != subject.revisions[GATEWAY]), 0)
        own = {share.uri: f"tag, {100 - old}% beside it" for share in service.serving if share.tag}
        looked.append((subject.where, own.get(subject.urls[GATEWAY], "the service")))
        passed = len(looked) < 3
        return Reading("", "", Verdict.PASSED if passed else Verdict.FAILED)

    step = Step(
        "1.1", "Mode", (ServiceSpec(GATEWAY, env={"MODE": "strict"}),), (Probe("p", measure),), (), high_risk=True
    )
    engine = Engine(target_on(cloud.target, tmp_path), tmp_path, Phase(1, "Test", (step,)))
    run = engine.apply()
    tag = "tag, {}% beside it"
    assert looked == [("candidate", tag.format(0)), ("candidate", tag.format(10)), ("candidate", tag.format(50))]
    assert [evidence.where for evidence in run.steps[0].evidence] == ["candidate", "at 10%", "at 50%"]
    assert (run.exit_code, engine.states()["1.1"]) == (ExitCode.MISSED, "reverted")
    assert run.steps[0].reason == "it did not hold at 50% of the traffic (failed)"
    assert engine.traffic()["gateway"] == LATEST_FORM


def test_a_revision_that_does_not_start_gets_no_traffic_and_is_undone(engine: Engine):
    crash = Step("1.1", "Bad image", (ServiceSpec(GATEWAY, image="crash@sha256:2"),), (), ())
    bad = Engine(engine.target, engine.home, Phase(1, "Test", (crash,)))
    run = bad.apply()
    assert run.exit_code is ExitCode.MISSED
    assert "did not become ready" in run.steps[0].reason
    assert engine.fields()["gateway"]["image"] == IMAGE
    assert engine.traffic()["gateway"] == LATEST_FORM


def test_one_service_of_a_step_refused_undoes_the_others(engine: Engine):
    before = engine.fields()
    specs = (ServiceSpec(GATEWAY, env={"MODE": "strict"}), ServiceSpec("crm", memory="64Mi"))
    bad = Engine(engine.target, engine.home, Phase(1, "Test", (Step("1.1", "Half", specs, (), ()),)))
    run = bad.apply()
    assert (run.exit_code, run.steps[0].refused) == (ExitCode.FAILED, True)
    assert run.steps[0].reason.startswith("the platform refused it: Invalid value specified for memory")
    assert engine.fields() == before
    assert engine.traffic() == dict.fromkeys(NAMES, LATEST_FORM)


def test_gen2_blocks_less_than_its_floor_and_says_what_would_allow_it(engine: Engine, cloud: LocalCloud):
    service = cloud.get("gateway")
    service.template.execution_environment = run_v2.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2
    service.template.revision = ""
    cloud.update(service)
    small = Step("1.2", "Small", (ServiceSpec(GATEWAY, memory="256Mi"),), (), ())
    found = Engine(engine.target, engine.home, Phase(1, "Test", (small,))).plan().steps[0]
    assert found.state == "blocked"
    assert "512Mi" in found.blocked[0].reason
    assert 'overrides."1.2"' in found.blocked[0].fix


def test_an_image_by_tag_blocks_a_change_because_the_code_could_change_with_it(engine: Engine, cloud: LocalCloud):
    cloud.deploy("app:latest", "gateway")
    found = engine.plan(only=["1.1"]).steps[0]
    assert found.state == "blocked"
    assert "is a tag" in found.blocked[0].reason


def test_a_service_whose_latest_revision_is_broken_is_not_built_on(engine: Engine, cloud: LocalCloud):
    from google.api_core.exceptions import GoogleAPICallError

    with pytest.raises(GoogleAPICallError):
        cloud.deploy("crash@sha256:2", "gateway")
    found = engine.plan(only=["1.1"]).steps[0]
    assert found.state == "blocked"
    assert engine.target.service(GATEWAY).latest_ready in found.blocked[0].fix


def test_a_pinned_service_refuses_before_anything_is_changed(engine: Engine, cloud: LocalCloud):
    pinned = engine.target.service(GATEWAY)
    engine.target.run.update("gateway", traffic=pinned.holding)
    updates = sum(count for name, count in cloud.server.rpc_counts.items() if "Update" in name)
    with pytest.raises(Conflict, match="pinned") as fault:
        engine.apply()
    assert "--release" in fault.value.fix
    assert updates == sum(count for name, count in cloud.server.rpc_counts.items() if "Update" in name)


def test_drift_is_named_refused_and_overwritten_only_by_force(engine: Engine, cloud: LocalCloud):
    engine.apply()
    set_variable(cloud, "MODE", "own")
    found = engine.plan(only=["1.2"]).steps[1]
    assert found.state == "drift"
    assert "'own'" in found.reason
    with pytest.raises(Conflict):
        engine.apply()
    with pytest.raises(Conflict, match="drifted"):
        engine.revert()
    assert engine.fields()["gateway"]["env.MODE"] == "own"
    assert engine.apply(force=True).exit_code is ExitCode.OK
    assert engine.fields()["gateway"]["env.MODE"] == "strict"


def test_revert_by_force_overwrites_drift_with_what_was_there_before(engine: Engine, cloud: LocalCloud):
    engine.apply()
    set_variable(cloud, "MODE", "own")
    engine.revert(force=True)
    assert engine.fields()["gateway"]["env.MODE"] == "loose"


def other_mode(engine: Engine, mode: str, verdict: Verdict = Verdict.PASSED) -> Engine:
    """The same phase with another wish for step 1.2, as an override in xgw.toml makes it."""
    phase = two_steps({"candidate": verdict})
    spec = ServiceSpec(GATEWAY, env={"MODE": mode})
    step = Step("1.2", "Mode", (spec, phase.steps[1].changes[1]), phase.steps[1].probes, ())
    return Engine(engine.target, engine.home, Phase(1, "Test", (phase.steps[0], step)))


def test_another_wish_for_a_step_is_a_change_and_no_drift(engine: Engine):
    engine.apply()
    assert {p.step.id: p.state for p in other_mode(engine, "stricter").plan().steps}["1.2"] == "change"


def test_a_step_applied_twice_is_put_back_to_before_the_first_time(engine: Engine):
    before = engine.fields()
    engine.apply()
    again = other_mode(engine, "stricter")
    assert again.apply().exit_code is ExitCode.OK
    assert engine.fields()["gateway"]["env.MODE"] == "stricter"
    again.revert()
    assert engine.fields() == before
    assert engine.ledger().standing(engine.target.id, "1.2") == []


def test_a_rejected_second_attempt_leaves_the_first_one_standing_and_revertible(engine: Engine):
    before = engine.fields()
    engine.apply()
    again = other_mode(engine, "stricter", Verdict.FAILED)
    assert again.apply().exit_code is ExitCode.MISSED
    assert engine.fields()["gateway"]["env.MODE"] == "strict"
    again.revert()
    assert engine.fields() == before


def test_a_step_applied_over_drift_is_put_back_to_before_the_plan(engine: Engine, cloud: LocalCloud):
    before = engine.fields()
    engine.apply()
    set_variable(cloud, "MODE", "own")
    engine.apply(force=True)
    engine.revert()
    assert engine.fields() == before


def test_a_step_carried_on_for_one_service_still_answers_for_the_other(engine: Engine, cloud: LocalCloud):
    before = engine.fields()
    engine.apply()
    set_variable(cloud, "MODE", "own")
    engine.apply(force=True)
    engine.revert()
    assert engine.fields()["crm"] == before["crm"]


def test_a_target_that_moves_between_plan_and_apply_is_refused(engine: Engine, cloud: LocalCloud):
    from xgw import runner

    planned = engine.plan(only=["1.2"])
    set_variable(cloud, "MODE", "own")
    with pytest.raises(Conflict, match="moved"):
        runner.apply(engine.bench(), planned, command="apply")
    assert engine.fields()["crm"]["env.MODE"] == "loose"


@pytest.mark.parametrize("wish", [{"only": ["9.9"]}, {"skip": ["1.1.1"]}])
def test_a_step_that_the_phase_does_not_have_is_a_usage_fault(engine: Engine, wish):
    with pytest.raises(UsageFault, match="has no step"):
        engine.plan(**wish)


def test_a_service_that_is_not_there_is_named_with_those_that_are(cloud: LocalCloud, tmp_path):
    cloud.services.delete_service(name=f"{PARENT}/services/crm").result(timeout=60)
    with pytest.raises(NotFound, match="crm") as fault:
        Engine(target_on(cloud.target, tmp_path), tmp_path).plan()
    assert "gateway" in fault.value.cause


def test_a_target_that_does_not_answer_is_unreachable(tmp_path):
    engine = Engine(target_on("127.0.0.1:9", tmp_path), tmp_path)
    with pytest.raises(Unreachable):
        engine.plan()


def test_a_change_of_memory_does_not_switch_the_billing_mode(engine: Engine, cloud: LocalCloud):
    service = cloud.get("gateway")
    service.template.containers[0].resources.cpu_idle = True
    service.template.revision = ""
    cloud.update(service)
    engine.apply(only=["1.1"])
    assert cloud.get("gateway").template.containers[0].resources.cpu_idle is True


def test_a_probe_that_cannot_measure_is_errored_and_says_why(engine: Engine):
    def broken(_):
        raise Unreachable("the metrics do not answer", cause="timeout")

    step = Step("1.1", "Blind", (ServiceSpec(GATEWAY, env={"MODE": "strict"}),), (Probe("blind", broken),), ())
    run = Engine(engine.target, engine.home, Phase(1, "Test", (step,))).apply()
    assert run.exit_code is ExitCode.UNPROVEN
    assert run.steps[0].evidence[0].verdict is Verdict.ERRORED
    assert "timeout" in run.steps[0].evidence[0].measured


def test_the_worst_reading_decides(engine: Engine):
    verdicts = iter((Verdict.PASSED, Verdict.INCONCLUSIVE, Verdict.FAILED))
    probes = tuple(Probe(str(n), lambda _: Reading("x", "y", next(verdicts))) for n in range(3))
    step = Step("1.1", "Mixed", (ServiceSpec(GATEWAY, env={"MODE": "strict"}),), probes, ())
    assert Engine(engine.target, engine.home, Phase(1, "Test", (step,))).apply().exit_code is ExitCode.MISSED
