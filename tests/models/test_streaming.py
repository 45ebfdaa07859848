"""A reply that is heard while it is written is the same reply, and costs the same."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest

from shared.errors import Transient
from tests.models.test_openai import ASK, BLUE, GOOD, URL, ask, completion, endpoint, error

USAGE = {"prompt_tokens": 11, "completion_tokens": 7}


class Parts(httpx2.AsyncByteStream):
    """A body that comes piece by piece, and perhaps breaks off."""

    def __init__(self, parts: list[bytes], failing: Exception | None = None) -> None:
        self._parts = parts
        self._failing = failing

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self._parts:
            yield part
            await asyncio.sleep(0)
        if self._failing:
            raise self._failing


def events(*chunks: dict[str, object] | str, failing: Exception | None = None) -> httpx2.Response:
    parts = [f"data: {each if isinstance(each, str) else json.dumps(each)}\n\n".encode() for each in chunks]
    return httpx2.Response(200, headers={"Content-Type": "text/event-stream"}, stream=Parts(parts, failing))


def delta(content: str = "", **more: object) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {"content": content}, **more}]}


def said(text: str = GOOD) -> list[dict[str, object] | str]:
    return [*(delta(letter) for letter in text), delta(finish_reason="stop"), {"choices": [], "usage": USAGE}, "[DONE]"]


def listening() -> tuple[list[str], object]:
    heard: list[str] = []
    return heard, replace(ASK, hear=heard.append)


def test_it_is_heard_as_it_comes_and_read_when_it_is_whole():
    heard, asked = listening()
    seen: list[object] = []
    answer = ask(URL, http_client=endpoint(events(*said()), seen=seen), asked=asked)
    assert (answer.value, answer.usage.input_tokens, answer.usage.output_tokens) == (BLUE, 11, 7)
    assert answer.usage.estimated == 0
    assert heard[: len(GOOD)] == [GOOD[: n + 1] for n in range(len(GOOD))]
    [(_, body)] = seen
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})


def test_who_listens_to_nothing_asks_for_no_stream():
    seen: list[object] = []
    ask(URL, http_client=endpoint(completion(), seen=seen))
    [(_, body)] = seen
    assert "stream" not in body


def test_an_endpoint_that_answers_at_once_is_read_all_the_same():
    heard, asked = listening()
    assert ask(URL, http_client=endpoint(completion(usage=USAGE)), asked=asked).value == BLUE
    assert heard == []


def test_an_endpoint_that_refuses_to_stream_is_asked_without_and_from_then_on():
    _, asked = listening()
    seen: list[tuple[object, dict[str, object]]] = []

    def respond(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        seen.append((request, body))
        if body.get("stream"):
            return httpx2.Response(400, json={"error": {"message": "stream: unknown field"}})
        return httpx2.Response(200, json=completion())

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(respond))
    assert ask(URL, http_client=client, asked=asked).value == BLUE
    assert [bool(body.get("stream")) for _, body in seen] == [True, True, True, False]


def test_tokens_that_nobody_counted_are_estimated():
    _, asked = listening()
    answer = ask(URL, http_client=endpoint(events(*[each for each in said() if "usage" not in each])), asked=asked)
    assert (answer.value, answer.usage.estimated) == (BLUE, 1)


@pytest.mark.parametrize(
    "broken",
    [
        events(*said()[:5]),
        events(*said()[:5], failing=httpx2.ReadError("gone")),
        events(*said()[:5], {"error": {"message": "overloaded"}}, *said()[5:]),
        events("{not json"),
    ],
    ids=["ends early", "connection goes", "says so", "is no JSON"],
)
def test_a_reply_that_breaks_off_is_tried_again_and_may_have_cost(broken: httpx2.Response):
    _, asked = listening()
    failed = error(URL, http_client=endpoint(broken), asked=asked)
    assert isinstance(failed, Transient)
    assert failed.code == "bad_response"
    [call] = failed.calls
    assert call.estimated


def test_a_refusal_in_a_stream_is_a_refusal():
    _, asked = listening()
    refusing = {"choices": [{"index": 0, "delta": {"refusal": "No."}, "finish_reason": "stop"}]}
    answer = ask(URL, http_client=endpoint(events(refusing, "[DONE]")), asked=asked)
    assert answer.degraded
    assert "refused" in answer.degraded
