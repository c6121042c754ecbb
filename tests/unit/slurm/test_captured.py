"""What real slurmctlds of three releases printed (`python -m tests.slurm_releases.capture`) is understood alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustermgtd.adapters.slurm.parsing import parse_jobs, parse_nodes, parse_partitions
from clustermgtd.adapters.slurm.reservations import parse_reservations
from clustermgtd.model.ids import JobId, NodeName, QueueName
from clustermgtd.model.node import Node, NodeBase, NodeFlag
from clustermgtd.model.partition import PartitionState
from resume_suspend.resume_file import read_resume_file

DATA = Path(__file__).parent / "data"
RELEASES = sorted(path.name for path in DATA.iterdir() if path.is_dir())
WITHOUT_INSTANCE_IDS = {"22.05.8"}

pytestmark = pytest.mark.parametrize("release", RELEASES)


def node(release: str, number: int) -> Node:
    parsed = parse_nodes((DATA / release / "nodes.txt").read_bytes())
    assert (len(parsed.nodes), parsed.unreadable, parsed.missing) == (10, (), ())
    return parsed.nodes[NodeName(f"q1-dy-c5-{number}")]


def test_every_phase_of_a_node(release: str) -> None:
    at_rest, down, timed_out, powering_up = (node(release, number) for number in (1, 2, 3, 4))
    assert at_rest.is_powered_down
    assert (at_rest.base, at_rest.address, at_rest.reason) == (NodeBase.IDLE, "q1-dy-c5-1", "")
    assert down.is_down
    assert down.reason == "clustermgtd: launch-failed InsufficientInstanceCapacity: no [c5] in us-east-1a"
    assert down.is_marked_by_us
    assert timed_out.is_down
    assert timed_out.is_marked_by_slurm
    assert powering_up.is_powering_up
    assert powering_up.is_running_job
    running, drained, powering_down = (node(release, number) for number in (6, 7, 8))
    assert running.is_up
    assert (running.is_running_job, running.address, running.hostname) == (True, "127.0.0.1", "head")
    assert drained.reason == "fan is loud State=IDLE"
    assert drained.is_marked_by_others
    assert powering_down.is_powering_down


def test_no_flag_is_unknown(release: str) -> None:
    parsed = parse_nodes((DATA / release / "nodes.txt").read_bytes())
    assert not any(NodeFlag.UNRECOGNISED in one.flags for one in parsed.nodes.values())


def test_the_instance_where_slurm_keeps_it(release: str) -> None:
    known = "" if release in WITHOUT_INSTANCE_IDS else "i-0123456789abcdef0"
    assert (node(release, 6).instance_id, node(release, 1).instance_id) == (known, "")


def test_jobs(release: str) -> None:
    jobs = parse_jobs((DATA / release / "jobs.txt").read_bytes(), now=0.0)
    assert [(jobs[JobId(number)].state, jobs[JobId(number)].account) for number in (1, 2, 3)] == [
        ("RUNNING", ""),
        ("CONFIGURING", ""),
        ("PENDING", "physics"),
    ]
    assert jobs[JobId(2)].nodes == ("q1-dy-c5-4", "q1-dy-c5-5")
    assert jobs[JobId(2)].is_configuring


def test_partitions(release: str) -> None:
    partitions = parse_partitions((DATA / release / "partitions.txt").read_bytes())
    assert partitions == {QueueName("q1"): PartitionState.UP, QueueName("q2"): PartitionState.UP}


def test_reservations(release: str) -> None:
    (found,) = parse_reservations((DATA / release / "reservations.txt").read_bytes()).values()
    assert (found.name, found.nodes) == ("clustermgtd-window", ("q1-dy-c5-9",))
    assert found.ends_at - found.starts_at == 3600


def test_the_resume_file(release: str) -> None:
    jobs, note = read_resume_file(str(DATA / release / "resume.json"))
    assert note == ""
    assert [(job["job_id"], job["nodes_resume"]) for job in jobs] == [(2, "q1-dy-c5-[4-5]")]
