"""The instance configures itself, once: the cookbooks' part for boot, with the variables that the daemon stored.

Images whose roles were applied with the cluster's variables need none of this, and boot faster.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from clustermgtd.errors import PermanentError
from clustermgtd.node.systemd import Run, run

UNIT = "clustermgtd-configure.service"
PHASE = "configured"
"""Of the boot, next to those of `BootPhase`."""
FOLDER = Path("/etc/clustermgtd")
LOG = Path("/var/log/clustermgtd/configure.log")
_INVENTORY = "[compute]\nlocalhost ansible_connection=local\n"
_FAILED = re.compile(r"^(?:fatal|failed): .*? => (\{.*\})$")
_TASK = re.compile(r"^TASK \[(.*?)\] \**$")


def configure(variables: str, instance_id: str, run: Run = run, folder: Path = FOLDER, log: Path = LOG) -> None:
    """Run the play unless it has ended well on this instance before; `variables` is a JSON object.

    An image that was made of a configured instance is configured again: its instances have other ids.

    Raises:
        PermanentError: the play failed; the message is the failed task's.
    """
    done = folder / "configured"
    try:
        if done.is_file() and done.read_text() == instance_id:
            return
        folder.mkdir(parents=True, exist_ok=True)
        private = folder / "variables.json"
        private.touch(mode=0o600)
        private.chmod(0o600)
        private.write_text(variables)
        (folder / "inventory").write_text(_INVENTORY)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        run(["systemctl", "start", UNIT])
        done.write_text(instance_id)
    except subprocess.CalledProcessError as error:
        why = complaint(log.read_text(errors="replace") if log.exists() else "") or str(error.stderr or error).strip()
        raise PermanentError(f"the instance could not be configured: {why}") from error
    except OSError as error:
        raise PermanentError(f"the instance could not be configured: {error}") from error


def complaint(output: str) -> str:
    """What the last failed task of ansible-playbook's output says, with its name; empty if none failed."""
    task = found = ""
    for line in output.splitlines():
        if named := _TASK.match(line):
            task = named[1]
        elif failed := _FAILED.match(line):
            result = json.loads(failed[1])
            words = [str(result.get(key, "")).strip() for key in ("msg", "stderr")]
            found = f"{task}: {' '.join(word for word in words if word)}"
    return found
