"""What a notifier is handed, as an earlier release set it up."""

from pathlib import Path

from shared.contracts.deliveries import NOTICE_SUBJECTS, NOTICES_CONSUMER
from shared.contracts.messages import Fill
from shared.contracts.subjects import RESEARCH, Slot
from shared.nats import delivery_consumers, topology
from tests.nats_server import running
from tests.runtime.real import opened


async def test_a_notifier_that_was_there_before_extensions_hears_of_them_and_goes_on_where_it_was(tmp_path: Path):
    with running(tmp_path) as server:
        async with opened(server.url) as log:
            older = delivery_consumers.notices_config(None) | {
                "filter_subjects": [each for each in NOTICE_SUBJECTS if "extension" not in each]
            }
            call = f"CONSUMER.DURABLE.CREATE.{RESEARCH}.{NOTICES_CONSUMER}"
            await topology.request_api(log.link, call, {"stream_name": RESEARCH, "config": older})
            for slot in (Slot("r1", "hold", 1), Slot("r1", "extension", 1, 1)):
                await log.fill([Fill(slot.subject, b"{}")])
            await delivery_consumers.ensure_consumers(log.link, log, [])
            await delivery_consumers.ensure_consumers(log.link, log, [])
            async with log.tasks(NOTICES_CONSUMER, at_most=10) as tasks:
                handed: list[str] = []
                async for deliveries in tasks:
                    handed += [delivery.message.subject for delivery in deliveries]
                    if len(handed) == 2:
                        break
            assert handed == ["research.run.r1.hold.1", "research.run.r1.extension.1.1"]
