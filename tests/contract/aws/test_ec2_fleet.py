"""The EC2 fleet alone: replies that only the real EC2 gives, what a launch costs, and what an instance carries."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from clustermgtd.adapters.aws.ec2_fleet import TERMINATE_BATCH_MAX, TERMINATE_CALLS_MAX, Ec2Fleet
from clustermgtd.adapters.aws.session import AwsSession
from clustermgtd.errors import (
    ConfigurationError,
    NotFoundError,
    PermanentError,
    ThrottledError,
    TransientError,
)
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId
from tests.contract.aws.builders import a_launch, a_request, an_offering
from tests.contract.aws.fleet_worlds import READ_LAG_S, OverTheWire, over_the_wire
from tests.contract.aws.scripted import Answer, Form, ScriptedEc2, failure, instance_ids, success
from tests.unit.aws.replies import a_page, an_instance

Scenario = Callable[[Ec2Fleet, ScriptedEc2, AwsSession], Awaitable[None]]

TERMINATED = success("TerminateInstances", "<instancesSet/>")


def play(answer: Callable[[Form], Answer], scenario: Scenario) -> None:
    async def run() -> None:
        async with ScriptedEc2(answer) as ec2, AwsSession("eu-west-1", endpoint_url=ec2.url) as session:
            await scenario(Ec2Fleet(session, "demo", page_size=100), ec2, session)

    asyncio.run(run())


def ids(count: int) -> list[InstanceId]:
    return [InstanceId(f"i-{number:017x}") for number in range(count)]


def refusing(bad: set[InstanceId], code: str, message: str) -> Callable[[Form], Answer]:
    """EC2 that fails every termination that names one of `bad`; `{ids}` in the message is those of the call."""

    def answer(form: Form) -> Answer:
        found = sorted(bad & set(instance_ids(form)))
        return failure(code, message.format(ids=", ".join(found))) if found else TERMINATED

    return answer


def test_many_instances_are_terminated_in_batches() -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        result = await fleet.terminate(ids(1200))
        assert (result.accepted, result.refused) == (frozenset(ids(1200)), ())
        assert [len(instance_ids(call)) for call in ec2.calls] == [500, 500, 200]

    play(lambda form: TERMINATED, scenario)


def test_nothing_to_terminate_costs_no_call() -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        assert (await fleet.terminate([])).accepted == frozenset()
        assert ec2.calls == []

    play(lambda form: TERMINATED, scenario)


def test_instances_that_ec2_does_not_know_are_gone_and_do_not_save_the_others() -> None:
    gone = set(ids(300)[::7])

    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        result = await fleet.terminate(ids(300))
        assert (result.accepted, result.refused) == (frozenset(ids(300)), ())
        assert len(ec2.calls) == 2

    play(refusing(gone, "InvalidInstanceID.NotFound", "The instance IDs '{ids}' do not exist"), scenario)


def test_a_bad_instance_that_is_not_named_is_found_by_halving() -> None:
    bad = {ids(500)[123]}

    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        result = await fleet.terminate(ids(500))
        assert result.refused == ((ids(500)[123], "InvalidInstanceID.Malformed"),)
        assert result.accepted == frozenset(ids(500)) - bad
        assert len(ec2.calls) <= 20

    play(refusing(bad, "InvalidInstanceID.Malformed", "Invalid id"), scenario)


def test_termination_protection_is_refused_with_its_code() -> None:
    bad = {ids(10)[3], ids(10)[7]}

    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        result = await fleet.terminate(ids(10))
        assert result.refused == ((ids(10)[3], "OperationNotPermitted"), (ids(10)[7], "OperationNotPermitted"))
        assert result.accepted == frozenset(ids(10)) - bad

    play(refusing(bad, "OperationNotPermitted", "The instances '{ids}' may not be terminated."), scenario)


def test_however_many_are_bad_the_number_of_calls_is_bounded() -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        result = await fleet.terminate(ids(TERMINATE_BATCH_MAX))
        assert len(ec2.calls) == TERMINATE_CALLS_MAX
        assert result.accepted == frozenset()
        assert 0 < len(result.refused) < TERMINATE_BATCH_MAX

    play(lambda form: failure("OperationNotPermitted", "one of them is protected"), scenario)


def test_a_missing_permission_is_not_searched_for_instance_by_instance() -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        result = await fleet.terminate(ids(400))
        assert {code for _, code in result.refused} == {"UnauthorizedOperation"}
        assert len(result.refused) == 400
        assert len(ec2.calls) == 1

    play(lambda form: failure("UnauthorizedOperation", status=403), scenario)


def test_a_throttle_ends_the_round_and_keeps_what_was_accepted() -> None:
    replies = iter([TERMINATED, failure("RequestLimitExceeded", status=503)])

    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        result = await fleet.terminate(ids(1500))
        assert (len(result.accepted), result.refused) == (500, ())
        assert len(ec2.calls) == 2

    play(lambda form: next(replies), scenario)


def test_a_termination_that_tells_nothing_is_transient() -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        with pytest.raises(ThrottledError) as caught:
            await fleet.terminate(ids(3))
        assert (caught.value.code, caught.value.request_id) == ("RequestLimitExceeded", "req-7")

    play(lambda form: failure("RequestLimitExceeded", status=503), scenario)


def test_all_pages_are_read_for_this_cluster_s_tag() -> None:
    def answer(form: Form) -> Answer:
        start = int(form.get("NextToken", "0"))
        more = str(start + 100) if start < 200 else ""
        return 200, a_page(*(an_instance(start + n) for n in range(100)), next_token=more).decode()

    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        assert set(await fleet.instances()) == set(ids(300))
        first = ec2.calls[0]
        assert (first["Filter.1.Name"], first["Filter.1.Value.1"]) == ("tag:clustermgtd:cluster", "demo")
        assert [call["MaxResults"] for call in ec2.calls] == ["100"] * 3

    play(answer, scenario)


@pytest.mark.parametrize(
    "broken",
    [
        failure("InternalError", status=500),
        failure("RequestLimitExceeded", status=503),
        (200, a_page(an_instance(101)).decode()[:2000]),
        (200, "<html/>"),
        (503, "<html><body>Service Unavailable</body></html>"),
    ],
    ids=["internal error", "throttle", "cut", "not ec2", "load balancer"],
)
def test_a_page_that_cannot_be_read_makes_no_observation(broken: Answer) -> None:
    replies = iter([(200, a_page(an_instance(1), next_token="more").decode()), broken])

    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        with pytest.raises(TransientError):
            await fleet.instances()

    play(lambda form: next(replies), scenario)


def test_a_replay_is_the_same_request_to_the_byte() -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        launch = a_launch(request=a_request(an_offering(), an_offering("c5a.large"), count=9))
        await fleet.launch(launch)
        await fleet.launch(launch)
        assert ec2.bodies[0] == ec2.bodies[1]
        assert ec2.calls[0]["ClientToken"] == launch.token

    play(lambda form: success("CreateFleet", "<fleetId>fleet-1</fleetId>"), scenario)


def test_a_shortage_that_refuses_the_whole_call_is_a_result() -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        request = a_request(an_offering(), an_offering("c5a.large"))
        result = await fleet.launch(a_launch(request=request))
        assert result.instances == ()
        assert [(error.offering, error.code, error.kind) for error in result.errors] == [
            (offering, "MaxSpotInstanceCountExceeded", FailureKind.QUOTA) for offering in request.offerings
        ]
        assert result.request_id == "req-7"

    play(lambda form: failure("MaxSpotInstanceCountExceeded"), scenario)


@pytest.mark.parametrize(
    ("reply", "error_class"),
    [
        (failure("RequestLimitExceeded", status=503), ThrottledError),
        (failure("InternalError", status=500), TransientError),
        (failure("Unavailable", status=503), TransientError),
        (failure("UnauthorizedOperation", status=403), ConfigurationError),
        (failure("InvalidLaunchTemplateId.NotFound"), ConfigurationError),
        (failure("IdempotentParameterMismatch"), PermanentError),
        (failure("NeverHeardOf"), PermanentError),
        ((200, "<CreateFleetResponse><fleetId>fleet-"), TransientError),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_failed_launch_says_what_to_do(reply: Answer, error_class: type[Exception]) -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        with pytest.raises(error_class) as caught:
            await fleet.launch(a_launch())
        assert type(caught.value) is error_class
        assert len(ec2.calls) == 1  # nothing below the loop retries

    play(lambda form: reply, scenario)


@pytest.mark.parametrize(
    ("reply", "request_id"),
    [
        (failure("NeverHeardOf", "a new one"), "req-7"),
        (
            success(
                "CreateFleet",
                "<fleetId>fleet-1</fleetId><errorSet><item><errorCode>NeverHeardOf</errorCode>"
                "<errorMessage>a new one</errorMessage></item></errorSet>",
            ),
            "req-8",
        ),
    ],
    ids=["of-the-call", "of-an-entry"],
)
def test_codes_that_no_table_has_are_counted_and_logged_once(reply: Answer, request_id: str) -> None:
    counted: list[str] = []

    async def run() -> None:
        async with (
            ScriptedEc2(lambda form: reply) as ec2,
            AwsSession("eu-west-1", endpoint_url=ec2.url, count_unknown_code=lambda: counted.append("one")) as session,
        ):
            for _ in range(2):
                with suppress(PermanentError):
                    await Ec2Fleet(session, "demo").launch(a_launch())

    with capture_logs() as lines:
        asyncio.run(run())
    assert len(counted) == 2
    assert [(line["code"], line["error"], line["request_id"]) for line in lines] == [
        ("NeverHeardOf", "a new one", request_id)
    ]


def test_nobody_there_is_transient() -> None:
    async def run() -> None:
        async with ScriptedEc2(lambda form: TERMINATED) as ec2:
            url = ec2.url
        async with AwsSession("eu-west-1", endpoint_url=url) as session:
            with pytest.raises(TransientError, match="create_fleet"):
                await Ec2Fleet(session, "demo").launch(a_launch())

    asyncio.run(run())


def test_an_endpoint_that_never_answers_meets_the_deadline() -> None:
    async def run() -> None:
        silent: list[asyncio.StreamWriter] = []

        async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            silent.append(writer)

        async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with AwsSession("eu-west-1", endpoint_url=f"http://127.0.0.1:{port}") as session:
                with pytest.raises(TransientError, match=r"no reply within 0\.2 s"):
                    await session.call("ec2", "describe_regions", {}, 0.2)
            for writer in silent:
                writer.close()
                await writer.wait_closed()

    asyncio.run(run())


def test_console_output_is_decoded_and_asked_for_twice_where_there_is_no_live_one() -> None:
    def answer(form: Form) -> Answer:
        if "Latest" in form:
            return failure("UnsupportedOperation")
        return success("GetConsoleOutput", "<instanceId>i-1</instanceId><output>aGVsbG8K</output>")

    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        assert await fleet.console_output(InstanceId("i-1")) == "hello\n"

    play(answer, scenario)


def test_console_output_of_an_unknown_instance_is_not_found() -> None:
    async def scenario(fleet: Ec2Fleet, ec2: ScriptedEc2, session: AwsSession) -> None:
        with pytest.raises(NotFoundError):
            await fleet.console_output(InstanceId("i-1"))

    play(lambda form: failure("InvalidInstanceID.NotFound"), scenario)


def in_the_lab(scenario: Callable[[OverTheWire], Awaitable[None]]) -> None:
    async def run() -> None:
        async with over_the_wire() as world:
            await scenario(world)

    asyncio.run(run())


def test_an_instance_carries_the_tags_of_its_launch_and_of_its_template() -> None:
    async def scenario(world: OverTheWire) -> None:
        result = await world.fleet.launch(world.launch(a_request(world.offering("c5.large"), count=1)))
        tags = world.model.instance(result.instances[0].id).tags
        assert {"Name": "Compute", "team": "physics", "clustermgtd:cluster": world.cluster}.items() <= tags.items()
        assert tags["parallelcluster:node-type"] == "Compute"

    in_the_lab(scenario)


def test_another_cluster_s_instances_are_not_ours() -> None:
    async def scenario(world: OverTheWire) -> None:
        await world.fleet.launch(world.launch(a_request(world.offering("c5.large"))))
        world.clock.time += READ_LAG_S
        assert len(await world.fleet.instances()) == 2
        assert await Ec2Fleet(world.session, "another").instances() == {}

    in_the_lab(scenario)


def test_a_launch_of_any_size_is_one_call() -> None:
    async def scenario(world: OverTheWire) -> None:
        world.session.calls.clear()
        await world.fleet.launch(world.launch(a_request(world.offering("c5.large"), count=250)))
        assert world.session.calls == {"ec2:create_fleet": 1}
        world.clock.time += READ_LAG_S
        await world.fleet.instances()
        assert world.session.calls["ec2:describe_instances"] == 3

    in_the_lab(scenario)
