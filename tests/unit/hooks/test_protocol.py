"""The hook protocol: what is written is read back, and what is not a message is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resume_suspend import wire
from resume_suspend.protocol import (
    JOB_ID_MAX,
    GateRequest,
    Message,
    ProtocolError,
    Reply,
    ResumeFailRequest,
    ResumeJob,
    ResumeRequest,
    SuspendRequest,
    VersionError,
    decode,
    encode,
)

texts = st.text(max_size=30)
hostlists = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=60)
maybe_hostlists = st.just("") | hostlists
job_ids = st.integers(1, JOB_ID_MAX)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,40}", fullmatch=True)
times = st.floats(0, 1e11)
jobs = st.builds(
    ResumeJob,
    job_id=job_ids,
    nodes_resume=maybe_hostlists,
    nodes_alloc=maybe_hostlists,
    partition=texts,
    features=texts,
    reservation=texts,
    oversubscribe=texts,
    extra=texts,
)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        ResumeRequest, nodes=hostlists, id=ids, sent_at=times, jobs=st.lists(jobs, max_size=4).map(tuple), note=texts
    ),
    st.builds(SuspendRequest, nodes=hostlists, id=ids, sent_at=times, note=texts),
    st.builds(ResumeFailRequest, nodes=hostlists, id=ids, sent_at=times, note=texts),
    st.builds(GateRequest, job_id=job_ids, nodes=hostlists),
    st.builds(Reply, ok=st.booleans(), error=texts, permanent=st.booleans(), waiting=st.booleans(), reason=texts),
)
finite_floats = st.floats(allow_nan=False, allow_infinity=False)  # JSON has no others
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | finite_floats | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def a_line(**fields: object) -> bytes:
    plain: dict[str, Any] = {"version": "1.0", "kind": "suspend", "id": "1-2-ab", "sent_at": 1.5, "nodes": "q1-dy-c5-1"}
    return json.dumps({**plain, **fields}).encode()


@given(messages)
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    line = encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode(line) == message


@given(messages, st.dictionaries(st.text(min_size=12, max_size=14), json_values, max_size=3))
def test_fields_of_a_newer_minor_version_are_passed_over(message: Message, unknown: dict[str, object]) -> None:
    newer = {**json.loads(encode(message)), **unknown, "version": "1.7"}
    assert decode(json.dumps(newer).encode()) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_protocol_error(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line)


@given(messages, st.data())
def test_a_field_of_any_other_type_never_gets_past(message: Message, data: st.DataObject) -> None:
    fields = json.loads(encode(message))
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(json_values)
    try:
        read = decode(json.dumps(fields).encode())
    except ProtocolError:
        return
    assert decode(encode(read)) == read


@given(st.lists(jobs, max_size=4))
def test_jobs_are_read_alike_in_bulk_and_one_by_one(entries: list[ResumeJob]) -> None:
    """A text that is not printable makes the reader look at every job of the request by itself."""
    odd = ResumeJob(7, "q1-1", extra="\n")
    read = decode(encode(ResumeRequest("q1-1", "1", 1.0, (*entries, odd))))
    assert isinstance(read, ResumeRequest)
    assert read.jobs == (*entries, odd)


@pytest.mark.parametrize("version", ["2.0", "0.9", "", "10.0"])
def test_another_major_version_is_refused_by_name(version: str) -> None:
    with pytest.raises(VersionError, match=r"this side speaks 1\.0"):
        decode(a_line(version=version))


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "reboot"}, "kind 'reboot' is not known"),
        ({"kind": None}, "field 'kind' is missing"),
        ({"nodes": ""}, "field 'nodes' is empty"),
        ({"nodes": 7}, "field 'nodes' is not a text"),
        ({"nodes": "q1\n-2"}, "field 'nodes' is not a hostlist"),
        ({"nodes": "knöten-1"}, "field 'nodes' is not a hostlist"),
        ({"id": "../../etc/passwd"}, "field 'id' is not an id"),
        ({"sent_at": True}, "field 'sent_at' is not a time"),
        ({"sent_at": -1}, "field 'sent_at' is not a time"),
        ({"kind": "resume", "jobs": {}}, "field 'jobs' is not a list"),
        ({"kind": "resume", "jobs": ["1"]}, "field 'jobs' holds something that is not an object"),
        ({"kind": "resume", "jobs": [{"job_id": 0}]}, "field 'job_id' is not a job id"),
        ({"kind": "start-gate", "job_id": True}, "field 'job_id' is not a job id"),
        ({"kind": "reply", "ok": 1}, "field 'ok' is neither true nor false"),
    ],
)
def test_a_fault_is_named(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ProtocolError, match=complaint):
        decode(a_line(**fields))


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000, b'{"v":1e999}', b"1" * 5000]
)
def test_what_is_not_a_json_object_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(line)


def test_a_line_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(ProtocolError, match="bytes long"):
        decode(b" " * (wire.LINE_BYTES_MAX + 1))


def test_text_that_could_not_be_logged_is_mended() -> None:
    read = decode(b'{"version":"1.0","kind":"suspend","id":"1","sent_at":1,"nodes":"q1-1","note":"a\\ud800b"}')
    assert isinstance(read, SuspendRequest)
    assert read.note == "a?b"


def test_a_resume_request_that_would_be_too_long_leaves_out_its_jobs_and_says_so() -> None:
    many = tuple(ResumeJob(number, "n" * 1000) for number in range(1, 5000))
    read = decode(encode(ResumeRequest("q1-dy-c5-[1-4000]", "1", 1.0, many, note="first")))
    assert isinstance(read, ResumeRequest)
    assert read.nodes == "q1-dy-c5-[1-4000]"
    assert read.jobs == ()
    assert read.note.startswith("first; 4999 jobs left out")


@given(st.builds(Reply, ok=st.booleans(), error=texts, permanent=st.booleans(), waiting=st.booleans(), reason=texts))
def test_a_hook_reads_a_reply_as_the_daemon_wrote_it(reply: Reply) -> None:
    answer = wire.reply_fields(encode(reply))
    assert (answer.ok, answer.error, answer.is_permanent, answer.is_waiting, answer.reason) == (
        reply.ok,
        reply.error,
        reply.permanent,
        reply.waiting,
        reply.reason,
    )


@pytest.mark.parametrize(
    "line",
    [b"", b"HTTP/1.1 400", b"{}", b'{"kind":"reply","version":"1.0"}', b'{"kind":"reply","version":"2.0","ok":true}'],
)
def test_a_hook_does_not_take_anything_else_for_a_reply(line: bytes) -> None:
    with pytest.raises(wire.MalformedReplyError):
        wire.reply_fields(line)


def test_ids_differ_and_sort_by_time() -> None:
    made = [wire.new_id() for _ in range(100)]
    assert len(set(made)) == 100
    assert [name.partition("-")[0] for name in made] == sorted(name.partition("-")[0] for name in made)
