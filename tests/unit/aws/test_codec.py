"""A stored launch comes back as it was, or not at all."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clustermgtd.adapters.aws.codec import TEXT_MAX_BYTES, decode, decode_offerings, encode, encode_offerings
from clustermgtd.errors import PermanentError
from clustermgtd.model.claim import (
    AllocationStrategy,
    ClaimEvent,
    ClaimState,
    Gang,
    Launch,
    LaunchRequest,
    LaunchTemplate,
    NodeClaim,
)
from clustermgtd.model.failure import FailureKind
from clustermgtd.model.gang import ShortGang
from clustermgtd.model.ids import ComputeResourceName, JobId, NodeName, QueueName
from clustermgtd.model.offering import Market, Offering
from clustermgtd.model.offering_memory import Fall, OfferingMemory
from tests.contract.aws.builders import a_launch, a_request, launched

text = st.text(alphabet=st.characters(codec="utf-8"), max_size=20)
moment = st.floats(min_value=0, max_value=1e11, allow_nan=False)
small = st.integers(min_value=0, max_value=10**6)
states = st.sampled_from(ClaimState)
events = st.builds(ClaimEvent, states, moment, text)
claims = st.builds(
    NodeClaim,
    node=text,
    state=states,
    since=moment,
    instance=text,
    failure=st.none() | st.sampled_from(FailureKind),
    history=st.lists(events, max_size=4).map(tuple),
)
requests = st.builds(
    LaunchRequest,
    queue=text,
    compute_resource=text,
    template=st.builds(LaunchTemplate, text, text),
    offerings=st.lists(st.builds(Offering, text, text, st.sampled_from(Market)), min_size=1, max_size=4).map(tuple),
    market=st.sampled_from(Market),
    strategy=st.sampled_from(AllocationStrategy),
    count=small,
    minimum=small,
    max_price=st.none() | moment,
    jobs=st.lists(small, max_size=4).map(tuple),
)
launches = st.builds(
    Launch,
    token=text,
    request=requests,
    created_at=moment,
    claims=st.lists(claims, max_size=4).map(tuple),
    version=small,
    attempts=small,
    last_attempt_at=moment,
    gangs=st.lists(
        st.builds(
            Gang,
            job=small,
            nodes=st.lists(text, max_size=4).map(tuple),
            takes_part=st.booleans(),
            is_kept=st.booleans(),
            restarts=small,
            is_top_up=st.booleans(),
        ),
        max_size=4,
    ).map(tuple),
)


@given(launches, small)
def test_every_launch_comes_back_with_the_record_s_version(launch: Launch, version: int) -> None:
    assert decode(encode(launch), version) == replace(launch, version=version)


@given(launches)
def test_the_body_does_not_depend_on_the_version(launch: Launch) -> None:
    assert encode(launch) == encode(replace(launch, version=launch.version + 1))


def test_gangs_of_a_release_that_kept_nothing_can_be_read() -> None:
    launch = replace(a_launch(), gangs=(Gang(JobId(1), (NodeName("q1-dy-c5-1"),)),))
    body = json.loads(str(encode(launch)))
    for name in ("is_kept", "restarts", "is_top_up"):
        del body["launch"]["gangs"][0][name]
    assert decode(json.dumps(body, separators=(",", ":")), 0) == replace(launch, version=0)


def test_jobs_that_came_short_are_remembered_and_an_older_memory_has_none() -> None:
    memory = OfferingMemory(short=(ShortGang(JobId(1), 2, 1_700_000_000.5),))
    body = encode_offerings(memory)
    assert decode_offerings(body, 3) == replace(memory, version=3)
    older = json.loads(str(body))
    del older["offerings"]["short"]
    assert decode_offerings(json.dumps(older, separators=(",", ":")), 3) == OfferingMemory(version=3)


def test_falls_are_remembered_and_an_older_memory_has_none() -> None:
    fall = Fall(QueueName("q1"), ComputeResourceName("c5"), 1, 2, 1_700_000_000.5, 1_700_000_600.5, cause="short")
    body = encode_offerings(OfferingMemory(falls=(fall,)))
    assert decode_offerings(body, 3) == OfferingMemory(falls=(fall,), version=3)
    older = json.loads(str(body))
    del older["offerings"]["falls"]
    assert decode_offerings(json.dumps(older, separators=(",", ":")), 3) == OfferingMemory(version=3)


def a_long_launch() -> Launch:
    """A thousand claims that have been through everything."""
    running = launched(a_launch(request=a_request(count=1000)))
    return replace(running, claims=tuple(replace(claim, history=(*claim.history * 12,)) for claim in running.claims))


def test_a_short_body_is_text_and_a_long_one_is_compressed() -> None:
    short = encode(a_launch())
    assert isinstance(short, str)
    assert json.loads(short)["launch"]["token"] == "clmgtd-0badcafe-1-1"
    long = encode(a_long_launch())
    assert isinstance(long, bytes)
    assert len(zlib.decompress(long)) > TEXT_MAX_BYTES


def test_a_thousand_claims_with_a_long_history_leave_room_in_an_item() -> None:
    launch = a_long_launch()
    body = encode(launch)
    names = sum(len(claim.instance) + len(claim.node) + 40 for claim in launch.claims)
    assert len(body) + names < 300_000  # of the 400 KB that DynamoDB takes
    assert decode(body, 1) == replace(launch, version=1)


def test_a_field_added_by_a_later_release_is_no_obstacle() -> None:
    body = json.loads(str(encode(a_launch())))
    body["launch"]["colour"] = "blue"
    assert decode(json.dumps(body), 3) == replace(a_launch(), version=3)


def test_a_newer_body_version_is_refused_with_a_way_out() -> None:
    with pytest.raises(PermanentError, match="body version 2, this daemon reads 1") as caught:
        decode('{"body_version":2,"launch":{}}', 1)
    assert caught.value.code == "BodyVersion"


SHORT = str(encode(a_launch()))
LONG = encode(a_long_launch())
assert isinstance(LONG, bytes)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        SHORT[:-5],
        SHORT.replace("REQUESTED", "DANCING"),
        SHORT.replace('"count":2', '"count":"2"'),
        SHORT.replace('"token"', '"ticket"'),
        b"not compressed",
        LONG[:-20],
    ],
    ids=["empty", "null", "list", "cut", "unknown state", "wrong type", "missing field", "not zlib", "cut zlib"],
)
def test_a_damaged_body_is_refused(body: str | bytes) -> None:
    with pytest.raises(PermanentError):
        decode(body, 1)
