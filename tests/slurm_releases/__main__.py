"""`python -m tests.slurm_releases [SUITE ...]`: every check on every release of Slurm, or on those named.

A table is printed, and build/slurm-releases.json is written: a list of `{release, check, passed, note}`. The tests run
one release at a time, through `tools/slurm-release`, which needs root. Exit codes: 0 all well, 1 a check failed,
2 wrong usage or a release that could not be had.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

from tests.slurm_releases.checks import CHECKS, SUITES, Outcome, Row, judge

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "slurm-releases.json"
_TOOL = str(ROOT / "tools" / "slurm-release")
_SHOWN = {True: "passed", False: "FAILED", None: "not there"}
_NOTE_MAX = 400


def main(suites: list[str]) -> int:
    """Run them."""
    if unknown := set(suites) - set(SUITES):
        print(f"no such suite: {', '.join(sorted(unknown))}; there are: {', '.join(SUITES)}", file=sys.stderr)
        return 2
    rows: list[Row] = []
    for suite in suites or SUITES:
        said = subprocess.run([_TOOL, "run", suite, "slurmctld", "-V"], stdout=subprocess.PIPE, text=True, check=False)
        found = re.search(r"\d+\.\d+\.\d+", said.stdout)
        if found is None:
            print(f"{suite} has no Slurm", file=sys.stderr)
            return 2
        for row in judge(found[0], _outcomes(suite)):
            rows.append(row)
            print(f"{row.release:10} {row.check:34} {_SHOWN[row.passed]:10} {row.note}", flush=True)
        OUTPUT.parent.mkdir(exist_ok=True)
        OUTPUT.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 1 if any(row.passed is False for row in rows) else 0


def _outcomes(suite: str) -> list[Outcome]:
    """Every test of every check, once."""
    whole = {prefix for prefixes in CHECKS.values() for prefix in prefixes if "::" not in prefix}
    single = {prefix for prefixes in CHECKS.values() for prefix in prefixes if prefix.partition("::")[0] not in whole}
    with tempfile.TemporaryDirectory(prefix="clmgtd-releases-") as folder:
        report = Path(folder, "report.xml")
        pytest = [sys.executable, "-m", "pytest", "-q", "-m", "slurm"]
        reporting = ["-o", "junit_family=xunit1", f"--junitxml={report}", "-p", "no:cacheprovider"]
        log = OUTPUT.parent / "slurm-releases" / f"{suite}.tests.log"
        with log.open("w") as said:
            subprocess.run(
                [_TOOL, "run", suite, *pytest, *reporting, *sorted(whole | single)],
                cwd=ROOT,
                stdout=said,
                stderr=said,
                check=False,
            )
        return [_outcome(case) for case in ElementTree.parse(report).iter("testcase")] if report.exists() else []


def _outcome(case: ElementTree.Element) -> Outcome:
    test = f"{case.get('file')}::{case.get('name')}"
    told = [str(one.get("value")) for one in case.iter("property") if one.get("name") == "note"]
    skipped = case.find("skipped")
    if skipped is not None:
        return Outcome(test, None, str(skipped.get("message")))
    for kind in ("failure", "error"):
        found = case.find(kind)
        if found is not None:
            why = " ".join(str(found.get("message")).split())[:_NOTE_MAX]
            return Outcome(test, False, f"{case.get('name')}: {why}")
    return Outcome(test, True, "; ".join(told))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
