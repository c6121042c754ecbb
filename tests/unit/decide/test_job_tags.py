"""What the instances of a launch say about their job."""

from __future__ import annotations

from clustermgtd.decide.plan import decide
from clustermgtd.model.action import StartLaunch
from clustermgtd.model.claim import LaunchRequest
from clustermgtd.model.ids import QueueName
from clustermgtd.model.job import JobTag, JobTags
from tests.builders import POWERING_UP, a_job, a_node, a_policy, a_snapshot, dynamic

ALL = tuple(JobTag)


def requests(policy_tags: tuple[JobTag, ...], *jobs: tuple[int, int], account: str = "physics") -> list[LaunchRequest]:
    """The launches for jobs of (id, number of nodes) that wait for powered-down nodes."""
    names = iter(dynamic(sum(size for _, size in jobs) or 1))
    waiting = [
        a_job(id, [next(names) for _ in range(size)], user="alice", account=account, partition=QueueName("q1"))
        for id, size in jobs
    ]
    nodes = [a_node(name, POWERING_UP) for name in dynamic(sum(size for _, size in jobs) or 1)]
    plan = decide(a_snapshot(nodes=nodes, jobs=waiting), a_policy(job_tags=policy_tags))
    return [action.launch.request for action in plan.actions if isinstance(action, StartLaunch)]


def test_only_allowed_facts_are_shown() -> None:
    [request] = requests((JobTag.USER, JobTag.PARTITION), (7, 3))
    assert request.job_tags == JobTags(((JobTag.PARTITION, "q1"), (JobTag.USER, "alice")))


def test_nothing_is_shown_unless_it_is_allowed() -> None:
    [request] = requests((), (7, 3))
    assert request.job_tags == JobTags()


def test_a_job_of_several_nodes_is_shown_whole() -> None:
    [request] = requests(ALL, (7, 3))
    assert dict(request.job_tags.values) == {
        JobTag.JOB_ID: "7",
        JobTag.USER: "alice",
        JobTag.ACCOUNT: "physics",
        JobTag.PARTITION: "q1",
    }
    assert not request.job_tags.is_shared


def test_a_launch_for_several_jobs_shows_the_first_and_says_that_it_is_shared() -> None:
    [request] = requests(ALL, (8, 1), (7, 1))
    assert dict(request.job_tags.values)[JobTag.JOB_ID] == "7"
    assert request.job_tags.is_shared


def test_a_fact_that_slurm_does_not_keep_is_left_out() -> None:
    [request] = requests(ALL, (7, 2), account="")
    assert JobTag.ACCOUNT not in dict(request.job_tags.values)


def test_nodes_without_a_job_say_nothing() -> None:
    [request] = requests(ALL)
    assert request.job_tags == JobTags()
