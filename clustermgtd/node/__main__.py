"""`python -m clustermgtd.node`: the agent of this instance."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from clustermgtd.node import arguments, imds
from clustermgtd.node.agent import Agent, Surroundings, run_power_off
from clustermgtd.node.processes import NodeProcesses
from clustermgtd.node.record import DynamoDbRecord
from clustermgtd.node.slurmd import probe


def main() -> int:
    """Read the arguments, run one boot."""
    agent_arguments = arguments.parse(sys.argv[1:], os.environ)
    metadata = imds.MetadataService(os.environ.get(imds.ENDPOINT_VARIABLE) or imds.DEFAULT_ENDPOINT)
    agent = Agent(
        agent_arguments,
        Surroundings(
            metadata=metadata,
            open_record=lambda region: DynamoDbRecord(agent_arguments.table, region),
            probe_slurmd=probe,
            start=subprocess.Popen,
            run=run_power_off,
            processes=NodeProcesses(os.getppid() if agent_arguments.processes_below else None),
        ),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: agent.stop())
    return agent.run()


if __name__ == "__main__":
    sys.exit(main())
