"""Roles, scopes and the table of routes."""

import pytest

from services.coordinator.http.rights import Right, Rights, UndeclaredRoute
from shared.contracts.access import Action, Role
from shared.domain.roles import ACTIONS, LEAST, ROLES, Principal, can_cancel_any, is_allowed

WHAT_A_ROLE_MAY: dict[Role, set[Action]] = {
    "viewer": {"read"},
    "requester": {"read", "ask", "cancel"},
    "approver": {"read", "ask", "cancel", "decide"},
    "operator": {"read", "ask", "cancel", "decide", "operate"},
}


def who(role: Role, *scopes: Action) -> Principal:
    return Principal("ann", role, "key:1", "1", scopes)


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_do_what_those_below_may_and_more(role: Role):
    assert {action for action in ACTIONS if is_allowed(who(role), action)} == WHAT_A_ROLE_MAY[role]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("scope", ACTIONS)
def test_a_scope_narrows_and_never_widens(role: Role, scope: Action):
    allowed = {action for action in ACTIONS if is_allowed(who(role, scope), action)}
    assert allowed == WHAT_A_ROLE_MAY[role] & {scope}


def test_only_who_decides_may_cancel_what_others_asked_for():
    assert [role for role in ROLES if can_cancel_any(who(role))] == ["approver", "operator"]


def test_every_action_has_its_least_role():
    assert set(LEAST) == set(ACTIONS)


def rights(*rows: tuple[str, str, Right]) -> Rights:
    declared = Rights()
    for row in rows:
        declared.declare(*row)
    return declared


RIGHTS = rights(
    ("GET", "/livez", "anyone"),
    ("GET", "/openapi.json", "read"),
    ("GET", "/v1/runs/{run_id}", "read"),
    ("POST", "/v1/runs/{run_id}/approvals", "decide"),
)


def test_a_route_without_a_right_is_an_error_by_name():
    with pytest.raises(UndeclaredRoute, match=r"DELETE /v1/runs/\{run_id\}"):
        RIGHTS.check([*RIGHTS.table, ("DELETE", "/v1/runs/{run_id}")])
    RIGHTS.check([*RIGHTS.table, ("HEAD", "/openapi.json")])


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/livez", "anyone"),
        ("HEAD", "/livez", "anyone"),
        ("GET", "/v1/runs/r1", "read"),
        ("POST", "/v1/runs/r1/approvals", "decide"),
        ("PUT", "/livez", "someone"),
        ("GET", "/livez/", "someone"),
        ("GET", "/nothing", "someone"),
        ("POST", "/v1/runs/a/b/approvals", "someone"),
    ],
)
def test_what_a_request_needs_follows_from_the_table_and_what_is_not_in_it_needs_somebody(
    method: str, path: str, need: str
):
    assert RIGHTS.required(method, path) == need


def test_where_two_routes_match_the_stricter_right_holds():
    declared = rights(("GET", "/{any}/b", "anyone"), ("GET", "/a/{any}", "decide"), ("GET", "/{path:path}", "read"))
    assert declared.required("GET", "/a/b") == "decide"
    assert declared.required("GET", "/b/b") == "read"
