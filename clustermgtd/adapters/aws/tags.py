"""Keys of the tags by which we know what is ours."""

from __future__ import annotations

CLUSTER = "clustermgtd:cluster"
LAUNCH_TOKEN = "clustermgtd:launch-token"  # noqa: S105 - a tag's key
QUEUE = "clustermgtd:queue"
COMPUTE_RESOURCE = "clustermgtd:compute-resource"
JOBS = "clustermgtd:jobs"
