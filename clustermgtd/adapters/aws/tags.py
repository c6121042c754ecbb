"""Keys of the tags by which we know what is ours."""

from __future__ import annotations

import re

from clustermgtd.model.job import JobTag

CLUSTER = "clustermgtd:cluster"
LAUNCH_TOKEN = "clustermgtd:launch-token"  # noqa: S105 - a tag's key
QUEUE = "clustermgtd:queue"
COMPUTE_RESOURCE = "clustermgtd:compute-resource"
JOBS = "clustermgtd:jobs"
JOB_TAGS: dict[JobTag, str] = {
    JobTag.JOB_ID: "clustermgtd:job-id",
    JobTag.USER: "clustermgtd:user",
    JobTag.ACCOUNT: "clustermgtd:account",
    JobTag.PARTITION: "clustermgtd:partition",
}
SHARED = "clustermgtd:shared"
"""`true` where the launch serves several jobs and the tags above are the first one's."""
VALUE_MAX = 256

_FOREIGN = re.compile(r"[^\w +\-=.:/@]")


def value_of(text: str) -> str:
    """Text as EC2 takes it for a tag's value: letters, digits, spaces and + - = . _ : / @, at most 256 of them;
    anything else becomes an underscore."""
    return _FOREIGN.sub("_", text)[:VALUE_MAX]
