"""Boot a machine of one's own and apply roles to it, twice."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from clustermgtd.settings import load
from clustermgtd.settings.cookbook import Machine as Description
from clustermgtd.settings.cookbook import MachineKind, variables
from tests.cookbooks.folders import FOLDERS, SUITES, base_folder
from tests.cookbooks.machines import Place
from tests.cookbooks.network import network
from tests.cookbooks.plays import Host, play, role_playbook
from tests.cookbooks.wheels import INSIDE, PIP_ARGUMENTS, wheels

_INSIDE = "COOKBOOKS_INSIDE"
_CLUSTER = Path(__file__).with_name("cluster.yaml")


def parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cookbooks",
        description="Boot a machine, apply roles to it, apply them again. The exit code is 0 if the second run changed "
        "nothing. As root.",
    )
    parser.add_argument("roles", nargs="*", metavar="ROLE", help="in this order; none: boot only")
    parser.add_argument("--suite", choices=SUITES, default=SUITES[0])
    parser.add_argument("--kind", choices=[kind.value for kind in MachineKind], default="head", help="whose variables")
    parser.add_argument("--group", default="", help="queue or login pool")
    parser.add_argument("--cluster", type=Path, default=_CLUSTER, help="cluster.yaml (default %(default)s)")
    parser.add_argument("-e", dest="extra", action="append", default=[], help="more variables, as ansible-playbook -e")
    parser.add_argument("--keep", action="store_true", help="afterwards keep the machine until Ctrl-C")
    return parser.parse_args(argv)


def main(argv: list[str]) -> int:
    if _INSIDE not in os.environ:
        # every mount and process of the machines ends with this one, even after kill -9
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-m"]
        os.execvpe(command[0], [*command, "tests.cookbooks", *argv], os.environ | {_INSIDE: "1"})
    for number in (signal.SIGINT, signal.SIGTERM):  # the first process of a namespace has no handlers of its own
        signal.signal(number, signal.default_int_handler)
    options = parse(argv)
    settings = load(options.cluster)
    described = variables(Description(settings, MachineKind(options.kind), options.group))
    base = base_folder(options.suite)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=FOLDERS, prefix="machines-")))
        place = Place(stack.enter_context(network()), folder)
        machine = stack.enter_context(
            place.machine(f"{options.kind}-1", place.network.address(2), (base,), {wheels(options.suite): INSIDE})
        )
        print("ssh", *machine.ssh_options, f"root@{machine.address}", flush=True)
        host = Host(machine, options.kind, described | {"common_pip_arguments": list(PIP_ARGUMENTS)})
        extra = [word for one in options.extra for word in ("-e", one)]
        changed = 0
        if options.roles:
            try:
                playbook = role_playbook(folder, options.roles)
                play([host], folder, playbook, *extra)
                changed = sum(play([host], folder, playbook, *extra).values())
                print(f"the second run changed {changed}", flush=True)
            finally:
                print(f"inventory and playbook: {folder}", flush=True)
                if options.keep:
                    print(f"kept; inventory: {folder / 'inventory.yml'}; Ctrl-C ends it", flush=True)
                    with contextlib.suppress(KeyboardInterrupt):
                        signal.pause()
        elif options.keep:
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
