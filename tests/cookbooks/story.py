"""The whole story: plays make a head node, a login node and an image, EC2 boots the image, a user's job runs on it.

Run by `make test-cookbooks`, in namespaces of its own.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from clustermgtd.settings import loads
from clustermgtd.settings.cookbook import Machine as Description
from clustermgtd.settings.cookbook import MachineKind, variables
from tests.cookbooks.cloud import Cloud
from tests.cookbooks.folders import FOLDERS, SUITES, base_folder
from tests.cookbooks.images import CLUSTER, QUEUE_URL, make_bundle, make_image
from tests.cookbooks.machines import Machine, Place
from tests.cookbooks.plays import COOKBOOKS, Host, play
from tests.cookbooks.wheels import INSIDE, PIP_ARGUMENTS, wheels

HERE = Path(__file__).parent
USER = 2001
STAND_IN = "/stand-in"
"""Where machines other than the head node see its /home, which their kernel cannot mount by NFS."""
CONFIGURES_ITSELF = "NodeAgent:\n    ConfigureAtBoot: true"
KEY = "Scheduler: slurm\n  SlurmSettings:\n    MungeKeySecretArn: {}"
BOOTED = "promtool query instant http://127.0.0.1:9090 'clustermgtd_boot_phase_seconds_count > 0'"
JOB_S = 180.0
MEASURED_S = 30.0
GONE_S = 240.0

pytestmark = pytest.mark.timeout(5400)


class Site:
    """Machines of one cluster, and what the plays are told of them."""

    def __init__(self, place: Place, suite: str, cloud: Cloud, changes: Mapping[str, str] | None = None) -> None:
        self.place = place
        self.suite = suite
        self.cloud = cloud
        self.text = CLUSTER.read_text()
        for old, new in {QUEUE_URL: cloud.queue_url, **(changes or {})}.items():
            assert old in self.text
            self.text = self.text.replace(old, new)
        self.cluster_yaml = place.folder / "cluster.yaml"
        self.cluster_yaml.write_text(self.text)
        self.addresses = {name: place.network.address(n) for n, name in enumerate(("head-1", "login-1", "image-1"), 2)}
        self.head_extra = {
            "clustermgtd_cluster_yaml": str(self.cluster_yaml),
            "monitoring_ec2_endpoint": cloud.environment["AWS_ENDPOINT_URL"],
            "monitoring_scrape_interval_seconds": 5,
            "shared_storage_nfs_server": "ganesha",
        }

    def complete(self, image: Path) -> None:
        """Into an image of no cluster: a user, where AWS is, and what stands in for cloud-init and a file system."""
        settings = image / "etc/systemd/system.conf.d/zz-aws.conf"
        settings.parent.mkdir(exist_ok=True)
        values = " ".join(f"{name}={value}" for name, value in self.cloud.environment.items())
        settings.write_text(f"[Manager]\nDefaultEnvironment={values}\n")
        variables = image / "opt/clustermgtd/cookbooks/group_vars/compute.yml"
        variables.parent.mkdir()
        hosts = {"head-1": self.addresses["head-1"]}
        variables.write_text(yaml.safe_dump({"common_hosts": hosts, "shared_storage_stand_in_dir": STAND_IN}))
        install_user_data(image)
        with (image / "etc/passwd").open("a") as users:
            users.write(f"alice:x:{USER}:{USER}::/home/alice:/bin/bash\n")
        with (image / "etc/group").open("a") as groups:
            groups.write(f"alice:x:{USER}:\n")

    def host(self, machine: Machine, kind: MachineKind, group: str = "") -> Host:
        described = variables(Description(loads(self.text), kind, group))
        here = yaml.safe_load((HERE / "variables.yml").read_text())[self.suite]
        return Host(
            machine,
            kind.value,
            described
            | here
            | {
                "common_pip_arguments": list(PIP_ARGUMENTS),
                "common_environment": self.cloud.environment,
                "common_hosts": {name: address for name, address in self.addresses.items() if name == "head-1"},
                "munge_key_file": str(self.place.folder / "munge.key"),
            }
            | (
                self.head_extra | {"munge_key_secret_arn": ""}
                if kind is MachineKind.HEAD
                else {
                    "slurm_controllers": [f"head-1({self.addresses['head-1']})"],
                    "shared_storage_head_address": "head-1",
                    "shared_storage_stand_in_dir": STAND_IN,
                }
            ),
        )


@pytest.mark.parametrize("suite", SUITES)
def test_from_empty_machines_to_a_job_and_back(suite: str, place: Place) -> None:
    base = (base_folder(suite),)
    home = place.folder / "home"
    home.mkdir()
    binds = {wheels(suite): INSIDE, home: f"{STAND_IN}/cluster-home"}
    cloud = Cloud(place, binds)
    with cloud.running():
        site = Site(place, suite, cloud)
        with (
            place.machine("head-1", site.addresses["head-1"], base, {**binds, home: "/home"}) as head,
            place.machine("login-1", site.addresses["login-1"], base, binds) as login,
        ):
            layer = place.folder / "image"
            with place.machine("image-1", site.addresses["image-1"], base, binds, layer=layer) as builder:
                head.run(f"useradd --uid {USER} --create-home --shell /bin/bash alice")
                for machine in (login, builder):
                    machine.run(f"useradd --uid {USER} --no-create-home --shell /bin/bash alice")
                hosts = [
                    site.host(head, MachineKind.HEAD),
                    site.host(login, MachineKind.LOGIN, "login"),
                    site.host(builder, MachineKind.COMPUTE, "q1"),
                ]
                play(hosts, place.folder, COOKBOOKS / "site.yml")
                assert play(hosts, place.folder, COOKBOOKS / "site.yml") == {"head-1": 0, "login-1": 0, "image-1": 0}
                install_user_data(builder.root)
            cloud.image = (layer, *base)
            head.wait_until("systemctl is-active clustermgtd.service", 120)
            run_job(login, home)
            assert boots(cloud, head, suite)
            head.wait_until(f"{BOOTED} | grep slurmd-started", MEASURED_S)
            login.wait_until("! sinfo --noheader --format=%T | grep -v 'idle~'", GONE_S)
            assert not cloud.booted


@pytest.mark.parametrize("suite", SUITES)
def test_an_image_of_no_cluster_configures_itself_at_boot(suite: str, place: Place) -> None:
    base = (base_folder(suite),)
    home = place.folder / "home"
    home.mkdir()
    binds = {wheels(suite): INSIDE, home: f"{STAND_IN}/cluster-home"}
    cloud = Cloud(place, binds)
    key = os.urandom(64)
    (place.folder / "munge.key").write_bytes(key)
    with cloud.running():
        secret = cloud.make_secret("munge", base64.b64encode(key).decode())
        site = Site(place, suite, cloud, {"Scheduler: slurm": KEY.format(secret), "NodeAgent:": CONFIGURES_ITSELF})
        cloud.image = make_image(suite, "compute", "install", make_bundle("compute", place.folder, {}), place)
        site.complete(cloud.image[0])
        with place.machine("head-1", site.addresses["head-1"], base, {**binds, home: "/home"}) as head:
            head.run(f"useradd --uid {USER} --create-home --shell /bin/bash alice")
            play([site.host(head, MachineKind.HEAD)], place.folder, COOKBOOKS / "site.yml")
            head.wait_until("systemctl is-active clustermgtd.service", 120)
            run_job(head, home)
            ((_, phases),) = boots(cloud, head, f"{suite}-configured-at-boot").items()
            assert phases["node-known"] < phases["configured"] < phases["slurmd-started"]
            head.wait_until("! sinfo --noheader --format=%T | grep -v 'idle~'", GONE_S)


def run_job(machine: Machine, home: Path) -> None:
    """As an ordinary user, whose home the job's node has too."""
    job = machine.run("su - alice -c 'sbatch --parsable --output=out.txt --wrap=hostname'").strip()
    state = f"sacct --noheader --parsable2 --allocations --format=State --jobs {job}"
    machine.wait_until(f"{state} | grep COMPLETED", JOB_S)
    assert (home / "alice" / "out.txt").read_text().strip()


def install_user_data(root: Path) -> None:
    """Into an image: what runs user data, as the images of EC2 have it."""
    units = root / "etc/systemd/system"
    (root / "usr/local/sbin").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "user_data.py", root / "usr/local/sbin/user-data")
    shutil.copy(HERE / "user-data.service", units)
    (units / "multi-user.target.wants/user-data.service").symlink_to("../user-data.service")


def boots(cloud: Cloud, head: Machine, suite: str) -> dict[str, dict[str, float]]:
    """Seconds from switching on to each phase of each node's boot, also in build/cookbooks/boot-phases-SUITE.json."""
    nodes = cloud.boot_phases("clustermgtd-story")
    log = head.run("cat /var/log/slurm/slurmctld.log")
    for node, phases in nodes.items():
        switched_on = phases.pop("started-at")
        heard = re.findall(rf"^\[(\S+)\] .*[Nn]ode {re.escape(node)} now responding", log, re.MULTILINE)
        if heard:
            registered = datetime.fromisoformat(heard[0]).replace(tzinfo=UTC).timestamp()
            phases["registered"] = registered - switched_on
    text = json.dumps(nodes, indent=2)
    (FOLDERS / f"boot-phases-{suite}.json").write_text(text)
    print(text)
    return nodes
