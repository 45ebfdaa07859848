"""The end of a log from which an operator has deleted."""

from shared.contracts.messages import Fill
from shared.contracts.subjects import RESEARCH
from shared.nats import topology
from tests.runtime.real import opened


async def test_a_deleted_message_is_no_end(url: str):
    async with opened(url) as log:
        await log.fill([Fill(f"research.run.r1.plan.{round_}", b"x") for round_ in (1, 2, 3)])
        await topology.request_api(log.link, f"STREAM.MSG.DELETE.{RESEARCH}", {"seq": 3})
        assert (await log.end()).seq == 2
        await topology.request_api(log.link, f"STREAM.MSG.DELETE.{RESEARCH}", {"seq": 1})
        assert (await log.end()).seq == 2


async def test_a_purged_log_ends_where_it_begins(url: str):
    async with opened(url) as log:
        await log.fill([Fill("research.run.r1.plan.1", b"x")])
        await topology.request_api(log.link, f"STREAM.PURGE.{RESEARCH}")
        assert (await log.end()).seq == 0
