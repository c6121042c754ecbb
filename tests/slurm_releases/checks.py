"""What is tried on every release: each check is some of the tests that `make test` runs on the installed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SUITES = ("bookworm", "trixie", "sid")
"""Debian's releases; each carries another release of Slurm."""

_SCHEDULER = "tests/contract/slurm/test_scheduler_contract.py"
_FEATURES = "tests/contract/slurm/test_release_features.py"

CHECKS: Mapping[str, tuple[str, ...]] = {
    "the demo's jobs": ("tests/e2e/test_demo.py::test_the_demo_ends_with_its_one_line_and_leaves_nothing",),
    "lab up, a job, lab down": ("tests/e2e/test_lab.py::test_a_job_runs_and_everything_goes_away_again",),
    "rendered slurm.conf": ("tests/integration/test_render_slurm_conf.py",),
    "ways out of node states": ("tests/contract/slurm/test_node_exits.py",),
    "nodes, jobs, partitions": (_SCHEDULER,),
    "requeue holds are lifted": (
        f"{_SCHEDULER}::test_a_lifted_hold_lets_the_job_start_on_other_nodes_at_once",
        f"{_SCHEDULER}::test_a_hold_is_lifted_from_pending_jobs_only",
    ),
    "hooks, start gate": ("tests/contract/hooks/test_hooks_slurm.py",),
    "instance ids": (
        f"{_FEATURES}::test_a_node_shows_its_instance_until_it_powers_down",
        f"{_FEATURES}::test_an_update_of_several_nodes_with_one_instance_id_each",
    ),
    "times of a partition": (
        f"{_FEATURES}::test_a_partition_has_times_of_its_own",
        "tests/contract/slurm/test_idle_nodes.py",
    ),
    "capabilities": (f"{_FEATURES}::test_slurm_says_what_it_can_do",),
    "addresses from registration": (f"{_FEATURES}::test_a_node_takes_its_address_from_slurmd_s_registration",),
    "resume file": (f"{_FEATURES}::test_the_resume_file_says_which_job_wants_which_nodes",),
    "reservations": ("tests/contract/slurm/test_reservations.py",),
    "hostlists": ("tests/contract/slurm/test_hostlist_contract.py",),
    "nodes come and go": ("tests/contract/slurm/test_resize.py",),
    "slurmctld in trouble": ("tests/contract/slurm/test_slurmctld_trouble.py",),
}
"""Check -> prefixes of the ids of its tests."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test ended on one release."""

    test: str
    """Its id, such as `tests/contract/slurm/test_reservations.py::test_reservations_may_overlap[slurmctld]`."""
    passed: bool | None
    """None: skipped."""
    note: str = ""
    """Why it failed or was skipped, or what it has to tell."""


@dataclass(frozen=True, slots=True)
class Row:
    """One check on one release."""

    release: str
    check: str
    passed: bool | None
    """None: this release does not have what the check is about."""
    note: str


def judge(release: str, outcomes: Sequence[Outcome]) -> list[Row]:
    """One row per check. A check of which no test ran has failed."""
    rows = []
    for check, prefixes in CHECKS.items():
        mine = [one for one in outcomes if any(_is_of(one.test, prefix) for prefix in prefixes)]
        ran = [one for one in mine if one.passed is not None]
        failed = [one for one in ran if not one.passed]
        notes = dict.fromkeys(one.note for one in (failed or ran or mine) if one.note)
        passed = not failed if ran else (None if mine else False)
        counted = f"{len(ran) - len(failed)} of {len(ran)} tests" if ran else ""
        rows.append(Row(release, check, passed, "; ".join(filter(None, [counted, *notes])) or "no test ran"))
    return rows


def _is_of(test: str, prefix: str) -> bool:
    return test == prefix or test.startswith((f"{prefix}::", f"{prefix}["))
