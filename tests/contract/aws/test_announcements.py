"""From the lab's EC2 to notices: by EventBridge and SQS, and by DescribeInstanceStatus."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import pytest

from clustermgtd.adapters.aws.instance_status import IDS_MAX, AwsInstanceStatus
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.adapters.aws.sqs_notice_queue import SqsNoticeQueue
from clustermgtd.adapters.system.loop_clock import LoopClock
from clustermgtd.errors import ConfigurationError, TransientError
from clustermgtd.lab.aws.event_queue import make_event_queue, queue_url
from clustermgtd.lab.ec2.records import ScheduledEvent
from clustermgtd.lab.ec2.scenario import Scenario
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import InstanceState
from clustermgtd.model.notice import Notice, NoticeAction, NoticeKind, Notices, NoticeSource
from clustermgtd.ports.notice_queue import Message, Verdict
from tests.contract.aws.wire import Fault, Wire
from tests.contract.conftest import QUICK, ServedAws
from tests.fakes.clock import FakeClock

T = TypeVar("T")
REGION, ACCOUNT = QUICK.region, QUICK.account
DAY_S = 86_400.0


def with_session(url: str, story: Callable[[AwsSession], Awaitable[T]]) -> T:
    async def main() -> T:
        async with AwsSession(REGION, endpoint_url=url) as session:
            return await story(session)

    return asyncio.run(main())


def launch(aws: ServedAws, *, market: str = "spot", count: int = 1) -> list[str]:
    client = aws.client("ec2")
    options: dict[str, Any] = {"InstanceMarketOptions": {"MarketType": "spot"}} if market == "spot" else {}
    reply = client.run_instances(ImageId="ami-1", InstanceType="c5.large", MinCount=count, MaxCount=count, **options)
    client.close()
    ids = [instance["InstanceId"] for instance in reply["Instances"]]
    deadline = time.monotonic() + 15
    while not all(aws.model(lambda m, id=id: m.instance(id)).state == "running" for id in ids):  # type: ignore[misc]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return ids


def in_a_while(*seconds: float) -> ScheduledEvent:
    before, after = (int(time.time() + s) for s in seconds)
    return ScheduledEvent("instance-event-1", "instance-reboot", "The instance is rebooted", before, after)


def test_every_announcement_of_ec2_is_understood(serve: Callable[[Scenario], Any]) -> None:
    with serve(QUICK) as aws:
        with_session(aws.endpoint_url, lambda session: make_event_queue(session, ACCOUNT))
        spot, hibernating, reserved, scheduled = launch(aws, count=4)
        event = in_a_while(DAY_S, DAY_S + 3600)
        ends = float(int(time.time()) + 2400)
        began = int(time.time())
        aws.model(lambda m: m.recommend_rebalance(spot, time.time()))
        aws.model(lambda m: m.spot_reclaim(spot, time.time(), 0.5))
        aws.model(lambda m: m.spot_reclaim(hibernating, time.time(), action="hibernate"))
        aws.model(lambda m: m.interrupt_reserved(reserved, time.time(), 60.0))
        aws.model(lambda m: m.schedule_event(scheduled, event, time.time()))
        aws.model(lambda m: m.announce_block_end("cr-0123456789abcdef0", ends, time.time()))

        async def story(session: AwsSession) -> list[Message]:
            queue = SqsNoticeQueue(session, queue_url(aws.endpoint_url, ACCOUNT), 60)
            found: list[Message] = []
            while batch := await queue.receive(3.0):
                found += batch
                await queue.delete([message.receipt for message in batch])
            return found

        messages = with_session(aws.endpoint_url, story)
    assert {message.verdict for message in messages} == {Verdict.NOTICES}
    notices = [notice for message in messages for notice in message.notices]
    assert {notice.source for notice in notices} == {NoticeSource.QUEUE}
    assert min(notice.announced_at for notice in notices) >= began - 30

    def told(kind: NoticeKind, id: str = "") -> Notice:
        (found,) = [n for n in notices if n.kind is kind and (not id or n.instances == (id,))]
        return found

    interruption = told(NoticeKind.SPOT_INTERRUPTION, spot)
    assert (interruption.action, interruption.effective_at) == (
        NoticeAction.TERMINATE,
        interruption.announced_at + 120,
    )
    gone = told(NoticeKind.SPOT_INTERRUPTION, hibernating)
    assert (gone.action, gone.effective_at) == (NoticeAction.HIBERNATE, gone.announced_at)
    told(NoticeKind.REBALANCE, spot)
    assert began + 58 <= (told(NoticeKind.RESERVATION_INTERRUPTION, reserved).effective_at or 0) <= began + 70
    assert told(NoticeKind.RESERVATION_ENDING).effective_at == ends - 1800
    maintenance = told(NoticeKind.SCHEDULED_EVENT, scheduled)
    assert (maintenance.action, maintenance.effective_at) == (NoticeAction.REBOOT, event.not_before)
    states = [n.state for n in notices if n.kind is NoticeKind.STATE_CHANGE and n.instances == (spot,)]
    assert set(states) == set(InstanceState) - {InstanceState.STOPPING, InstanceState.STOPPED}


def statuses(aws_url: str, ids: Iterable[str]) -> Notices:
    wanted = [InstanceId(id) for id in ids]
    return with_session(aws_url, lambda session: AwsInstanceStatus(session, LoopClock()).statuses(wanted))


def test_what_ec2_schedules_and_finds_is_read_of_our_instances_alone(aws_endpoints: ServedAws) -> None:
    healthy, impaired, scheduled, foreign = launch(aws_endpoints, market="on-demand", count=4)
    event = in_a_while(3600.0, 7200.0)
    done = ScheduledEvent("instance-event-2", "instance-stop", "[Completed] The instance was stopped", 1.0, 2.0)
    aws_endpoints.model(lambda m: m.statuses.set(impaired, system="impaired", instance="impaired", since=1000.0))
    for id in (scheduled, foreign):
        aws_endpoints.model(lambda m, id=id: m.schedule_event(id, event, time.time()))
    aws_endpoints.model(lambda m: m.schedule_event(scheduled, done, time.time()))
    found = statuses(aws_endpoints.endpoint_url, [healthy, impaired, scheduled])
    assert found[InstanceId(healthy)] == ()
    assert [(n.kind, n.matter, n.announced_at) for n in found[InstanceId(impaired)]] == [
        (NoticeKind.IMPAIRED, "instance", 1000.0),
        (NoticeKind.IMPAIRED, "system", 1000.0),
    ]
    (notice,) = found[InstanceId(scheduled)]
    assert (notice.kind, notice.action, notice.effective_at, notice.matter) == (
        NoticeKind.SCHEDULED_EVENT,
        NoticeAction.REBOOT,
        event.not_before,
        "instance-event-1",
    )
    assert notice.source is NoticeSource.STATUS
    assert InstanceId(foreign) not in found


def test_instances_that_ec2_does_not_know_spoil_nothing(aws_endpoints: ServedAws) -> None:
    (known,) = launch(aws_endpoints, market="on-demand")
    assert statuses(aws_endpoints.endpoint_url, [known, "i-00000000000000bad", "i-0000000000000bad0"]) == {known: ()}


def test_no_instance_is_asked_about_where_there_is_none(aws_endpoints: ServedAws) -> None:
    async def story(session: AwsSession) -> int:
        assert await AwsInstanceStatus(session, LoopClock()).statuses([]) == {}
        return session.calls["ec2:describe_instance_status"]

    assert with_session(aws_endpoints.endpoint_url, story) == 0


def test_a_large_cluster_is_asked_about_in_parts_with_pauses(aws_endpoints: ServedAws) -> None:
    ids = [InstanceId(id) for id in launch(aws_endpoints, market="on-demand", count=IDS_MAX * 2 + 1)]
    clock = FakeClock(is_automatic=True)

    async def story(session: AwsSession) -> int:
        assert set(await AwsInstanceStatus(session, clock).statuses(ids)) == set(ids)
        return session.calls["ec2:describe_instance_status"]

    assert with_session(aws_endpoints.endpoint_url, story) == 3
    assert len(clock.sleeps) == 2


@pytest.mark.parametrize(("fault", "error"), [(Fault.REFUSED, TransientError), (Fault.DENIED, ConfigurationError)])
def test_a_status_that_cannot_be_read_is_an_error(
    aws_endpoints: ServedAws, fault: Fault, error: type[Exception]
) -> None:
    async def main() -> None:
        async with Wire(aws_endpoints.endpoint_url) as wire:
            wire.spoil_next("DescribeInstanceStatus", fault)
            async with AwsSession(REGION, endpoint_url=wire.url) as session:
                with pytest.raises(error):
                    await AwsInstanceStatus(session, LoopClock()).statuses([InstanceId("i-00000000000000001")])

    asyncio.run(main())
