"""Keys that a running daemon cannot take over."""

from __future__ import annotations

from clustermgtd.errors import ConfigurationError
from clustermgtd.settings.cluster import Settings
from clustermgtd.settings.config_diff import differences
from clustermgtd.settings.update_policy import READ_ONCE, rule_of


def refuse_restart_only(old: Settings, new: Settings) -> None:
    """Some keys are read once: those of the rules `READ_ONCE`.

    Raises:
        ConfigurationError: naming those that differ.
    """
    changed = [change.path for change in differences(old, new) if rule_of(change.pattern) in READ_ONCE]
    if changed:
        raise ConfigurationError(f"{', '.join(changed)} cannot change while the daemon runs: restart it")
