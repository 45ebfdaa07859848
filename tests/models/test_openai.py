"""Whatever an endpoint does, an ask ends in a checked answer or in an error that says whose fault it is."""

import asyncio
import contextlib
import json
import socket
from dataclasses import replace
from typing import Annotated

import httpx2
import pytest
from llmock.scenarios import Reply as Scripted
from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.evidence import Call, Usage
from shared.errors import StepError, Terminal, Throttled, Transient
from shared.models.openai import OpenAIModel
from shared.models.prices import Tariff
from shared.models.protocol import Ask
from shared.runtime import transcript
from shared.runtime.memory import MemoryLog


class Colours(BaseModel):
    model_config = ConfigDict(extra="ignore")

    names: list[Annotated[str, Field(max_length=20)]] = Field(max_length=3)


ASK = Ask("You name colours.", "Name one.", Colours, lambda: Colours(names=["by rule"]), 77)
GOOD = '{"names": ["blue"]}'
BLUE = Colours(names=["blue"])
BY_RULE = Colours(names=["by rule"])


def ask(base_url, *, timeout_s=5.0, api_key="sk-test", http_client=None, asked=ASK, tariff=None):
    async def one():
        model = OpenAIModel(
            "m-1", api_key=api_key, base_url=base_url, timeout_s=timeout_s, http_client=http_client, tariff=tariff
        )
        try:
            return await model.answer(asked)
        finally:
            await model.aclose()

    return asyncio.run(one())


def error(base_url, **settings) -> StepError:
    with pytest.raises(StepError) as caught:
        ask(base_url, **settings)
    return caught.value


def endpoint(*answers, seen=None):
    """An endpoint inside the process, for what llmock cannot say. The last answer repeats."""
    queue = list(answers)

    def respond(request: httpx2.Request) -> httpx2.Response:
        if seen is not None:
            seen.append((request, json.loads(request.content)))
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        if isinstance(answer, Exception):
            raise answer
        return fresh(answer) if isinstance(answer, httpx2.Response) else httpx2.Response(200, json=answer)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(respond))


def fresh(answer: httpx2.Response) -> httpx2.Response:
    """The same answer, not yet read by a client; one that is a stream can be given once."""
    is_stream = not answer.is_closed
    return answer if is_stream else httpx2.Response(answer.status_code, headers=answer.headers, content=answer.content)


def completion(content=GOOD, *, finish="stop", refusal=None, usage=None):
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {"choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": usage}


URL = "http://endpoint.test/v1"


class TestAnUsableReply:
    def test_is_the_models_own(self, llmock):
        answer = ask(llmock.reply(GOOD).base_url())
        assert (answer.value, answer.model, answer.degraded) == (BLUE, "m-1", None)
        assert answer.usage.calls == 1
        assert answer.usage.input_tokens > 0
        assert answer.usage.cost_usd is None

    @pytest.mark.parametrize(
        "text",
        [
            f"<think>Blue? {{}} Yes.</think>\n{GOOD}",
            f"Blue? Yes.</think>{GOOD}",
            f"```json\n{GOOD}\n```",
            f"Here it is: {GOOD} I hope it helps.",
            '{"names": ["blue"], "surplus": 1}',
        ],
    )
    def test_is_found_in_what_models_put_around_it(self, llmock, text):
        answer = ask(llmock.reply(text).base_url())
        assert (answer.value, answer.degraded, answer.usage.calls) == (BLUE, None, 1)

    @pytest.mark.parametrize(
        "text",
        [
            '{"names": ["blue"',
            '{names: ["blue"]}',
            "{'names': ['blue',]}",
            '```\n{"names": ["blue"],}\n```',
            '{"names": ["blue"]',
        ],
    )
    def test_is_repaired_before_anything_else_is_tried_and_that_is_on_record(self, llmock, text):
        answer = ask(llmock.reply(text).base_url())
        assert (answer.value, answer.degraded) == (BLUE, None)
        assert [call.reading for call in answer.calls] == ["repaired"]
        assert len(llmock.requests) == 1

    def test_may_itself_speak_of_thinking(self, llmock):
        answer = ask(llmock.reply('{"names": ["</think>red<think>"]}').base_url())
        assert answer.value.names == ["</think>red<think>"]

    def test_needs_no_usage_from_the_endpoint(self):
        [call] = ask(URL, http_client=endpoint(completion())).calls
        assert call.estimated
        assert 0 < call.output_tokens <= len(GOOD)
        assert call.input_tokens > call.output_tokens


class TestTheRequest:
    def test_binds_the_model_to_the_schema_with_all_its_limits(self, llmock):
        ask(llmock.reply(GOOD).base_url())
        asked = llmock.last_request.body["response_format"]["json_schema"]
        assert asked["strict"] is True
        assert asked["schema"]["required"] == ["names"]
        assert asked["schema"]["additionalProperties"] is False
        assert asked["schema"]["properties"]["names"]["maxItems"] == 3
        assert asked["schema"]["properties"]["names"]["items"]["maxLength"] == 20

    @pytest.mark.parametrize(
        ("base_url", "limit"),
        [(None, "max_completion_tokens"), ("https://api.openai.com/v1/", "max_completion_tokens"), (URL, "max_tokens")],
    )
    def test_always_bounds_what_the_model_may_write(self, base_url, limit):
        seen = []
        ask(base_url, http_client=endpoint(completion(), seen=seen))
        body = seen[0][1]
        assert {name: body[name] for name in body if name.startswith("max_")} == {limit: 77}

    def test_is_made_without_a_key_where_none_is_set_even_if_the_environment_has_one(self, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody")
        seen = []
        ask(URL, api_key=None, http_client=endpoint(completion(), seen=seen))
        assert "sk-of-somebody" not in str(seen[0][0].headers.raw)

    def test_goes_to_openai_without_a_base_url_whatever_the_environment_says(self, monkeypatch):
        monkeypatch.setenv("OPENAI_BASE_URL", "http://elsewhere.test/v1")
        seen = []
        ask(None, http_client=endpoint(completion(), seen=seen))
        assert seen[0][0].url.host == "api.openai.com"

    def test_is_put_differently_to_an_endpoint_that_knows_no_schemas_and_stays_so(self):
        seen = []
        bad = httpx2.Response(400, json={"error": {"message": "no", "code": None}})
        client = endpoint(bad, bad, completion(), completion(), seen=seen)

        async def twice():
            model = OpenAIModel("m-1", base_url=URL, http_client=client)
            answers = [await model.answer(ASK), await model.answer(ASK)]
            await model.aclose()
            return answers

        answers = asyncio.run(twice())
        assert [answer.value for answer in answers] == [BLUE, BLUE]
        assert ["response_format" in body for _, body in seen] == [True, True, False, False]
        assert '"maxLength":20' in seen[-1][1]["messages"][-1]["content"]


UNUSABLE = [
    ("empty", Scripted(text="")),
    ("thinking", Scripted(text="<think>and so on and so on")),
    ("truncated", Scripted(text='{"names": ["blu', finish_reason="length")),
    ("malformed", Scripted(text='{"colours": ["blue"]}')),
    ("malformed", Scripted(text='{"names": ["a", "b", "c", "d"]}')),
    ("malformed", Scripted(text="Blue, I would say.")),
]


class TestAnUnusableReply:
    @pytest.mark.parametrize(("fault", "reply"), UNUSABLE)
    def test_is_corrected_once_with_the_fault_quoted(self, llmock, fault, reply):
        answer = ask(llmock.add(reply).reply(GOOD).base_url())
        assert (answer.value, answer.model, answer.degraded) == (BLUE, "m-1", None)
        assert answer.usage.calls == 2
        last = llmock.last_request.body["messages"][-1]
        assert last["role"] == "user"
        assert "cannot be used" in last["content"]
        assert '"maxItems":3' in last["content"]

    @pytest.mark.parametrize(("fault", "reply"), UNUSABLE)
    def test_gives_way_to_the_rule_after_that_and_the_answer_says_so(self, llmock, fault, reply):
        answer = ask(llmock.add(reply, reply).base_url())
        assert (answer.value, answer.model) == (BY_RULE, "offline")
        assert "m-1" in answer.degraded
        assert f"{fault}, then {fault}" in answer.degraded
        assert answer.usage.calls == 2
        assert len(llmock.requests) == 2

    def test_costs_what_both_calls_cost(self):
        usage = {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13}
        answer = ask(URL, http_client=endpoint(completion("", usage=usage), completion(usage=usage)))
        assert answer.usage == Usage(calls=2, input_tokens=20, output_tokens=6, unpriced=2)

    @pytest.mark.parametrize("reply", [completion(None, refusal="I cannot."), completion("{", finish="content_filter")])
    def test_that_refuses_is_not_argued_with(self, reply):
        seen = []
        answer = ask(URL, http_client=endpoint(reply, seen=seen))
        assert (answer.value, answer.model, len(seen)) == (BY_RULE, "offline", 1)
        assert "refused" in answer.degraded

    def test_is_quoted_to_the_model_only_in_part_when_it_ran_away(self):
        seen = []
        ask(URL, http_client=endpoint(completion("blue " * 10_000, finish="length"), completion(), seen=seen))
        assert len(seen[1][0].content) < 6_000

    @pytest.mark.parametrize(("fault", "reply"), UNUSABLE)
    def test_is_on_record_by_the_name_of_what_it_was(self, llmock, fault, reply):
        answer = ask(llmock.add(reply).reply(GOOD).base_url())
        assert [call.reading for call in answer.calls] == [fault, "ok"]

    def test_cannot_be_repaired_into_what_was_not_said(self, llmock):
        answer = ask(llmock.reply('{"names": [').reply('{"nam').base_url())
        assert answer.value in (Colours(names=[]), BY_RULE)

    @pytest.mark.parametrize("text", ["{" * 5_000, '{"names": ' + "[" * 50_000, '{"a' * 60_000])
    def test_that_no_repair_can_mend_is_corrected_all_the_same(self, text):
        answer = ask(URL, http_client=endpoint(completion(text), completion()))
        assert (answer.value, answer.degraded) == (BLUE, None)

    def test_without_any_choice_counts_as_empty(self):
        answer = ask(URL, http_client=endpoint({"choices": []}))
        assert "empty, then empty" in answer.degraded


class TestAnError:
    @pytest.mark.parametrize(
        ("status", "kind", "code"),
        [
            (400, Terminal, "bad_request"),
            (401, Terminal, "unauthorized"),
            (402, Terminal, "quota_exhausted"),
            (403, Terminal, "forbidden"),
            (404, Terminal, "not_found"),
            (408, Transient, "server_error"),
            (409, Transient, "server_error"),
            (413, Terminal, "too_large"),
            (422, Terminal, "refused"),
            (429, Throttled, "throttled"),
            (500, Transient, "server_error"),
            (502, Transient, "server_error"),
            (503, Throttled, "unavailable"),
        ],
    )
    def test_is_told_by_its_status_and_never_retried_here(self, llmock, status, kind, code):
        llmock.fail(status, times=None)
        fault = error(llmock.base_url())
        assert (type(fault), fault.code) == (kind, code)
        assert f"m-1 answered {status}" in fault.message
        bodies = [json.dumps(request.body, sort_keys=True) for request in llmock.requests]
        assert len(bodies) == len(set(bodies))

    @pytest.mark.parametrize("status", [429, 403])
    def test_of_an_exhausted_quota_is_terminal_whatever_the_status(self, llmock, status):
        llmock.fail(status, code="insufficient_quota")
        assert isinstance(error(llmock.base_url()), Terminal)

    def test_of_too_long_a_prompt_is_not_tried_in_other_words(self, llmock):
        fault = error(llmock.context_overflow(times=None).base_url())
        assert (type(fault), fault.code, len(llmock.requests)) == (Terminal, "context_length_exceeded", 1)

    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "7"}, 7.0),
            ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
            ({"retry-after": "Fri, 01 Jan 2027 00:01:30 GMT", "date": "Fri, 01 Jan 2027 00:00:00 GMT"}, 90.0),
            ({"retry-after": "Fri, 01 Jan 2027 00:01:30 GMT"}, 5.0),
            ({"retry-after": "0"}, 5.0),
            ({"retry-after": "-3"}, 5.0),
            ({"retry-after": "nan"}, 5.0),
            ({"retry-after": "soon"}, 5.0),
            ({"retry-after": "Mon, 01 Jan 12345678901 00:00:00 GMT", "date": "Fri, 01 Jan 2027 00:00:00 GMT"}, 5.0),
            ({"retry-after": "Fri, 01 Jan 2027 00:00:00 GMT", "date": "Mon, 01 Jan 12345678901 00:00:00 GMT"}, 5.0),
            ({"retry-after": "inf"}, 5.0),
            ({}, 5.0),
        ],
    )
    def test_that_asks_to_wait_says_how_long(self, headers, seconds):
        fault = error(URL, http_client=endpoint(httpx2.Response(429, headers=headers, json={})))
        assert isinstance(fault, Throttled)
        assert fault.retry_after == pytest.approx(seconds)

    @pytest.mark.parametrize("charset", ["idna", "punycode", "base64", "undefined"])
    def test_in_a_charset_that_is_none_is_read_as_json(self, charset):
        headers = {"content-type": f"application/json; charset={charset}"}
        refusal = {"error": {"message": "Slow down, \u00fc."}}
        fault = error(URL, http_client=endpoint(httpx2.Response(429, headers=headers, json=refusal)))
        assert isinstance(fault, Throttled)
        assert "Slow down, \u00fc." in fault.message

    def test_whose_code_is_no_text_is_told_by_its_status(self):
        said = {"error": {"message": "No.", "code": ["x"], "type": {"y": 1}}}
        fault = error(URL, http_client=endpoint(httpx2.Response(401, json=said)))
        assert (type(fault), fault.code) == (Terminal, "unauthorized")

    def test_of_an_unavailable_endpoint_that_names_no_time_may_go_away_by_itself(self):
        assert isinstance(error(URL, http_client=endpoint(httpx2.Response(503, json={}))), Transient)

    def test_of_a_slow_endpoint_is_a_time_out(self, llmock):
        fault = error(llmock.delay(0.6).base_url(), timeout_s=0.15)
        assert (type(fault), fault.code) == (Transient, "timeout")

    def test_of_an_absent_endpoint_is_a_lost_connection(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        fault = error(f"http://127.0.0.1:{port}/v1")
        assert (type(fault), fault.code) == (Transient, "connection")

    @pytest.mark.parametrize(
        "response",
        [
            httpx2.Response(200, text="<html>Log in</html>", headers={"content-type": "text/html"}),
            httpx2.Response(200, text="{", headers={"content-type": "application/json"}),
            httpx2.Response(200, json={"error": {"message": "overloaded"}}),
        ],
    )
    def test_dressed_as_a_success_is_seen_through(self, response):
        fault = error(URL, http_client=endpoint(response))
        assert (type(fault), fault.code) == (Transient, "bad_response")

    def test_never_repeats_the_key(self):
        said = {"error": {"message": "Incorrect API key provided: sk-test.", "code": "invalid_api_key"}}
        fault = error(URL, http_client=endpoint(httpx2.Response(401, json=said)))
        assert "sk-test" not in fault.message
        assert "invalid_api_key" in fault.message

    @pytest.mark.parametrize(
        "response",
        [httpx2.Response(429, headers={"retry-after": "2"}, json={}), httpx2.Response(500), httpx2.Response(401)],
        ids=["throttled", "broken", "terminal"],
    )
    def test_during_the_correction_is_raised_as_it_is_and_keeps_what_the_first_call_cost(self, response):
        usage = {"prompt_tokens": 10, "completion_tokens": 3}
        fault = error(URL, http_client=endpoint(completion("no", usage=usage), response))
        [call] = fault.calls
        assert (call.input_tokens, call.output_tokens, call.reading) == (10, 3, "malformed")

    def test_before_anything_was_answered_cost_nothing(self, llmock):
        assert error(llmock.rate_limit().base_url()).calls == ()
        assert error(llmock.fail(500).base_url()).calls == ()

    @pytest.mark.parametrize(
        ("client", "reading"),
        [
            (endpoint(httpx2.Response(200, text="{", headers={"content-type": "application/json"})), "bad_response"),
            (endpoint(httpx2.ReadTimeout("slow")), "timeout"),
        ],
    )
    def test_that_may_have_been_charged_for_is_on_record_at_its_most(self, client, reading):
        [call] = error(URL, http_client=client).calls
        assert (call.reading, call.estimated, call.output_tokens) == (reading, True, ASK.max_tokens)


LONG = replace(ASK, user="all of it", shorter=lambda: replace(ASK, user="half of it"))


class TestAPromptThatIsTooLong:
    def test_is_shortened_once_and_the_answer_is_not_degraded(self, llmock):
        answer = ask(llmock.context_overflow().reply(GOOD).base_url(), asked=LONG)
        assert (answer.value, answer.degraded, answer.usage.calls) == (BLUE, None, 1)
        assert [request.body["messages"][1]["content"] for request in llmock.requests] == ["all of it", "half of it"]

    @pytest.mark.parametrize(
        "said",
        [
            httpx2.Response(400, json={"error": {"code": 400, "type": "exceed_context_size_error", "message": "no"}}),
            httpx2.Response(400, json={"error": {"code": 400, "type": "BadRequestError", "message": "no"}}),
            httpx2.Response(413),
        ],
        ids=["llama.cpp", "without a code", "413"],
    )
    def test_is_recognised_however_a_server_says_so(self, said):
        def respond(request: httpx2.Request) -> httpx2.Response:
            return fresh(said) if "all of it" in str(request.content) else httpx2.Response(200, json=completion())

        answer = ask(URL, asked=LONG, http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(respond)))
        assert (answer.value, answer.degraded) == (BLUE, None)

    def test_gives_way_to_the_rule_when_half_of_it_is_too_long_as_well(self, llmock):
        answer = ask(llmock.context_overflow(times=None).base_url(), asked=LONG)
        assert (answer.value, answer.model, len(llmock.requests)) == (BY_RULE, "offline", 2)
        assert "m-1 has a context too small" in answer.degraded


DEAR = Tariff("m-1", given=(1_000.0, 10_000.0))
"""A dollar for a thousand tokens in, ten for a thousand out; so ASK's 77 tokens of reply cost at most $0.77."""


class TestABudget:
    def test_prices_every_call_by_what_the_endpoint_counted(self):
        usage = {"prompt_tokens": 100, "completion_tokens": 10}
        answer = ask(URL, tariff=DEAR, http_client=endpoint(completion("no", usage=usage), completion(usage=usage)))
        assert [call.cost_usd for call in answer.calls] == [0.2, 0.2]
        assert answer.usage.cost_usd == pytest.approx(0.4)
        assert answer.usage.unpriced == 0

    def test_that_holds_the_call_does_not_change_it(self, llmock):
        answer = ask(llmock.reply(GOOD).base_url(), tariff=DEAR, asked=replace(ASK, budget_usd=2.0))
        assert (answer.value, answer.degraded) == (BLUE, None)

    def test_that_could_be_exceeded_keeps_the_call_from_being_made(self, llmock):
        answer = ask(llmock.reply(GOOD).base_url(), tariff=DEAR, asked=replace(ASK, budget_usd=0.7))
        assert (answer.value, answer.model, answer.usage, len(llmock.requests)) == (BY_RULE, "offline", Usage(), 0)
        assert "$0.7000 is left of the run's limit" in answer.degraded

    def test_that_could_be_exceeded_by_the_correction_keeps_that_from_being_made(self):
        seen = []
        usage = {"prompt_tokens": 500, "completion_tokens": 77}
        client = endpoint(completion("no", usage=usage), completion(), seen=seen)
        answer = ask(URL, tariff=DEAR, asked=replace(ASK, budget_usd=2.0), http_client=client)
        assert (answer.value, len(seen), len(answer.calls)) == (BY_RULE, 1, 1)
        assert "malformed" in answer.degraded
        assert "correcting it could cost" in answer.degraded

    def test_cannot_be_kept_at_an_unknown_price_so_the_call_is_not_made(self, llmock):
        answer = ask(llmock.reply(GOOD).base_url(), asked=replace(ASK, budget_usd=1_000.0))
        assert (answer.value, len(llmock.requests)) == (BY_RULE, 0)
        assert "because no price is known for m-1" in answer.degraded

    def test_of_nothing_is_enough_for_what_the_operator_says_is_free(self, llmock):
        free = Tariff("m-1", given=(0.0, 0.0))
        answer = ask(llmock.reply(GOOD).base_url(), tariff=free, asked=replace(ASK, budget_usd=0.0))
        assert (answer.value, answer.usage.cost_usd, answer.usage.unpriced) == (BLUE, 0.0, 0)


async def test_cancellation_passes_through_untouched():
    called = asyncio.Event()

    async def never(_request: httpx2.Request) -> httpx2.Response:
        called.set()
        await asyncio.Event().wait()
        raise AssertionError

    client = httpx2.AsyncClient(transport=httpx2.MockTransport(never))
    model = OpenAIModel("m-1", base_url=URL, http_client=client)
    answering = asyncio.create_task(model.answer(ASK))
    await called.wait()
    answering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await answering
    await model.aclose()


async def test_an_answer_that_trickles_in_is_given_only_so_long():
    hung_up = asyncio.Event()

    async def drip(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while not writer.is_closing():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        hung_up.set()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    model = OpenAIModel("m-1", base_url=f"http://127.0.0.1:{port}/v1", timeout_s=0.2)
    async with server:
        with pytest.raises(Transient) as caught:
            await model.answer(ASK)
        await model.aclose()
        await hung_up.wait()
    assert caught.value.code == "timeout"


def kept(*answers) -> tuple[tuple[Call, ...], dict[str, str]]:
    """The calls of an ask that an endpoint answers so, and their words by SHA-256."""

    async def story():
        transcript.begin_transcript()
        log, model = MemoryLog(), OpenAIModel("m-1", api_key="sk-test", base_url=URL, http_client=endpoint(*answers))
        try:
            calls = (await model.answer(ASK)).calls
        except StepError as error:
            calls = error.calls
        finally:
            await model.aclose()
        assert not log.texts
        await transcript.store_texts(log)
        return calls, dict(log.texts)

    return asyncio.run(story())


class TestWhatIsKept:
    def test_is_what_each_call_asked_and_what_came_back(self):
        answers = completion("blue!"), completion()
        calls, texts = kept(*answers)
        assert [json.loads(texts[call.reply_sha256]) for call in calls] == list(answers)
        first, second = (json.loads(texts[call.prompt_sha256]) for call in calls)
        assert [message["content"] for message in first] == ["You name colours.", "Name one."]
        assert second[2] == {"role": "assistant", "content": "blue!"}
        assert len(texts) == 4

    def test_is_also_an_answer_that_nobody_can_read(self):
        [call], texts = kept(httpx2.Response(200, content=b"<html>\xff"))
        assert (call.reading, texts[call.reply_sha256]) == ("bad_response", "<html>\N{REPLACEMENT CHARACTER}")

    def test_is_the_question_alone_where_nothing_came_back(self):
        [call], texts = kept(httpx2.ReadTimeout("slow"))
        assert (call.reading, call.reply_sha256, list(texts)) == ("timeout", "", [call.prompt_sha256])

    def test_is_nothing_of_a_call_that_costs_nothing(self):
        assert kept(httpx2.Response(429)) == ((), {})

    def test_is_never_the_key(self):
        [call], texts = kept(completion() | {"echo": "Bearer sk-test"})
        assert "Bearer …" in texts[call.reply_sha256]

    def test_is_nothing_where_nobody_keeps_a_transcript(self):
        answer = ask(URL, http_client=endpoint(completion()))
        assert [(call.prompt_sha256, call.reply_sha256) for call in answer.calls] == [("", "")]
