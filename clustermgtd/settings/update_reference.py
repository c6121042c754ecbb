"""docs/reference/update-policy.md, made from the table so that it cannot be out of date.

python -m clustermgtd.settings.update_reference > docs/reference/update-policy.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from clustermgtd.settings.config_diff import keys
from clustermgtd.settings.update_policy import Need, Rule, rule_of
from clustermgtd.settings.update_rules import MEANINGS

_HEAD = """\
# What a change of cluster.yaml needs

<!-- Made by `python -m clustermgtd.settings.update_reference`; changes made here are lost. -->

Every key has one rule. `clustermgtctl diff-config OLD NEW` applies them to two files, names the nodes concerned and
says what to do; its exit status is 0 if nothing has to stop, 3 if nodes have to be drained, 4 if a fleet stop is
needed, 5 if a change is not possible. Queues, compute resources, shared storage, login pools and tags are compared by
name, not by their place.

Where nodes that run are left behind by a change, `QueueUpdateStrategy` of the new file decides: `COMPUTE_FLEET_STOP`
(the default) wants the queue stopped first, `DRAIN` lets each node leave when its jobs have ended, `TERMINATE` requeues
the jobs. A queue is stopped by itself; other queues go on.

## Rules

| Rule | At worst | Why | To do |
|---|---|---|---|
"""
_KEYS = """
## Keys

`[]` is any entry; on its own, an entry that is added or removed. `<name>` is any key of a mapping.

| Key | Rule | At worst |
|---|---|---|
"""


def page() -> str:
    """The page, in Markdown."""
    return _HEAD + "\n".join(_rules()) + "\n" + _KEYS + "\n".join(_rows()) + "\n"


def _rules() -> Iterator[str]:
    for rule in Rule:
        meaning = MEANINGS[rule]
        yield f"| {rule} | {meaning.need} | {meaning.reason} | {meaning.action} |"


def _rows() -> Iterator[str]:
    for key in keys():
        rule = rule_of(key)
        need = MEANINGS[rule].need
        yield f"| `{key}` | {rule} | {need if need is Need.LIVE else f'**{need}**'} |"


if __name__ == "__main__":
    sys.stdout.write(page())
