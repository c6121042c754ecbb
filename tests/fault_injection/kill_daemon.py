"""`kill -9` of the daemon at a random moment of a scale-up, again and again, on real Slurm.

`python -m tests.fault_injection.kill_daemon [--times 20] [--nodes 20] [--seed N]`: each time one job of so many nodes
is submitted and the daemon is killed up to six seconds later and started again at once. Afterwards the job has
completed, exactly as many instances were launched as the job has nodes, and nothing is left.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from tests.e2e.lab import Lab, running_lab

LAB_CLUSTER = Path(__file__).parents[2] / "clustermgtd" / "lab" / "cluster.yaml"


def shown_instances(lab: Lab) -> set[str]:
    """Every instance that EC2 still shows, ended ones too."""
    pages = lab.aws("ec2").get_paginator("describe_instances").paginate()
    return {i["InstanceId"] for page in pages for r in page["Reservations"] for i in r["Instances"]}


def kill_during_scale_up(lab: Lab, nodes: int, after_s: float) -> None:
    """One job of `nodes` nodes; the daemon is killed so many seconds after it was submitted, and started again."""
    before = shown_instances(lab)
    job = lab.submit(f"srun --ntasks={nodes} true", "--partition=ondemand", f"--nodes={nodes}")
    time.sleep(after_s)
    pid = lab.daemon_pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    lab.wait_until(lambda: lab.daemon_pid is None)
    lab.start_daemon()
    lab.wait_for_job(job, deadline_s=150)
    launched = shown_instances(lab) - before
    assert len(launched) == nodes, f"{len(launched)} instances for {nodes} nodes, killed after {after_s:.2f} s"
    lab.wait_until_clean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "cluster.yaml"
        config.write_text(LAB_CLUSTER.read_text().replace("MaxCount: 16", f"MaxCount: {options.nodes}"))
        with running_lab(config) as lab:
            for number in range(1, options.times + 1):
                after_s = rng.uniform(0.0, 6.0)
                kill_during_scale_up(lab, options.nodes, after_s)
                print(f"{number:3}: killed {after_s:.2f} s after sbatch, {options.nodes} launched, 0 left", flush=True)
    print(f"{options.times} kills, every job completed, nothing leaked, nothing launched twice")


if __name__ == "__main__":
    main()
