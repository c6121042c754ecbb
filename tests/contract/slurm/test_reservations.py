"""What every `Scheduler` promises about reservations: the fake, and slurmctld through scontrol."""

from __future__ import annotations

import pytest

from clustermgtd.errors import NotFoundError
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.model.reservation import Reservation
from tests.contract.slurm.conftest import NODES, Rig, RigFactory
from tests.contract.slurm.test_scheduler_contract import allocated, is_in, job, names, play, up

ALL = tuple(sorted(NodeName(name) for name in NODES))
NAME = "clustermgtd-cr-0123-after"


async def shown(slurm: Rig, name: str = NAME) -> Reservation:
    return (await slurm.scheduler.reservations())[name]


def is_pending(slurm: Rig, *jobs: JobId):  # type: ignore[no-untyped-def]
    async def condition() -> bool:
        found = [await job(slurm, one) for one in jobs]
        return all(one.state == "PENDING" and one.reason not in ("", "None", "Priority") for one in found)

    return condition


def test_a_fresh_cluster_has_no_reservation_and_deleting_one_is_no_error(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        assert await slurm.scheduler.reservations() == {}
        await slurm.scheduler.delete_reservation(NAME)

    play(rig, story)


def test_a_reservation_is_shown_with_its_nodes_and_times_until_it_is_deleted(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        now = round(slurm.now())
        wanted = Reservation(NAME, tuple(names(1, 2, 4)), now + 1000.0, now + 365 * 86_400.0)
        await slurm.scheduler.reserve(wanted)
        assert await slurm.scheduler.reservations() == {NAME: wanted}
        assert (await shown(slurm)).is_ours
        await slurm.scheduler.delete_reservation(NAME)
        assert await slurm.scheduler.reservations() == {}

    play(rig, story)


def test_reserving_again_changes_nodes_start_and_end(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        now = round(slurm.now())
        await slurm.scheduler.reserve(Reservation(NAME, tuple(names(1, 2)), now + 500.0, now + 900.0))
        later = Reservation(NAME, tuple(names(2, 3)), now + 600.0, now + 1000.0)
        await slurm.scheduler.reserve(later)
        assert await shown(slurm) == later
        await slurm.scheduler.reserve(Reservation(NAME, tuple(names(2, 3)), now - 5.0, now + 1000.0))
        begun = await shown(slurm)
        assert abs(begun.starts_at - slurm.now()) < 3
        await slurm.scheduler.reserve(Reservation(NAME, tuple(names(2)), now - 5.0, now + 2000.0))
        longer = await shown(slurm)
        assert (longer.nodes, longer.starts_at, longer.ends_at) == (tuple(names(2)), begun.starts_at, now + 2000.0)

    play(rig, story)


def test_one_that_has_begun_can_be_put_off(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        now = round(slurm.now())
        await slurm.scheduler.reserve(Reservation(NAME, tuple(names(1)), now - 10.0, now + 900.0))
        later = Reservation(NAME, tuple(names(1)), now + 300.0, now + 900.0)
        await slurm.scheduler.reserve(later)
        assert await shown(slurm) == later

    play(rig, story)


def test_reservations_may_overlap(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        now = round(slurm.now())
        both = [Reservation(f"clustermgtd-{n}", ALL, now + n * 10.0, now + 900.0) for n in (1, 2)]
        for one in both:
            await slurm.scheduler.reserve(one)
        assert await slurm.scheduler.reservations() == {one.name: one for one in both}

    play(rig, story)


def test_a_node_that_slurm_does_not_know_makes_it_fail(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        now = slurm.now()
        with pytest.raises(NotFoundError):
            await slurm.scheduler.reserve(Reservation(NAME, (NodeName("q9-dy-none-1"),), now, now + 900.0))
        assert await slurm.scheduler.reservations() == {}

    play(rig, story)


def test_no_job_starts_on_reserved_nodes_until_they_are_free_again(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        now = slurm.now()
        await slurm.scheduler.reserve(Reservation(NAME, ALL, now, now + 900.0))
        waiting = await slurm.submit(1, minutes=1)
        await slurm.until(is_pending(slurm, waiting), "the job waits")
        assert await slurm.calls("resume") == []
        await slurm.scheduler.delete_reservation(NAME)
        await slurm.until(is_in(slurm, waiting, "CONFIGURING"), "the job gets a node")

    play(rig, story)


def test_a_job_waits_for_the_end_of_a_reservation(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        ends_at = slurm.now() + 6.0
        await slurm.scheduler.reserve(Reservation(NAME, ALL, slurm.now(), ends_at))
        waiting = await slurm.submit(1, minutes=1)
        await slurm.until(is_in(slurm, waiting, "CONFIGURING"), "the job gets a node")
        assert slurm.now() >= ends_at - 1.0

    play(rig, story)


def test_only_jobs_that_end_before_a_reservation_start(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        now = slurm.now()
        await slurm.scheduler.reserve(Reservation(NAME, ALL, now + 300.0, now + 900.0))
        long, unlimited, short = [await slurm.submit(1, minutes=limit) for limit in (60, None, 1)]
        await slurm.until(is_in(slurm, short, "CONFIGURING"), "the short job gets a node")
        await slurm.until(is_pending(slurm, long, unlimited), "the others wait")

    play(rig, story)


def test_what_runs_goes_on(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await up(slurm, *names(1))
        running = await slurm.submit(1)
        await slurm.until(is_in(slurm, running, "RUNNING"), "the job runs")
        _, configuring = await allocated(slurm, 2)
        await slurm.scheduler.reserve(Reservation(NAME, ALL, slurm.now(), slurm.now() + 900.0))
        await slurm.until(is_in(slurm, running, "RUNNING"), "the job still runs")
        assert all(value.is_powering_up for value in (await slurm.scheduler.some_nodes(configuring)).values())

    play(rig, story)


def test_idle_nodes_of_a_reservation_power_down_and_up_as_others_do(rig: RigFactory) -> None:
    async def story(slurm: Rig) -> None:
        await up(slurm, *names(1))
        await slurm.scheduler.reserve(Reservation(NAME, ALL, slurm.now(), slurm.now() + 900.0))
        await slurm.scheduler.power_down(names(1))

        async def is_down() -> bool:
            return (await slurm.scheduler.some_nodes(names(1)))[names(1)[0]].is_powered_down

        await slurm.until(is_down, "the node is powered down")
        await up(slurm, *names(1))

    play(rig, story)
