"""What the instances of a launch say about the job that they are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clustermgtd.model.ids import JobId
from clustermgtd.model.job import Job, JobTag, JobTags


def job_tags(ids: Sequence[JobId], jobs: Mapping[JobId, Job], allowed: Sequence[JobTag]) -> JobTags:
    """The allowed facts of the first job, marked as shared if there are more; nothing for nodes without a job."""
    if not ids or not allowed:
        return JobTags()
    job = jobs[ids[0]]
    facts = {
        JobTag.JOB_ID: str(job.id),
        JobTag.USER: job.user,
        JobTag.ACCOUNT: job.account,
        JobTag.PARTITION: str(job.partition),
    }
    return JobTags(tuple((tag, facts[tag]) for tag in sorted(set(allowed)) if facts[tag]), is_shared=len(ids) > 1)
