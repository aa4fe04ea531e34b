from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from mitsumori.v1 import admin_pb2, limit_pb2, router_pb2, task_pb2
from router.access.caller import ANONYMOUS, Caller, Role, caller_of
from router.access.policy import (
    METHODS,
    admit,
    check_role,
    facts_of,
    id_before_credentials,
    is_administration,
    reveal,
)
from router.core.errors import InvalidInput, NotAllowed

EVERYTHING = frozenset(Role)
ACME = Caller("key mk_1", "acme", EVERYTHING)
SEARCH = Caller("key mk_2", "acme", EVERYTHING, labels={"team": "search"})
TWO_TEAMS = Caller("key mk_3", "acme", EVERYTHING, scopes={"team": frozenset({"search", "ads"})})
OPERATOR = Caller("key mk_4", None, EVERYTHING)


def new_id() -> str:
    return "made"


def routed(
    caller: Caller, scope: Mapping[str, str], request_id: str = "r1"
) -> router_pb2.RouteRequest:
    request = router_pb2.RouteRequest(request_id=request_id, scope=scope)
    admit(request, caller, new_id)
    return request


def test_every_method_of_the_protocol_says_which_role_it_needs() -> None:
    services = (
        router_pb2.DESCRIPTOR.services_by_name["RouterService"],
        admin_pb2.DESCRIPTOR.services_by_name["AdminService"],
    )
    assert {method.name for service in services for method in service.methods} == set(METHODS)


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        (Role.ROUTE, {"Route", "Reroute", "QuoteBatch", "BeginTask", "EndTask", "GetTask", "ListModels"}),
        (Role.SETTLE, {"Settle", "Release", "ReportOutcome", "EndTask", "GetTask", "ListModels"}),
        (
            Role.READ,
            {
                "ListModels", "ListInputs", "ListLimits", "ListUsage", "ListDecisions", "ListCorrections",
                "ExplainDecision", "GetShadow", "GetCanary", "ListDeferred",
                "ListTasks", "GetTask",
            },
        ),
        (
            Role.ADMIN,
            {
                "ListModels", "ListInputs", "ListLimits", "ListUsage", "ListDecisions", "ListCorrections",
                "ExplainDecision", "GetShadow", "GetCanary", "ListDeferred",
                "ListTasks", "GetTask", "EndTask",
                "SetLimit", "DeleteLimit", "EraseDecisions", "AmendSettlement",
            },
        ),
    ],
)  # fmt: skip
def test_a_role_allows_its_methods_and_no_other(role: Role, allowed: set[str]) -> None:
    caller = Caller("key mk_1", "acme", frozenset({role}))
    for method in METHODS:
        if method in allowed:
            check_role(method, caller)
        else:
            with pytest.raises(NotAllowed) as caught:
                check_role(method, caller)
            assert caught.value.reason == "ROLE_MISSING"


def test_a_method_that_nobody_has_thought_of_needs_an_administrator() -> None:
    check_role("New", Caller("a", None, frozenset({Role.ADMIN})))
    with pytest.raises(NotAllowed):
        check_role("New", Caller("a", None, EVERYTHING - {Role.ADMIN}))
    assert is_administration("New")
    assert [method for method in METHODS if is_administration(method)] == [
        "SetLimit", "DeleteLimit", "EraseDecisions", "AmendSettlement",
    ]  # fmt: skip


def test_a_message_that_nobody_has_thought_of_is_an_operators() -> None:
    admit(limit_pb2.Limit(), OPERATOR, new_id)
    for caller in (ACME, Caller("k", None, EVERYTHING, labels={"team": "search"})):
        with pytest.raises(NotAllowed, match="every tenant"):
            admit(limit_pb2.Limit(), caller, new_id)


def test_a_request_carries_the_tenant_and_the_labels_of_its_credential() -> None:
    request = routed(SEARCH, {"user": "u1"})
    assert dict(request.scope) == {"user": "u1", "tenant": "acme", "team": "search"}


@pytest.mark.parametrize("scope", [{"tenant": "acme"}, {"tenant": "acme", "team": "search"}])
def test_what_the_credential_gives_may_be_said_again(scope: dict[str, str]) -> None:
    assert dict(routed(SEARCH, scope).scope) == {"tenant": "acme", "team": "search"}


@pytest.mark.parametrize(
    ("scope", "field"), [({"tenant": "other"}, "scope.tenant"), ({"team": "ads"}, "scope.team")]
)
def test_no_request_is_made_for_another_tenant_or_team(scope: dict[str, str], field: str) -> None:
    with pytest.raises(NotAllowed) as caught:
        routed(SEARCH, scope)
    assert (caught.value.field, caught.value.reason) == (field, "GIVEN_BY_CREDENTIAL")


@pytest.mark.parametrize(
    ("team", "allowed"), [("search", True), ("ads", True), ("x", False), (None, False)]
)
def test_a_scope_leaves_a_choice_of_values(team: str | None, allowed: bool) -> None:
    scope = {} if team is None else {"team": team}
    if allowed:
        assert dict(routed(TWO_TEAMS, scope).scope) == {"tenant": "acme", "team": team}
        return
    with pytest.raises(NotAllowed) as caught:
        routed(TWO_TEAMS, scope)
    assert "one of ads, search" in caught.value.message


def test_of_many_allowed_values_a_few_are_shown() -> None:
    many = Caller(
        "k", "acme", EVERYTHING, scopes={"team": frozenset("x" * 128 + str(n) for n in range(256))}
    )
    with pytest.raises(NotAllowed, match="and 251 more") as caught:
        routed(many, {})
    assert len(caught.value.message) < 1000


def test_a_tenant_has_ids_of_its_own_and_sees_them_as_it_wrote_them() -> None:
    request = routed(ACME, {}, "r1")
    assert request.request_id == "acme:r1"
    reply = router_pb2.RouteResponse(decision_id="acme:r1")
    reveal(request, reply, ACME)
    assert reply.decision_id == "r1"
    assert routed(ACME, {}, "acme:r1").request_id == "acme:r1"
    assert routed(ACME, {}, "other:r1").request_id == "acme:other:r1"
    assert routed(ACME, {}, "").request_id == "acme:made"


def test_with_the_tenant_an_id_has_128_characters_at_most() -> None:
    assert len(routed(ACME, {}, "x" * 123).request_id) == 128
    with pytest.raises(InvalidInput) as caught:
        routed(ACME, {}, "x" * 124)
    assert "at most 123 characters" in caught.value.message


@pytest.mark.parametrize("kind", [router_pb2.SettleRequest, router_pb2.ReleaseRequest])
def test_a_settlement_is_the_tenants_own(kind: type[router_pb2.SettleRequest]) -> None:
    for tenant in ("", "acme"):
        request = kind(decision_id="d1", tenant=tenant)
        admit(request, ACME, new_id)
        assert (request.decision_id, request.tenant) == ("acme:d1", "acme")
    with pytest.raises(NotAllowed):
        admit(kind(decision_id="d1", tenant="other"), ACME, new_id)


def test_a_reroute_and_a_batch_are_confined_like_a_request() -> None:
    reroute = router_pb2.RerouteRequest(decision_id="d1", request={"request_id": "r2"})
    admit(reroute, ACME, new_id)
    assert (reroute.decision_id, reroute.request.request_id) == ("acme:d1", "acme:r2")
    assert dict(reroute.request.scope) == {"tenant": "acme"}
    quoted = router_pb2.QuoteBatchRequest()
    admit(quoted, ACME, new_id)
    assert dict(quoted.request.scope) == {"tenant": "acme"}


def test_a_reader_reads_its_own_tenant() -> None:
    usage = admin_pb2.ListUsageRequest()
    admit(usage, SEARCH, new_id)
    assert dict(usage.filter.labels) == {"tenant": "acme", "team": "search"}
    with pytest.raises(NotAllowed):
        admit(admin_pb2.ListUsageRequest(filter={"labels": {"tenant": "other"}}), ACME, new_id)
    listed = admin_pb2.ListDecisionsRequest(page_token="d9")
    admit(listed, ACME, new_id)
    assert (dict(listed.filter.labels), listed.page_token) == ({"tenant": "acme"}, "acme:d9")
    page = admin_pb2.ListDecisionsResponse(
        decisions=[{"decision_id": "acme:d1"}, {"decision_id": "old"}], next_page_token="acme:d1"
    )
    reveal(listed, page, ACME)
    assert [row.decision_id for row in page.decisions] == ["d1", "old"]


def test_a_tenant_sees_its_own_deferred_work_by_the_ids_that_it_gave() -> None:
    listed = admin_pb2.ListDeferredRequest()
    admit(listed, ACME, new_id)
    assert dict(listed.labels) == {"tenant": "acme"}
    reply = admin_pb2.ListDeferredResponse(requests=[{"decision_id": "acme:d1"}])
    reveal(listed, reply, ACME)
    assert [each.decision_id for each in reply.requests] == ["d1"]
    with pytest.raises(NotAllowed):
        admit(admin_pb2.ListDeferredRequest(labels={"tenant": "other"}), ACME, new_id)


@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        (ACME, ["each", "ours", "ads"]),
        (SEARCH, ["each", "ours"]),
        (OPERATOR, ["all", "each", "ours", "ads", "theirs"]),
        (ANONYMOUS, ["all", "each", "ours", "ads", "theirs"]),
    ],
)
def test_limits_are_listed_as_far_as_they_name_the_tenant(caller: Caller, shown: list[str]) -> None:
    scopes = {
        "all": {},
        "each": {"tenant": "*"},
        "ours": {"tenant": "acme"},
        "ads": {"tenant": "acme", "team": "ads"},
        "theirs": {"tenant": "other"},
    }
    reply = admin_pb2.ListLimitsResponse(
        limits=[{"limit": {"limit_id": name, "scope": scope}} for name, scope in scopes.items()]
    )
    request = admin_pb2.ListLimitsRequest()
    admit(request, caller, new_id)
    reveal(request, reply, caller)
    assert [status.limit.limit_id for status in reply.limits] == shown


def test_corrections_of_other_tenants_are_left_out() -> None:
    scopes: list[dict[str, str]] = [
        {}, {"tenant": "acme"}, {"tenant": "acme", "team": "ads"}, {"tenant": "other"}, {"team": "x"},
    ]  # fmt: skip
    reply = admin_pb2.ListCorrectionsResponse(corrections=[{"scope": scope} for scope in scopes])
    reveal(admin_pb2.ListCorrectionsRequest(), reply, SEARCH)
    assert [dict(each.scope) for each in reply.corrections] == [{}, {"tenant": "acme"}]


def test_a_tenant_sets_limits_of_its_own_name_for_itself_alone() -> None:
    request = admin_pb2.SetLimitRequest(
        limit={"limit_id": "acme:monthly", "scope": {"team": "ads"}}
    )
    admit(request, ACME, new_id)
    assert dict(request.limit.scope) == {"team": "ads", "tenant": "acme"}
    refused = [
        admin_pb2.SetLimitRequest(limit={"limit_id": "monthly"}),
        admin_pb2.SetLimitRequest(limit={"limit_id": "acme:x", "scope": {"tenant": "*"}}),
        admin_pb2.DeleteLimitRequest(limit_id="other:monthly"),
        admin_pb2.DeleteLimitRequest(limit_id="monthly"),
    ]
    for each in refused:
        with pytest.raises(NotAllowed):
            admit(each, ACME, new_id)
    admit(admin_pb2.DeleteLimitRequest(limit_id="acme:monthly"), ACME, new_id)
    admit(admin_pb2.DeleteLimitRequest(limit_id="monthly"), OPERATOR, new_id)


@pytest.mark.parametrize(
    "caller", [SEARCH, TWO_TEAMS, Caller("k", None, EVERYTHING, {"team": "search"})]
)
def test_who_is_confined_to_a_team_sets_no_limits_and_amends_nothing(caller: Caller) -> None:
    for request in (
        admin_pb2.SetLimitRequest(limit={"limit_id": "acme:m", "scope": {"team": "search"}}),
        admin_pb2.DeleteLimitRequest(limit_id="acme:m"),
        admin_pb2.AmendSettlementRequest(decision_id="d1"),
    ):
        with pytest.raises(NotAllowed, match="without labels and scopes"):
            admit(request, caller, new_id)


def test_an_amendment_is_of_a_decision_of_the_callers_tenant() -> None:
    request = admin_pb2.AmendSettlementRequest(decision_id="d1")
    admit(request, ACME, new_id)
    assert (request.tenant, request.decision_id) == ("acme", "acme:d1")
    with pytest.raises(NotAllowed):
        admit(admin_pb2.AmendSettlementRequest(decision_id="d1", tenant="other"), ACME, new_id)


def test_an_erasure_without_labels_stays_without_and_is_refused_by_the_service() -> None:
    request = admin_pb2.EraseDecisionsRequest()
    admit(request, ACME, new_id)
    assert not request.labels
    request = admin_pb2.EraseDecisionsRequest(labels={"user": "u1"})
    admit(request, ACME, new_id)
    assert dict(request.labels) == {"user": "u1", "tenant": "acme"}


@pytest.mark.parametrize("caller", [OPERATOR, ANONYMOUS])
def test_an_operator_names_any_tenant_and_ids_stay_as_they_are(caller: Caller) -> None:
    assert dict(routed(caller, {"tenant": "other"}).scope) == {"tenant": "other"}
    assert routed(caller, {}, "").request_id == ""
    settled = router_pb2.SettleRequest(decision_id="acme:d1", tenant="acme")
    admit(settled, caller, new_id)
    assert (settled.decision_id, settled.tenant) == ("acme:d1", "acme")
    assert id_before_credentials(settled, caller) == ("", "")


def test_a_decision_from_before_is_looked_for_under_its_plain_id() -> None:
    settled = router_pb2.SettleRequest(decision_id="d1")
    admit(settled, ACME, new_id)
    assert id_before_credentials(settled, ACME) == ("decision_id", "d1")
    listed = admin_pb2.ListDecisionsRequest(page_token="d1")
    admit(listed, ACME, new_id)
    assert id_before_credentials(listed, ACME) == ("page_token", "d1")
    assert id_before_credentials(admin_pb2.ListUsageRequest(), ACME) == ("", "")


def test_the_audit_log_says_what_was_asked() -> None:
    limit = limit_pb2.Limit(
        limit_id="m",
        scope={"team": "ads"},
        unit=limit_pb2.UNIT_MONEY,
        window=limit_pb2.WINDOW_MONTH,
        hard=5,
    )
    assert facts_of(admin_pb2.SetLimitRequest(limit=limit))["request"]["limit"] == {
        "limit_id": "m", "scope": {"team": "ads"}, "unit": "UNIT_MONEY", "window": "WINDOW_MONTH",
        "hard": "5",
    }  # fmt: skip
    unknown = facts_of(admin_pb2.SetLimitRequest(limit={"unit": 99}))
    assert unknown == {"request": {"limit": {"unit": 99}}}
    assert facts_of(admin_pb2.DeleteLimitRequest(limit_id="m")) == {"request": {"limit_id": "m"}}
    never = admin_pb2.EraseDecisionsRequest(before_time={"seconds": 10**18})
    assert facts_of(never) == {"request": "has a value that cannot be shown"}
    erased = admin_pb2.EraseDecisionsRequest(labels={"user": "u1"})
    erased.before_time.FromDatetime(datetime(2026, 11, 1, tzinfo=UTC))
    assert facts_of(erased)["request"] == {
        "labels": {"user": "u1"}, "before_time": "2026-11-01T00:00:00Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "rights"),
    [
        ("tenant", {"tenant": ""}),
        ("tenant", {"tenant": None}),
        ("tenant", {"tenant": "a:b"}),
        ("tenant", {"tenant": "a" * 64}),
        ("tenant", {"tenant": ["acme"]}),
        ("roles", {"roles": None}),
        ("roles", {"roles": [1]}),
        ("labels", {"labels": ["team"]}),
        ("labels", {"labels": {"tenant": "other"}}),
        ("labels", {"labels": {"Team": "x"}}),
        ("labels.team", {"labels": {"team": ""}}),
        ("labels.team", {"labels": {"team": "x" * 129}}),
        ("scopes", {"scopes": {"model": ["gpt-5"]}}),
        ("scopes.team", {"scopes": {"team": []}}),
        ("scopes.team", {"scopes": {"team": "search"}}),
        ("scopes.team", {"scopes": {"team": [1]}}),
    ],
)
def test_rights_of_another_form_are_refused(field: str, rights: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        caller_of("x", **{"tenant": "acme", "roles": ["route"], **rights})  # type: ignore[arg-type]
    assert caught.value.field == field


def test_a_caller_has_the_roles_that_are_ours() -> None:
    made = caller_of("x", tenant="*", roles="route openid superuser", labels=None, scopes=None)
    assert (made.tenant, made.roles) == (None, frozenset({Role.ROUTE}))


def test_a_tenant_sees_versions_and_reasons_but_no_path_of_the_server() -> None:
    def listed() -> admin_pb2.ListInputsResponse:
        reply = admin_pb2.ListInputsResponse()
        reply.inputs.add(name="bundle", version="b@1", source="/srv/bundle")
        refused = reply.inputs.add(name="catalog", version="1a", source="/srv/catalog.yaml")
        refused.refusal.reason, refused.refusal.text = "CATALOG_WRONG", "/srv/catalog.yaml: wrong"
        return reply

    request, reply = admin_pb2.ListInputsRequest(), listed()
    reveal(request, reply, OPERATOR)
    assert reply == listed()
    reveal(request, reply, ACME)
    assert "/srv" not in str(reply)
    assert [each.version for each in reply.inputs] == ["b@1", "1a"]
    assert [each.HasField("refusal") for each in reply.inputs] == [False, True]
    assert reply.inputs[1].refusal.reason == "CATALOG_WRONG"


def test_the_tasks_of_a_tenant_are_kept_and_shown_like_its_decisions() -> None:
    caller = Caller("key mk_1", "acme", frozenset({Role.ROUTE}))
    order = router_pb2.BeginTaskRequest(request=router_pb2.RouteRequest(request_id="run"))
    admit(order, caller, new_id)
    assert (order.request.request_id, dict(order.request.scope)) == ("acme:run", {"tenant": "acme"})
    turn = router_pb2.RouteRequest(request_id="r1", task_id="run")
    admit(turn, caller, new_id)
    assert turn.task_id == "acme:run"
    plain = router_pb2.RouteRequest(request_id="r2")
    admit(plain, caller, new_id)
    assert plain.task_id == ""
    for kind in (router_pb2.EndTaskRequest, router_pb2.GetTaskRequest):
        named = kind(task_id="run")
        admit(named, caller, new_id)
        assert (named.task_id, named.tenant) == ("acme:run", "acme")
        with pytest.raises(NotAllowed, match="tenant: is given by the credential"):
            admit(kind(task_id="run", tenant="rival"), caller, new_id)
    listed = admin_pb2.ListTasksRequest()
    admit(listed, caller, new_id)
    assert dict(listed.labels) == {"tenant": "acme"}
    status = task_pb2.TaskStatus(task_id="acme:run")
    for reply in (
        router_pb2.RouteResponse(task=status),
        router_pb2.BeginTaskResponse(task=status),
        router_pb2.EndTaskResponse(task=status),
        router_pb2.GetTaskResponse(task=status),
    ):
        reveal(turn, reply, caller)
        assert reply.task.task_id == "run"
    tasks = admin_pb2.ListTasksResponse(tasks=[status])
    reveal(listed, tasks, caller)
    assert [each.task_id for each in tasks.tasks] == ["run"]
    without = router_pb2.RouteResponse(decision_id="acme:r2")
    reveal(plain, without, caller)
    assert not without.HasField("task")
