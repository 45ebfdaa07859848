"""What others were told, as the API shows it: the newest first, how each stands, and sent again on demand."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from services.coordinator.app import application
from shared.contracts.deliveries import Delivery, DeliveryAsked, DeliveryTried, WebhookData
from shared.contracts.evidence import Failure
from shared.runtime import clock
from shared.runtime.deliveries import MAX_ASKS, encode_delivery
from shared.runtime.memory import MemoryLog
from tests.access.entry import SHOWN, URL, entered
from tests.dossier import coordinating

AT = datetime(2026, 1, 1, tzinfo=UTC)
DELIVERED = DeliveryTried(result="delivered", status=200)
FAILED = DeliveryTried(result="failed", status=500, error=Failure("not_taken", "It said 500."), due=AT)


class User:
    def __init__(self, http: httpx2.AsyncClient, log: MemoryLog) -> None:
        self._http = http
        self.log = log

    async def asked(self, delivery_id: str, *tried: DeliveryTried, ask: int = 1) -> Delivery:
        delivery = Delivery(*delivery_id.split("."))
        told = WebhookData(run_id=delivery.run, q="?")
        boxes = [(delivery.asked(ask), DeliveryAsked(told=told, happened_at=AT, due=AT, fact_seq=1))]
        boxes += [(delivery.tried(ask, n), each) for n, each in enumerate(tried, 1)]  # type: ignore[misc]
        await self.log.fill([encode_delivery(subject, record, source="test", time=AT) for subject, record in boxes])
        return delivery

    async def get(self, **query: Any) -> dict[str, Any]:
        answer = await self._http.get("/v1/deliveries", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def ids(self, **query: Any) -> list[str]:
        return [each["delivery_id"] for each in (await self.get(**query))["deliveries"]]

    async def resend(self, delivery_id: str, body: object = None) -> httpx2.Response:
        return await self._http.post(f"/v1/deliveries/{delivery_id}/resend", json=body)


@asynccontextmanager
async def using(
    data: Path,
) -> AsyncGenerator[User]:
    research, deliveries = MemoryLog(), MemoryLog()
    async with coordinating(research, data) as dossier, entered() as access:
        app = application(research, dossier.coordinator, access, unready=lambda: None, deliveries=deliveries)
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url=URL, headers=SHOWN) as http:
            yield User(http, deliveries)


async def test_a_delivery_says_how_it_stands_and_what_was_tried(tmp_path: Path):
    async with using(tmp_path) as user:
        await user.asked("ops.r1.hold-1", FAILED, DELIVERED)
        [delivery] = (await user.get())["deliveries"]
        assert delivery == {
            "delivery_id": "ops.r1.hold-1",
            "webhook_id": "r1-hold-1",
            "endpoint": "ops",
            "run_id": "r1",
            "event": "hold.opened",
            "state": "delivered",
            "happened_at": "2026-01-01T00:00:00Z",
            "due": None,
            "asks": 1,
            "attempts": [
                {"result": "failed", "status": 500, "error": "It said 500.", "duration_s": 0.0},
                {"result": "delivered", "status": 200, "error": None, "duration_s": 0.0},
            ],
        }


@pytest.mark.parametrize(
    ("tried", "state", "due"),
    [
        ([], "waiting", True),
        ([FAILED], "retrying", True),
        ([DELIVERED], "delivered", False),
        ([DeliveryTried(result="gave_up")], "gave_up", False),
        ([DeliveryTried(result="moot")], "moot", False),
        ([DeliveryTried(result="disabled", status=410)], "disabled", False),
    ],
)
async def test_the_state_is_that_of_the_last_attempt(tmp_path: Path, tried: list[DeliveryTried], state: str, due: bool):
    async with using(tmp_path) as user:
        await user.asked("ops.r1.ended", *tried)
        await user.asked("ops.r2.ended", DELIVERED if state != "delivered" else FAILED)
        [delivery] = (await user.get(state=state))["deliveries"]
        assert (delivery["delivery_id"], delivery["due"] is not None) == ("ops.r1.ended", due)


async def test_the_newest_are_first_and_filters_narrow(tmp_path: Path):
    async with using(tmp_path) as user:
        for name in ("ops.r1.hold-1", "team.r1.hold-1", "ops.r1.near-1", "ops.r1.ended", "ops.r2.ended"):
            await user.asked(name, DELIVERED)
        assert await user.ids() == ["ops.r2.ended", "ops.r1.ended", "ops.r1.near-1", "team.r1.hold-1", "ops.r1.hold-1"]
        assert await user.ids(endpoint="team") == ["team.r1.hold-1"]
        assert await user.ids(run_id="r2") == ["ops.r2.ended"]
        assert await user.ids(event=["hold.opened", "deadline.near"], endpoint="ops") == [
            "ops.r1.near-1",
            "ops.r1.hold-1",
        ]
        assert await user.ids(endpoint="nobody") == []


@pytest.mark.parametrize("limit", [1, 7, 200])
async def test_pages_have_everything_once_however_much_lies_between(tmp_path: Path, limit: int):
    async with using(tmp_path) as user:
        every = []
        for number in range(40):
            name = f"ops.run{number}.ended"
            await user.asked(name, *[FAILED] * 9, DELIVERED)
            every.append(name)
            for other in range(20):
                await user.asked(f"other.run{number}x{other}.ended", FAILED, FAILED)
        found: list[str] = []
        query: dict[str, Any] = {"limit": limit, "endpoint": "ops"}
        while True:
            page = await user.get(**query)
            assert len(page["deliveries"]) <= limit
            found += [each["delivery_id"] for each in page["deliveries"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert found == every[::-1]


async def test_a_delivery_is_sent_again_under_its_id(tmp_path: Path):
    async with using(tmp_path) as user:
        before = clock.now()
        delivery = await user.asked("ops.r1.ended", DeliveryTried(result="gave_up"))
        answer = await user.resend(delivery.id, {"by": "ann"})
        assert answer.status_code == 202
        body = answer.json()
        assert (body["state"], body["asks"], body["webhook_id"]) == ("waiting", 2, "r1-ended")
        assert before <= datetime.fromisoformat(body["due"]) <= clock.now() + timedelta(seconds=1)
        assert (await user.get())["deliveries"] == [body]
        [message] = [each for each in user.log.messages if each.subject == delivery.asked(2)]
        assert b'"by":"ann"' in message.data


@pytest.mark.parametrize(
    ("delivery_id", "status", "code"),
    [
        ("ops.r9.ended", 404, "unknown_delivery"),
        ("ops.r1.ended", 409, "not_tried"),
        ("ops.r2.ended", 409, "asked_too_often"),
        ("ops.r1.started", 422, "invalid_field"),
        ("ops.*.ended", 422, "invalid_field"),
        ("ops.>.ended", 422, "invalid_field"),
    ],
)
async def test_what_cannot_be_sent_again_says_why(tmp_path: Path, delivery_id: str, status: int, code: str):
    async with using(tmp_path) as user:
        await user.asked("ops.r1.ended")
        for ask in range(1, MAX_ASKS + 1):
            await user.asked("ops.r2.ended", DELIVERED, ask=ask)
        answer = await user.resend(delivery_id)
        assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_asked_twice_at_once_it_is_sent_again_once(tmp_path: Path):
    async with using(tmp_path) as user:
        delivery = await user.asked("ops.r1.ended", DELIVERED)
        assert (await user.resend(delivery.id)).status_code == 202
        again = await user.resend(delivery.id)
        assert (again.status_code, again.json()["code"]) == (409, "not_tried")
        assert [each.subject for each in user.log.messages if ".asked." in each.subject] == [
            delivery.asked(1),
            delivery.asked(2),
        ]


@pytest.mark.parametrize(
    "query", ["endpoint=*", "run_id=a.b", "event=run.started", "state=late", "limit=0", "cursor=x"]
)
async def test_a_filter_that_is_none_is_refused(tmp_path: Path, query: str):
    async with using(tmp_path) as user:
        answer = await user._http.get(f"/v1/deliveries?{query}")
        assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
