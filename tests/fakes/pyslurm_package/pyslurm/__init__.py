"""A pyslurm for tests, with the names and shapes of 22.5.3 and 24.11.0 as they were seen over real slurmctlds.

The file in FAKE_PYSLURM_WORLD, JSON, is read at each call:

    {"release": "24.11.5", "pyslurm": "24.11.0", "nodes": [[name, state, [partition], address, hostname, reason], ...],
     "jobs": [{...}, ...], "trouble": {"Nodes.load": ...}}

A trouble is ["error", number, text] for an RPCError, ["hang", seconds], ["exit", text] for libslurm's fatal(),
["raise", "TypeError"] for another interface, or ["garbage", hexadecimal] written on every socket that the process has
open. Updates are added to the file `<world>.updates`, a JSON list each.
"""

from __future__ import annotations

import builtins
import json
import os
import stat
import sys
import time
from pathlib import Path

_FILE = Path(os.environ["FAKE_PYSLURM_WORLD"])


def _world():
    return json.loads(_FILE.read_text())


def _call(name):
    """What the world has, unless it has trouble with this call."""
    world = _world()
    trouble, *what = world.get("trouble", {}).get(name, ["none"])
    if trouble == "error":
        raise RPCError(what[0], what[1])
    if trouble == "raise":
        raise getattr(builtins, what[0])("as another release would")
    if trouble == "hang":
        time.sleep(what[0])
    if trouble == "exit":
        sys.stderr.write(what[0] + "\n")
        sys.stderr.flush()
        os._exit(1)
    if trouble == "garbage":
        for number in (int(path.name) for path in Path("/proc/self/fd").iterdir()):
            try:
                if stat.S_ISSOCK(os.fstat(number).st_mode):
                    os.write(number, bytes.fromhex(what[0]))
            except OSError:
                continue
    return world


def _updated(*what):
    with _FILE.with_name(_FILE.name + ".updates").open("a") as file:
        file.write(json.dumps(what) + "\n")


class PyslurmError(Exception):
    pass


class RPCError(PyslurmError):
    def __init__(self, errno=-1, msg=None):
        self.errno = errno
        self.msg = msg
        super().__init__(msg)


class _Collection(dict):
    """Values by name, as MultiClusterMap gives them."""


class Node:
    def __init__(self, name=None, **changes):
        self.name = name
        self.changes = changes

    @classmethod
    def _shown(cls, name, state, partitions, address, hostname, reason):
        node = cls(name)
        node.state, node.partitions, node.address, node.hostname = state, partitions, address, hostname
        node._reason = reason
        node.last_busy_time = None if "POWERED_DOWN" in state else 1_700_000_000
        return node

    @property
    def reason(self):
        if self._reason == "latin-1":
            return b"d\xe9fect".decode()
        return self._reason

    def modify(self, changes):
        _call("Node.modify")
        _updated("node", self.name, changes.changes)


class Nodes(_Collection):
    @staticmethod
    def load(preload_passwd_info=False):
        return Nodes((fields[0], Node._shown(*fields)) for fields in _call("Nodes.load")["nodes"])


class Job:
    def __init__(self, job_id):
        self.id = job_id

    @classmethod
    def _shown(cls, fields):
        job = cls(fields["id"])
        shown = {"requeue_count": 0, "partition": "q1", "user_id": 0, "account": None, "priority": 1}
        job.__dict__.update({**shown, "start_time": None, "allocated_nodes": None, "state_reason": "None", **fields})
        return job

    def modify(self, changes):
        _call("Job.modify")
        _updated("job", self.id, sorted(changes.fields))

    def cancel(self):
        _call("Job.cancel")
        _updated("cancel", self.id)


class Jobs(_Collection):
    @staticmethod
    def load(preload_passwd_info=False, frozen=False):
        return Jobs((fields["id"], Job._shown(fields)) for fields in _call("Jobs.load")["jobs"])


class JobSubmitDescription:
    def __init__(self, **fields):
        self.fields = fields


class Partition:
    def __init__(self, name=None, state=None):
        self.name = name
        self.state = state

    def modify(self, changes):
        _call("Partition.modify")
        _updated("partition", self.name, changes.state)


class Partitions(_Collection):
    @staticmethod
    def load():
        return Partitions(
            (name, Partition(name, state)) for name, state in _call("Partitions.load")["partitions"].items()
        )


class config:
    def get(self):
        return {"version": _call("config.get")["release"]}


class reservation:
    def get(self):
        return _call("reservation.get")["reservations"]

    def create(self, reservation_dict):
        _call("reservation.create")
        _updated("create", reservation_dict)
        return reservation_dict["name"]


_FIRST = _call("import")
if _FIRST.get("missing"):
    raise ImportError(_FIRST["missing"])
__version__ = _FIRST["pyslurm"]
