"""Roles, scopes and the table of routes."""

import re

import pytest

from services.coordinator.http import rights
from services.coordinator.http.rights import ROUTES, Unlisted
from shared.contracts.access import Action, Role
from shared.domain.roles import ACTIONS, LEAST, ROLES, Principal, may, may_cancel_any

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
    assert {action for action in ACTIONS if may(who(role), action)} == WHAT_A_ROLE_MAY[role]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("scope", ACTIONS)
def test_a_scope_narrows_and_never_widens(role: Role, scope: Action):
    allowed = {action for action in ACTIONS if may(who(role, scope), action)}
    assert allowed == WHAT_A_ROLE_MAY[role] & {scope}


def test_only_who_decides_may_cancel_what_others_asked_for():
    assert [role for role in ROLES if may_cancel_any(who(role))] == ["approver", "operator"]


def test_every_action_has_its_least_role():
    assert set(LEAST) == set(ACTIONS)


def test_a_route_that_is_not_in_the_table_is_an_error_by_name():
    with pytest.raises(Unlisted, match=r"DELETE /v1/runs/\{run_id\}"):
        rights.check([*ROUTES, ("DELETE", "/v1/runs/{run_id}")])
    rights.check([*ROUTES, ("HEAD", "/openapi.json")])


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
    assert rights.need(method, path) == need


def test_where_two_rows_fit_the_stricter_holds(monkeypatch: pytest.MonkeyPatch):
    rows = [
        ("GET", re.compile("^/a"), "anyone"),
        ("GET", re.compile("^/a/b"), "decide"),
        ("GET", re.compile("^/"), "read"),
    ]
    monkeypatch.setattr(rights, "_PATTERNS", rows)
    assert rights.need("GET", "/a/b") == "decide"
    assert rights.need("GET", "/a") == "read"
