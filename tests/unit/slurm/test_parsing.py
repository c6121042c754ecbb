"""What slurmctld 22.05.8 printed, and what it might."""

from __future__ import annotations

from pathlib import Path

import pytest

from clustermgtd.adapters.slurm.parsing import parse_admin_comment, parse_jobs, parse_nodes
from clustermgtd.errors import IncompleteObservationError
from clustermgtd.model.ids import JobId, NodeName
from clustermgtd.model.node import Node, NodeBase, NodeFlag

DATA = Path(__file__).parent / "data"
NOW = 1_700_000_000.0
F = NodeFlag
PROTECTED = "clustermgtd: protected, why"


def recorded() -> dict[NodeName, Node]:
    """One node in each phase of its life."""
    parsed = parse_nodes((DATA / "nodes-22.05.8.txt").read_bytes())
    assert parsed.unreadable == ()
    return dict(parsed.nodes)


def in_state(state: str) -> Node:
    base, *flags = state.split("+")
    found = [n for n in recorded().values() if n.base == base and n.flags == {NodeFlag(flag) for flag in flags}]
    assert len(found) == 1, state
    return found[0]


def a_line(name: str = "n1", state: str = "IDLE+CLOUD", more: str = "") -> str:
    return (
        f"NodeName={name} CoresPerSocket=1  NodeAddr={name} NodeHostName={name}  RealMemory=1 State={state} "
        f"ThreadsPerCore=1 Partitions=q1,q2  BootTime=None{more}\n"
    )


def one(text: str) -> Node:
    nodes = list(parse_nodes(text.encode()).nodes.values())
    assert len(nodes) == 1
    return nodes[0]


def test_each_recorded_phase_is_understood() -> None:
    assert len(recorded()) == 11
    assert in_state("IDLE+CLOUD+POWERED_DOWN").is_powered_down
    assert in_state("IDLE+CLOUD+POWER_UP+POWERED_DOWN").is_powered_down
    assert in_state("ALLOCATED+CLOUD+NOT_RESPONDING+POWERING_UP").is_powering_up
    assert in_state("IDLE+CLOUD+POWERING_DOWN").is_powering_down
    assert in_state("ALLOCATED+CLOUD").is_up
    assert in_state("ALLOCATED+CLOUD+POWER_DOWN").is_power_down_pending
    assert in_state("DOWN+CLOUD+POWERED_DOWN+NOT_RESPONDING").reason == "ResumeTimeout reached"


def test_our_own_reason_is_recognised_without_who_and_when() -> None:
    node = in_state("DOWN+CLOUD+POWER_DOWN")
    assert node.reason == "clustermgtd:launch-failed InsufficientInstanceCapacity: no [c5] in us-east-1a"
    assert node.is_marked_by_us


def test_a_registered_node_shows_its_host_and_address() -> None:
    node = in_state("ALLOCATED+CLOUD")
    assert (node.hostname, node.address, node.partitions) == ("head", "127.0.0.1", ("q1",))


def test_an_idle_node_says_since_when() -> None:
    assert one(a_line().replace(" Partitions=", " LastBusyTime=1795276011 Partitions=")).last_busy_at == 1_795_276_011
    assert in_state("IDLE+CLOUD+POWERED_DOWN").last_busy_at == 0


def test_a_reason_of_several_lines_that_looks_like_a_state_is_a_reason() -> None:
    node = in_state("ALLOCATED+CLOUD+DRAIN")
    assert node.reason == "operator says"
    assert not node.is_marked_by_us


def test_newer_releases_tell_the_instance() -> None:
    more = (
        " Reason=Not responding [slurm@2024-05-20T20:50:29] Comment=InstanceId=i-1 x InstanceId=i-0abc InstanceType=c5"
    )
    node = one(a_line(more=more))
    assert (node.instance_id, node.reason) == ("i-0abc", "Not responding")


def test_a_reason_without_author_ends_where_the_next_field_begins() -> None:
    assert one(a_line(more=" Reason=bad disk Comment=see ticket")).reason == "bad disk"


def test_states_that_nobody_listed_are_kept_apart() -> None:
    assert one(a_line(state="IDLE*+CLOUD+SOMETHING_NEW")).flags == {F.CLOUD, F.UNRECOGNISED}


def test_partitions_may_be_missing() -> None:
    assert one(a_line().replace(" Partitions=q1,q2", "")).partitions == ()
    assert one(a_line()).partitions == ("q1", "q2")


@pytest.mark.parametrize(
    "broken", [a_line("n2", "WHATEVER"), "NodeName=n2 Arch=x86\n", a_line("n2").replace("State", "St")]
)
def test_a_node_that_cannot_be_read_is_unknown_and_the_others_are_not(broken: str) -> None:
    parsed = parse_nodes((a_line("n1") + broken + a_line("n3")).encode())
    assert parsed.unreadable == ("n2",)
    assert parsed.nodes[NodeName("n2")] == Node(NodeName("n2"), NodeBase.UNKNOWN)
    assert {name for name, node in parsed.nodes.items() if node.base is NodeBase.IDLE} == {"n1", "n3"}


def test_a_comment_with_line_breaks_belongs_to_its_node() -> None:
    parsed = parse_nodes((a_line("n1", more=" Comment=first\nsecond State=DOWN") + a_line("n2")).encode())
    assert [node.base for node in parsed.nodes.values()] == [NodeBase.IDLE, NodeBase.IDLE]


@pytest.mark.parametrize("text", ["", "\n", "No nodes in the system\n", a_line() + a_line("n2")[:-30], a_line()[:-1]])
def test_an_answer_that_is_not_whole_is_no_observation(text: str) -> None:
    with pytest.raises(IncompleteObservationError):
        parse_nodes(text.encode())


def test_names_that_slurm_does_not_know_are_told_apart() -> None:
    parsed = parse_nodes((a_line("n1") + "Node nope-1 not found\n").encode())
    assert (list(parsed.nodes), parsed.missing) == (["n1"], ("nope-1",))


def test_bytes_that_are_no_text_do_no_harm() -> None:
    node = one(
        a_line(more=" Reason=").removesuffix("\n")
        + "\udcff caf\u00e9 [root@now]\n".encode("utf-8", "surrogateescape").decode("latin-1")
    )
    assert node.base is NodeBase.IDLE


def test_recorded_jobs_are_understood_and_an_array_is_one_record_until_it_starts() -> None:
    jobs = parse_jobs((DATA / "squeue-22.05.8.txt").read_bytes(), NOW)
    assert sorted(jobs) == [1, 2, 3, 4]
    running = jobs[JobId(1)]
    assert running.is_configuring
    assert (running.nodes, running.user, running.partition) == (("q1-dy-c5-3", "q1-dy-c5-4"), "root", "q1")
    assert running.priority == 4294901759
    assert running.account == "", "Slurm without accounting keeps none"
    assert jobs[JobId(3)].reason == "BeginTime"
    assert not jobs[JobId(3)].is_held_after_requeue, "a user's --begin is not a requeue"


@pytest.mark.parametrize(
    ("line", "is_held"),
    [
        ("7|PENDING|1|q1|root|physics|1|1700000121||BeginTime", True),
        ("7|PENDING|1|q1|root|physics|1|1700000121||None", True),
        ("7|PENDING|1|q1|root|physics|1|1700000121||PartitionInactive", True),
        ("7|PENDING|0|q1|root|physics|1|1700000121||PartitionInactive", False),
        ("7|PENDING|1|q1|root|physics|1|N/A||None", False),
        ("7|PENDING|1|q1|root|physics|1|1699999999||None", False),
        ("7|PENDING|0|q1|root|physics|1|1700000121||None", False),
        ("7|PENDING|1|q1|root|physics|1|1700000121||Resources", False),
        ("7|COMPLETING|1|q1|root|physics|1|1700000121|n1|None", False),
    ],
)
def test_a_requeued_job_is_held_before_slurm_has_filled_the_reason_in(line: str, is_held: bool) -> None:
    assert parse_jobs(f"{line}\n".encode(), NOW)[JobId(7)].is_held_after_requeue is is_held


@pytest.mark.parametrize(
    ("state", "start_time", "started_at", "begins_at"),
    [
        ("CONFIGURING", "1700000000", 1_700_000_000.0, 0.0),
        ("RUNNING", "1700000000", 1_700_000_000.0, 0.0),
        ("PENDING", "1700000121", 0.0, 1_700_000_121.0),
        ("PENDING", "N/A", 0.0, 0.0),
        ("CONFIGURING", "N/A", 0.0, 0.0),
    ],
)
def test_a_start_time_is_when_a_job_got_its_nodes_or_may_begin(
    state: str, start_time: str, started_at: float, begins_at: float
) -> None:
    [job] = parse_jobs(f"7|{state}|0|q1|root|physics|1|{start_time}|n1|None\n".encode(), NOW).values()
    assert (job.started_at, job.begins_at) == (started_at, begins_at)


def test_a_job_s_account_is_read() -> None:
    [job] = parse_jobs(b"7|PENDING|0|q1|root|physics|1|N/A||None\n", NOW).values()
    assert job.account == "physics"


def test_a_reason_may_hold_the_separator() -> None:
    jobs = parse_jobs(b"7|PENDING|0|q1|root|physics|1|N/A||admin says a|b\n", NOW)
    assert jobs[JobId(7)].reason == "admin says a|b"


def test_no_job_is_a_whole_answer() -> None:
    assert parse_jobs(b"", NOW) == {}


@pytest.mark.parametrize(
    "text",
    [
        "7|PENDING|0|q1|root|physics|1|N/A||None",
        "7|PENDING|0|q1\n",
        "x|PENDING|0|q1|root|physics|1|N/A||None\n",
        "7|PENDING|no|q1|root|physics|1|N/A||None\n",
        "7|RUNNING|0|q1|root|physics|1|N/A|n[1-|None\n",
        "slurm_load_jobs error\n",
    ],
)
def test_a_job_list_that_is_not_whole_is_no_observation(text: str) -> None:
    with pytest.raises(IncompleteObservationError):
        parse_jobs(text.encode(), NOW)


@pytest.mark.parametrize(
    ("record", "comment"),
    [
        (
            "JobId=1 JobName=a WorkDir=/tmp AdminComment=clustermgtd: protected, why  StdErr=/dev/null Power= \n",
            PROTECTED,
        ),
        ("JobId=1 WorkDir=/tmp AdminComment=clustermgtd: protected, why  Comment=mine  StdErr=/x\n", PROTECTED),
        ("JobId=1 WorkDir=/tmp AdminComment=clustermgtd: protected, why StdErr= StdIn=/dev/null\n", PROTECTED),
        ("JobId=1 WorkDir=/tmp AdminComment= StdErr=/dev/null\n", ""),
        ("JobId=1 WorkDir=/tmp Comment=mine StdErr=/dev/null\nJobId=2 WorkDir=/ AdminComment=x StdErr=/\n", ""),
        ("JobId=1 JobName= AdminComment=mine WorkDir=/tmp StdErr=/dev/null\n", ""),
    ],
)
def test_an_admin_comment_ends_where_the_next_field_begins(record: str, comment: str) -> None:
    assert parse_admin_comment(record.encode()) == comment
