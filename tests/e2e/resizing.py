"""The lab's slurm.conf for another cluster.yaml, as an operator renders and applies it on a head node."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from clustermgtd import settings
from clustermgtd.lab.slurm import SlurmControl
from clustermgtd.lab.slurm_files import PortReservation, SlurmPorts, slurm_release
from clustermgtd.model.hostlist import expand
from clustermgtd.settings.slurm_conf import PROGRAMS, SlurmSite, render
from tests.e2e.lab import Lab

_NODES = re.compile(r"^NodeName=(\S+)", re.MULTILINE)
_PORTS = re.compile(r"^NodeName=(\S+).* Port=(\S+)", re.MULTILINE)
_SPARE = 16


class Applier:
    """All slurmds of a lab are on one address: nodes keep their ports, and new ones get spare ones."""

    def __init__(self, lab: Lab, spare: PortReservation) -> None:
        self._lab = lab
        self._spare = list(range(spare.first, spare.first + spare.count))
        self._port: dict[str, int] = {}
        for names, ports in _PORTS.findall(lab.folder.slurm_conf.read_text()):
            of_line = expand(f"p{ports}") if "[" in ports else [f"p{ports}"]
            pairs = zip(expand(names), of_line, strict=True)
            self._port |= {name: int(port.removeprefix("p")) for name, port in pairs}

    def apply(self, text: str) -> None:
        """Write cluster.yaml, render slurm.conf, make slurmctld take it over, then the daemon."""
        lab, folder = self._lab, self._lab.folder
        folder.cluster_yaml.write_text(text)
        programs = {name: folder.path / "programs" / name for name in PROGRAMS}
        rendered = render(settings.load(folder.cluster_yaml), SlurmSite(programs, release=slurm_release()))
        ports = lab.status().site["ports"]
        control = SlurmControl(folder.slurm, ports=SlurmPorts(ports["slurmctld"], ports["first_node"]))
        control.write_conf(_NODES.sub(lambda found: f"{found[0]} {self._place(found[1])}", rendered))
        if slurm_release() >= (23, 11):
            lab.run("scontrol", "reconfigure")
        else:
            lab.restart_slurmctld()
        reload(lab)

    def _place(self, names: str) -> str:
        nodes = expand(names)
        for node in nodes:
            if node not in self._port:
                self._port[node] = self._spare.pop(0)
        ports = ",".join(str(self._port[node]) for node in nodes)
        return f"NodeAddr=127.0.0.1 Port={ports}" if len(nodes) == 1 else f"NodeAddr=127.0.0.1 Port=[{ports}]"


@contextmanager
def applying(lab: Lab) -> Iterator[Applier]:
    """Spare ports for as long as the lab is up."""
    spare = PortReservation.take(_SPARE)
    try:
        yield Applier(lab, spare)
    finally:
        spare.close()


def reload(lab: Lab) -> None:
    """`systemctl reload clustermgtd`, and wait until it is done."""
    since = lab.log_size()
    assert lab.daemon_pid is not None
    os.kill(lab.daemon_pid, signal.SIGHUP)
    lab.wait_until(lambda: lab.events("reload_done", since=since))
