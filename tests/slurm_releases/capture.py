"""`python -m tests.slurm_releases.capture`: write down what the installed Slurm prints, as the adapter's test data.

Run through `tools/slurm-release run SUITE`; the files of tests/unit/slurm/data/<release> are replaced. A few nodes are
brought into different phases; nothing of the machine is in the files but its name, which is written as `head`.
"""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import tempfile
from pathlib import Path

from clustermgtd.lab.slurm_files import find_program
from clustermgtd.node.slurmd import probe
from tests.slurm_fixtures import RealSlurm, running_slurm, until

DATA = Path(__file__).parents[1] / "unit" / "slurm" / "data"
NODE_PART = """\
NodeName=q1-dy-c5-[1-9] CPUs=2 State=CLOUD
NodeName=q2-dy-c5-1 CPUs=2 State=CLOUD
PartitionName=q1 Nodes=q1-dy-c5-[1-9] Default=YES OverSubscribe=EXCLUSIVE
PartitionName=q2 Nodes=q2-dy-c5-1 SuspendTime=60 SuspendTimeout=61 ResumeTimeout=62
"""
SETTINGS = {"ResumeTimeout": "12", "SuspendTimeout": "30"}
OPERATORS_REASON = "fan is loud State=IDLE"
OWN_REASON = "clustermgtd: launch-failed InsufficientInstanceCapacity: no [c5] in us-east-1a"


class Capture:
    """One slurmctld, and the texts by file name."""

    def __init__(self, slurm: RealSlurm) -> None:
        self.slurm = slurm
        self.texts: dict[str, str] = {}

    async def ask(self, *argv: str) -> str:
        fixed = ("/usr/bin/env", "TZ=UTC", "LC_ALL=C.UTF-8", "SLURM_TIME_FORMAT=%s")
        return await self.slurm.control.run(*fixed, *argv)

    async def update(self, name: str, *words: str) -> None:
        await self.slurm.control.run("scontrol", "update", f"NodeName={name}", *words)

    async def state(self, name: str) -> str:
        return next(
            word for word in (await self.ask("scontrol", "-o", "show", "node", name)).split() if word[:6] == "State="
        )

    async def phases(self) -> None:
        """1 at rest, 2 DOWN by us, 3 timed out, 4 and 5 powering up for a job, 6 up with a job, 7 drained, 8 powering
        down, 9 reserved."""
        await self.update("q1-dy-c5-2", "State=DOWN", f"Reason={OWN_REASON}")
        await self.update("q1-dy-c5-3", "State=POWER_UP")

        async def has_timed_out() -> bool:
            return (await self.state("q1-dy-c5-3")).startswith("State=DOWN")

        await until(has_timed_out, "ResumeTimeout")
        up = [f"q1-dy-c5-{number}" for number in (6, 7, 8)]
        for name in up:
            await self.update(name, "State=POWER_UP")
        await asyncio.sleep(1.5)
        has_id = probe(find_program("slurmd")).takes_instance
        await self.slurm.boot(*up)

        async def are_up() -> bool:
            return all([await self.state(name) == "State=IDLE+CLOUD" for name in up])

        await until(are_up, "up")
        if has_id:
            await self.update("q1-dy-c5-6", "InstanceId=i-0123456789abcdef0", "InstanceType=c5.large")
        await self.update("q1-dy-c5-7", "State=DRAIN", f"Reason={OPERATORS_REASON}")
        await self.slurm.control.run(
            *("scontrol", "create", "reservation", "ReservationName=clustermgtd-window", "Flags=MAINT,IGNORE_JOBS"),
            *("StartTime=now", "Duration=60", "Users=root", "Nodes=q1-dy-c5-9"),
        )
        await self.slurm.submit(1, seconds=600, extra=("-w", "q1-dy-c5-6"))
        await self.slurm.submit(2, seconds=600, extra=("-w", "q1-dy-c5-[4-5]"))
        await self.slurm.submit(1, seconds=600, extra=("-w", "q1-dy-c5-4", "--account=physics"))
        await self.update("q1-dy-c5-8", "State=POWER_DOWN")

        async def is_powering_down() -> bool:
            return "POWERING_DOWN" in await self.state("q1-dy-c5-8")

        await until(is_powering_down, "powering down")
        await asyncio.sleep(2)

    async def write_down(self) -> None:
        """The texts that the adapter reads."""
        from clustermgtd.adapters.slurm.parsing import JOB_FORMAT

        self.texts["nodes.txt"] = await self.ask("scontrol", "-o", "-a", "show", "nodes")
        self.texts["partitions.txt"] = await self.ask("scontrol", "-o", "-a", "show", "partitions")
        self.texts["reservations.txt"] = await self.ask("scontrol", "-o", "show", "reservation")
        self.texts["jobs.txt"] = await self.ask("squeue", "-h", "-a", "-r", "-O", JOB_FORMAT)
        self.texts["resume.json"] = (self.slurm.control.paths.folder / "resume.json").read_text().strip() + "\n"


async def capture(folder: Path) -> dict[str, str]:
    """The texts by file name."""
    async with running_slurm(folder, node_part=NODE_PART, address="", **SETTINGS) as slurm:
        program = folder / "resume"
        program.write_text(
            f'#!/bin/sh\ngrep -q job_id "$SLURM_RESUME_FILE" && cp "$SLURM_RESUME_FILE" {folder}/resume.json\n'
        )
        found = Capture(slurm)
        await found.phases()
        await found.write_down()
        return found.texts


def main() -> None:
    """Capture and write."""
    said = subprocess.run([find_program("slurmctld"), "-V"], capture_output=True, text=True, check=True).stdout
    release = said.split()[-1]
    with tempfile.TemporaryDirectory(prefix="clmgtd-capture-") as name:
        Path(name).chmod(0o755)
        texts = asyncio.run(capture(Path(name)))
    target = DATA / release
    target.mkdir(parents=True, exist_ok=True)
    host = socket.gethostname().partition(".")[0]
    for file, text in texts.items():
        clean = re.sub(rf"NodeHostName={re.escape(host)}\b", "NodeHostName=head", text)
        clean = re.sub(r" OS=Linux \S+", " OS=Linux 6.1.0", clean)
        (target / file).write_text("\n".join(line.rstrip() for line in clean.splitlines()) + "\n")
    print(f"{target}: {', '.join(sorted(texts))}")


if __name__ == "__main__":
    main()
