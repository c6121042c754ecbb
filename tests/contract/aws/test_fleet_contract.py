"""What every `Fleet` promises: the fake, and EC2 over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from clustermgtd.errors import NotFoundError, PermanentError, ThrottledError, TransientError
from clustermgtd.model.claim import AllocationStrategy, Launch
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId
from clustermgtd.model.instance import InstanceState
from clustermgtd.model.offering import Market
from tests.contract.aws.builders import a_request
from tests.contract.aws.fleet_worlds import BOOT_DELAY_S, READ_LAG_S, World, in_memory, over_the_wire

Scenario = Callable[[World], Awaitable[None]]
Play = Callable[[Scenario], None]


@pytest.fixture(params=["fake", "ec2"])
def play(request: pytest.FixtureRequest) -> Play:
    """Runs a scenario in a new world."""

    def played(scenario: Scenario) -> None:
        async def run() -> None:
            async with in_memory() if request.param == "fake" else over_the_wire() as world:
                await scenario(world)

        asyncio.run(run())

    return played


async def launched(world: World, count: int = 3) -> list[InstanceId]:
    """Some instances that reads show."""
    launch = world.launch(a_request(world.offering("c5.large"), count=count))
    result = await world.fleet.launch(launch)
    world.clock.time += READ_LAG_S
    return [instance.id for instance in result.instances]


def test_a_launch_gives_instances_that_carry_where_they_belong(play: Play) -> None:
    async def scenario(world: World) -> None:
        offering = world.offering("c5.large")
        launch = world.launch(a_request(offering, count=3))
        result = await world.fleet.launch(launch)
        assert result.errors == ()
        assert len({instance.id for instance in result.instances}) == 3
        assert {instance.offering for instance in result.instances} == {offering}
        world.clock.time += READ_LAG_S
        seen = await world.fleet.instances()
        assert set(seen) == {instance.id for instance in result.instances}
        for launched_one in result.instances:
            instance = seen[launched_one.id]
            assert (instance.token, instance.queue, instance.compute_resource) == (launch.token, "q1", "c5")
            assert (instance.instance_type, instance.subnet, instance.is_spot) == ("c5.large", offering.subnet, False)
            assert instance.state is InstanceState.PENDING
            assert instance.zone == launched_one.zone != ""
            assert instance.private_address
            assert abs(instance.launched_at - (world.clock.time - READ_LAG_S)) < 1

    play(scenario)


def test_spot_is_seen_as_spot(play: Play) -> None:
    async def scenario(world: World) -> None:
        offering = world.offering("c5.large", market=Market.SPOT)
        request = a_request(offering, strategy=AllocationStrategy.PRICE_CAPACITY_OPTIMIZED, max_price=1.0)
        result = await world.fleet.launch(world.launch(request))
        world.clock.time += READ_LAG_S
        assert {instance.offering.market for instance in result.instances} == {Market.SPOT}
        assert [instance.is_spot for instance in (await world.fleet.instances()).values()] == [True, True]

    play(scenario)


def test_instances_run_when_they_have_booted(play: Play) -> None:
    async def scenario(world: World) -> None:
        await launched(world)
        world.clock.time += BOOT_DELAY_S
        assert {one.state for one in (await world.fleet.instances()).values()} == {InstanceState.RUNNING}

    play(scenario)


def test_reads_lag_behind_launches(play: Play) -> None:
    async def scenario(world: World) -> None:
        await world.fleet.launch(world.launch(a_request(world.offering("c5.large"))))
        assert await world.fleet.instances() == {}
        world.clock.time += READ_LAG_S
        assert len(await world.fleet.instances()) == 2

    play(scenario)


def test_a_replay_gives_the_same_instances(play: Play) -> None:
    async def scenario(world: World) -> None:
        launch = world.launch(a_request(world.offering("c5.large"), count=4))
        first = await world.fleet.launch(launch)
        again = await world.fleet.launch(replace(launch, attempts=1, version=7))
        assert again.instances == first.instances
        world.clock.time += READ_LAG_S
        assert len(await world.fleet.instances()) == 4

    play(scenario)


def test_a_launch_whose_reply_was_lost_is_found_by_its_token_and_by_its_replay(play: Play) -> None:
    async def scenario(world: World) -> None:
        launch = world.launch(a_request(world.offering("c5.large"), count=4))
        world.lose_reply_of("launch")
        with pytest.raises(TransientError):
            await world.fleet.launch(launch)
        world.clock.time += READ_LAG_S
        seen = await world.fleet.instances()
        assert [instance.token for instance in seen.values()] == [launch.token] * 4
        result = await world.fleet.launch(launch)
        assert {instance.id for instance in result.instances} == set(seen)
        assert len(await world.fleet.instances()) == 4

    play(scenario)


def test_a_token_belongs_to_one_request(play: Play) -> None:
    async def scenario(world: World) -> None:
        launch = world.launch(a_request(world.offering("c5.large")))
        await world.fleet.launch(launch)
        other: Launch = replace(launch, request=replace(launch.request, count=5))
        with pytest.raises(PermanentError):
            await world.fleet.launch(other)

    play(scenario)


def test_what_one_offering_lacks_another_gives(play: Play) -> None:
    async def scenario(world: World) -> None:
        short, plenty = world.offering("c5.large"), world.offering("c5a.large")
        world.leave(short, 1)
        request = a_request(short, plenty, count=3, strategy=AllocationStrategy.PRIORITIZED)
        result = await world.fleet.launch(world.launch(request))
        assert sorted(instance.offering for instance in result.instances) == sorted([short, plenty, plenty])
        assert {error.offering for error in result.errors} <= {short}

    play(scenario)


def test_a_shortage_gives_some_instances_and_an_error_for_each_short_offering(play: Play) -> None:
    async def scenario(world: World) -> None:
        short, empty = world.offering("c5.large"), world.offering("c5a.large", zone="b")
        world.leave(short, 2)
        world.leave(empty, 0)
        result = await world.fleet.launch(world.launch(a_request(short, empty, count=5)))
        assert [instance.offering for instance in result.instances] == [short, short]
        assert {(error.offering, error.kind) for error in result.errors} == {
            (short, FailureKind.CAPACITY),
            (empty, FailureKind.CAPACITY),
        }
        assert {error.code for error in result.errors} == {"InsufficientInstanceCapacity"}

    play(scenario)


def test_all_or_nothing_gives_nothing_in_a_shortage(play: Play) -> None:
    async def scenario(world: World) -> None:
        offering = world.offering("c5.large")
        world.leave(offering, 4)
        result = await world.fleet.launch(world.launch(a_request(offering, count=5, minimum=5)))
        assert result.instances == ()
        assert {(error.offering, error.kind) for error in result.errors} == {(offering, FailureKind.CAPACITY)}
        world.clock.time += READ_LAG_S
        assert await world.fleet.instances() == {}
        whole = await world.fleet.launch(world.launch(a_request(offering, count=4, minimum=4)))
        assert len(whole.instances) == 4

    play(scenario)


@pytest.mark.parametrize(("fault", "error_class"), [("throttle", ThrottledError), ("refuse", TransientError)])
@pytest.mark.parametrize("method", ["launch", "instances", "terminate"])
def test_a_call_that_was_not_made_has_no_effect_and_may_be_made_again(
    play: Play, method: str, fault: str, error_class: type[Exception]
) -> None:
    async def scenario(world: World) -> None:
        [victim, *_] = await launched(world, 2)
        launch = world.launch(a_request(world.offering("c5.large"), count=3))
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "launch": lambda: world.fleet.launch(launch),
            "instances": world.fleet.instances,
            "terminate": lambda: world.fleet.terminate([victim]),
        }
        getattr(world, fault)(method)
        with pytest.raises(error_class) as caught:
            await calls[method]()
        assert isinstance(caught.value, ThrottledError) is (fault == "throttle")
        world.clock.time += READ_LAG_S
        assert [one.is_live for one in (await world.fleet.instances()).values()] == [True, True]
        await calls[method]()

    play(scenario)


def test_terminated_instances_are_seen_ending(play: Play) -> None:
    async def scenario(world: World) -> None:
        one, two, three = await launched(world)
        result = await world.fleet.terminate([two, three])
        assert (result.accepted, result.refused) == (frozenset({two, three}), ())
        world.clock.time += READ_LAG_S
        assert [id for id, instance in (await world.fleet.instances()).items() if instance.is_live] == [one]

    play(scenario)


def test_terminating_twice_is_terminating(play: Play) -> None:
    async def scenario(world: World) -> None:
        [one] = await launched(world, 1)
        world.lose_reply_of("terminate")
        with pytest.raises(TransientError):
            await world.fleet.terminate([one])
        assert (await world.fleet.terminate([one])).accepted == {one}
        world.clock.time += 3600 + READ_LAG_S
        assert (await world.fleet.terminate([one, one])).accepted == {one}

    play(scenario)


def test_an_unknown_instance_is_gone_already_and_does_not_save_the_others(play: Play) -> None:
    async def scenario(world: World) -> None:
        one, two = await launched(world, 2)
        unknown = InstanceId("i-0fedcba9876543210")
        result = await world.fleet.terminate([one, unknown, two])
        assert (result.accepted, result.refused) == (frozenset({one, two, unknown}), ())

    play(scenario)


def test_a_protected_instance_is_refused_and_does_not_save_the_others(play: Play) -> None:
    async def scenario(world: World) -> None:
        one, two, three = await launched(world)
        world.protect(two)
        result = await world.fleet.terminate([one, two, three])
        assert (result.accepted, result.refused) == (frozenset({one, three}), ((two, "OperationNotPermitted"),))
        world.clock.time += READ_LAG_S
        assert [id for id, instance in (await world.fleet.instances()).items() if instance.is_live] == [two]

    play(scenario)


def test_an_instance_that_dies_by_itself_is_seen_with_a_reason(play: Play) -> None:
    async def scenario(world: World) -> None:
        one, two = await launched(world, 2)
        world.kill(one)
        world.clock.time += READ_LAG_S
        seen = await world.fleet.instances()
        assert [seen[one].is_live, seen[two].is_live] == [False, True]
        assert seen[one].state_reason

    play(scenario)


def test_more_instances_than_a_page_takes_are_all_seen(play: Play) -> None:
    async def scenario(world: World) -> None:
        many = await launched(world, 250)
        assert set(await world.fleet.instances()) == set(many)
        assert (await world.fleet.terminate(many)).accepted == set(many)

    play(scenario)


def test_the_console_is_empty_at_first(play: Play) -> None:
    async def scenario(world: World) -> None:
        [one] = await launched(world, 1)
        assert await world.fleet.console_output(one) == ""
        world.print_on_console(one, "slurmd started\n")
        assert await world.fleet.console_output(one) == "slurmd started\n"
        with pytest.raises(NotFoundError):
            await world.fleet.console_output(InstanceId("i-0fedcba9876543210"))

    play(scenario)
