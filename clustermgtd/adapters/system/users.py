"""The machine's users."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence

import structlog

log = structlog.get_logger(__name__)


def uids(users: Sequence[str]) -> frozenset[int]:
    """This process's own user id, and those of the named users that exist."""
    found = {os.getuid()}
    for user in users:
        try:
            found.add(pwd.getpwnam(user).pw_uid)
        except KeyError:
            log.warning("hook_user_unknown", user=user)
    return frozenset(found)
