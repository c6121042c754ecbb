"""Which jobs share a launch, and who gets the instances when fewer arrive than were asked for."""

from __future__ import annotations

from collections import Counter

from clustermgtd.decide.outcome import with_result
from clustermgtd.decide.plan import decide
from clustermgtd.model.action import Reason, RecordOfferings, SetNodesDown, StartLaunch, TerminateInstances
from clustermgtd.model.claim import ClaimState, Gang, Launch, LaunchedInstance, LaunchError, LaunchResult
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.ids import InstanceId, InstanceType, JobId, NodeName, SubnetId
from clustermgtd.model.job import Job
from clustermgtd.model.offering import Offering
from clustermgtd.model.policy import Policy, ScalingStrategy
from tests.builders import (
    NOW,
    POWERING_UP,
    a_claim,
    a_job,
    a_launch,
    a_node,
    a_policy,
    a_snapshot,
    an_instance,
    dynamic,
)

OFFERING = Offering(InstanceType("c5.large"), SubnetId("subnet-1"))
LAUNCHED, FAILED, ENDING = ClaimState.LAUNCHED, ClaimState.LAUNCH_FAILED, ClaimState.TERMINATING


def planned(jobs: list[Job], policy: Policy | None = None, *, extra: tuple[NodeName, ...] = ()) -> list[Launch]:
    """The launches for jobs that wait for their nodes; `extra` nodes power up for no job."""
    nodes = sorted({*(name for job in jobs for name in job.nodes), *extra})
    snapshot = a_snapshot(nodes=[a_node(n, POWERING_UP) for n in nodes], jobs=jobs)
    plan = decide(snapshot, policy or a_policy(nodes))
    return [action.launch for action in plan.actions if isinstance(action, StartLaunch)]


def jobs_of(size: int, count: int, *, priorities: dict[int, int] | None = None) -> list[Job]:
    nodes = dynamic(size * count)
    return [
        a_job(n + 1, nodes[n * size : (n + 1) * size], priority=(priorities or {}).get(n + 1, 0)) for n in range(count)
    ]


def a_reply(count: int, kind: FailureKind = FailureKind.CAPACITY, first: int = 1) -> LaunchResult:
    """So many instances and, for those that are missing, one class of error."""
    instances = tuple(LaunchedInstance(InstanceId(f"i-{n:04}"), OFFERING) for n in range(first, first + count))
    return LaunchResult(instances, (LaunchError(OFFERING, "Short", "none left", kind),))


def states_of(launch: Launch, job: int) -> Counter[ClaimState]:
    nodes = next(gang.nodes for gang in launch.gangs if gang.job == job)
    return Counter(claim.state for claim in launch.claims if claim.node in nodes)


class TestSharing:
    def test_many_small_jobs_cost_few_launches(self) -> None:
        launches = planned(jobs_of(2, 500))
        assert [launch.request.count for launch in launches] == [250, 250, 250, 250]

    def test_a_job_alone_has_ec2_s_own_guarantee(self) -> None:
        (launch,) = planned(jobs_of(3, 1))
        assert (launch.request.count, launch.request.minimum) == (3, 3)

    def test_jobs_that_share_a_launch_take_what_arrives(self) -> None:
        (launch,) = planned(jobs_of(3, 2))
        assert (launch.request.count, launch.request.minimum, launch.request.jobs) == (6, 1, (1, 2))

    def test_a_large_job_has_a_launch_of_its_own(self) -> None:
        nodes = dynamic(44)
        launches = planned([a_job(1, nodes[:2]), a_job(2, nodes[2:42]), a_job(3, nodes[42:])])
        assert [(launch.request.jobs, launch.request.minimum) for launch in launches] == [((1, 3), 1), ((2,), 40)]

    def test_a_job_is_never_cut_in_two_to_fill_a_launch(self) -> None:
        launches = planned(jobs_of(3, 3), a_policy(launch_batch_max=7))
        assert [launch.request.jobs for launch in launches] == [(1, 2), (3,)]

    def test_the_job_with_the_highest_priority_is_served_first_then_the_smallest(self) -> None:
        nodes = dynamic(7)
        jobs = [a_job(1, nodes[:3]), a_job(2, nodes[3:5]), a_job(3, nodes[5:], priority=9)]
        (launch,) = planned(jobs)
        assert [gang.job for gang in launch.gangs] == [3, 2, 1]

    def test_and_is_launched_first_where_launches_are_not_shared(self) -> None:
        launches = planned(jobs_of(2, 2, priorities={2: 9}), a_policy(launch_batch_max=2))
        assert [launch.request.jobs for launch in launches] == [(2,), (1,)]

    def test_jobs_of_one_node_leave_the_guarantee_of_others_alone(self) -> None:
        nodes = dynamic(4)
        launches = planned([a_job(1, nodes[:1]), a_job(2, nodes[1:3])], extra=(nodes[3],))
        assert [(launch.request.jobs, launch.request.minimum) for launch in launches] == [((2,), 2), ((1,), 1), ((), 1)]

    def test_a_job_above_ec2_s_guarantee_is_launched_in_parts(self) -> None:
        (job,) = jobs_of(1001, 1)
        launches = planned([job])
        assert [launch.request.count for launch in launches] == [250, 250, 250, 250, 1]
        assert all(gang.takes_part for launch in launches for gang in launch.gangs)

    def test_best_effort_jobs_take_parts(self) -> None:
        (launch,) = planned(jobs_of(2, 2), a_policy(scaling=ScalingStrategy.BEST_EFFORT))
        assert [gang.takes_part for gang in launch.gangs] == [True, True]


class TestShortReply:
    def test_whole_jobs_are_served_in_order(self) -> None:
        (launch,) = planned(jobs_of(2, 3))
        served = with_result(launch, a_reply(4), NOW)
        assert [states_of(served, job) for job in (1, 2, 3)] == [{LAUNCHED: 2}, {LAUNCHED: 2}, {FAILED: 2}]

    def test_a_job_that_cannot_be_completed_leaves_its_instances_to_the_next(self) -> None:
        nodes = dynamic(6)
        (launch,) = planned([a_job(1, nodes[:4], priority=9), a_job(2, nodes[4:])])
        served = with_result(launch, a_reply(3), NOW)
        assert states_of(served, 2) == {LAUNCHED: 2}
        assert states_of(served, 1) == {ENDING: 1, FAILED: 3}

    def test_every_instance_that_arrived_is_named_by_a_claim(self) -> None:
        (launch,) = planned(jobs_of(3, 2))
        for count in range(7):
            served = with_result(launch, a_reply(count), NOW)
            assert len(served.instances) == count
            assert {claim.state for claim in served.claims} <= {LAUNCHED, FAILED, ENDING}

    def test_a_best_effort_job_keeps_what_arrived(self) -> None:
        (launch,) = planned(jobs_of(2, 2), a_policy(scaling=ScalingStrategy.BEST_EFFORT))
        served = with_result(launch, a_reply(3), NOW)
        assert [states_of(served, job) for job in (1, 2)] == [{LAUNCHED: 2}, {LAUNCHED: 1, FAILED: 1}]

    def test_a_throttle_says_nothing_about_capacity_so_everything_is_kept(self) -> None:
        (launch,) = planned(jobs_of(2, 2))
        served = with_result(launch, a_reply(3, FailureKind.THROTTLED), NOW)
        assert [states_of(served, job) for job in (1, 2)] == [{LAUNCHED: 2}, {LAUNCHED: 1, FAILED: 1}]

    def test_an_instance_that_no_job_can_use_is_ended_and_its_node_given_back_with_the_others(self) -> None:
        (launch,) = planned(jobs_of(2, 1), a_policy(scaling=ScalingStrategy.GREEDY_ALL_OR_NOTHING))
        assert launch.request.minimum == 1
        served = with_result(launch, a_reply(1), NOW)
        snapshot = a_snapshot(
            nodes=[a_node(n, POWERING_UP) for n in dynamic(2)],
            launches=[served],
            instances=[an_instance("i-0001", "pending", token=launch.token)],
        )
        plan = decide(snapshot, a_policy())
        detail = "(Code:Short) none left"
        learned, *effects = plan.actions
        assert isinstance(learned, RecordOfferings)
        assert tuple(effects) == (
            TerminateInstances((InstanceId("i-0001"),), Reason.JOB_INCOMPLETE),
            SetNodesDown(tuple(dynamic(2)), Reason.LAUNCH_FAILED, detail),
        )


class TestLostReply:
    def test_who_gets_too_few_instances_is_decided_by_the_reply_and_not_by_what_is_shown(self) -> None:
        launch = self.unanswered()
        snapshot = a_snapshot(
            nodes=[a_node(n, POWERING_UP) for n in dynamic(4)], launches=[launch], instances=[an_instance("i-0001")]
        )
        assert [type(action) for action in decide(snapshot, a_policy()).actions] == [StartLaunch]

    def test_when_all_are_shown_there_is_nothing_to_decide(self) -> None:
        snapshot = a_snapshot(
            nodes=[a_node(n, POWERING_UP) for n in dynamic(4)],
            launches=[self.unanswered()],
            instances=[an_instance(f"i-000{n}") for n in range(4)],
        )
        (record,) = decide(snapshot, a_policy()).actions
        assert {claim.state for claim in record.launch.claims} == {LAUNCHED}  # type: ignore[union-attr]

    def test_and_when_nobody_waits_any_more_what_is_shown_is_adopted_to_be_ended(self) -> None:
        snapshot = a_snapshot(
            nodes=[a_node(n, "IDLE+CLOUD+POWERING_DOWN") for n in dynamic(4)],
            launches=[self.unanswered()],
            instances=[an_instance("i-0001")],
        )
        plan = decide(snapshot, a_policy())
        assert TerminateInstances((InstanceId("i-0001"),), Reason.POWER_DOWN) in plan.actions

    @staticmethod
    def unanswered() -> Launch:
        nodes = dynamic(4)
        gangs = (Gang(JobId(1), tuple(nodes[:2])), Gang(JobId(2), tuple(nodes[2:])))
        launch = a_launch(*(a_claim(n, ClaimState.REQUESTED) for n in nodes))
        return Launch(**{name: getattr(launch, name) for name in launch.__slots__} | {"gangs": gangs})
