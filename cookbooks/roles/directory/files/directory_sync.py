#!/usr/bin/python3
"""Copies users and groups of an LDAP directory into the files of libnss-extrausers: directory-sync [--accept-loss]

Settings are in /etc/clustermgtd/directory-sync.json. The last word on standard output is `changed` or `unchanged`. The
machine's own /etc/passwd and /etc/group are never written. Whatever cannot be read whole changes nothing: the files
stay as they are, and the exit code is 1.

Users need `uidNumber` and `gidNumber`, and groups `gidNumber`. Passwords are not copied. The Python of every supported
system runs it, with the standard library only.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SETTINGS = Path("/etc/clustermgtd/directory-sync.json")
FILES = Path("/var/lib/extrausers")
KEYS = Path("/var/lib/directory-sync/keys")
NAME = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
USERS = "(&(|(objectClass=posixAccount)(objectClass=user))(uidNumber=*){filter})"
GROUPS = "(&(|(objectClass=posixGroup)(objectClass=group))(gidNumber=*))"
LDAPSEARCH_S = 240
REFUSED, NO_SUCH_BASE, NO_ANSWER = 49, 32, 255

Entry = dict[str, list[str]]
"""Values by attribute in lower case; `dn` is one of them."""


class SyncError(Exception):
    """Nothing was changed; the message says why and what to do."""


def search(settings: dict, search_filter: str, *attributes: str) -> list[Entry]:
    """All entries, page by page.

    Raises:
        SyncError: the directory does not answer, refuses, or the answer is not whole.
    """
    command = ["ldapsearch", "-LLL", "-x", "-o", "ldif_wrap=no", "-o", "nettimeout=10", "-E", "pr=500/noprompt"]
    command += ["-H", " ".join(settings["uris"]), "-D", settings["bind_dn"], "-y", settings["password_file"]]
    command += ["-b", settings["search_base"], search_filter, *attributes]
    tls = {"LDAPTLS_REQCERT": settings["tls_req_cert"]}
    if settings["tls_ca_cert"]:
        tls["LDAPTLS_CACERT"] = settings["tls_ca_cert"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LDAPSEARCH_S, env={**os.environ, **tls}, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SyncError(f"the directory cannot be asked: {error}") from error
    if done.returncode != 0:
        known = {
            REFUSED: f"the directory refuses {settings['bind_dn']}: wrong password in {settings['password_file']}",
            NO_SUCH_BASE: f"the directory has no {settings['search_base']}",
            NO_ANSWER: f"no server of the directory answers: {', '.join(settings['uris'])}",
        }
        why = known.get(done.returncode, "the directory cannot be asked")
        raise SyncError(f"{why} (ldapsearch: {' '.join(done.stderr.split())})")
    return list(entries(done.stdout))


def entries(ldif: str) -> Iterator[Entry]:
    """Of LDIF without folded lines."""
    for block in ldif.split("\n\n"):
        entry: Entry = {}
        for line in block.splitlines():
            if line.startswith("#") or ":" not in line:
                continue
            name, value = line.split(":", 1)
            if value.startswith(":"):
                text = base64.b64decode(value[1:]).decode("utf-8", "replace")
            else:
                text = value[1:] if value.startswith(" ") else value
            entry.setdefault(name.lower(), []).append(text)
        # what is not an entry refers to another server
        if "dn" in entry:
            yield entry


def first(entry: Entry, *names: str) -> str:
    """The first value of the first attribute that there is, fit for one field of a line."""
    for name in names:
        if entry.get(name):
            return re.sub(r"[:\x00-\x1f]", " ", entry[name][0]).strip()
    return ""


def number(entry: Entry, name: str) -> int:
    """-1 if there is none."""
    text = first(entry, name)
    return int(text) if text.isdecimal() else -1


def own(file: str) -> tuple[set[str], set[int]]:
    """Names and numbers of the machine's own users or groups."""
    lines = [line.split(":") for line in Path(file).read_text().splitlines() if line.count(":") >= 3]
    return {fields[0] for fields in lines}, {int(fields[2]) for fields in lines if fields[2].isdecimal()}


def chosen(found: list[Entry], names: tuple[str, ...], id_name: str, file: str, minimum: int) -> dict[str, Entry]:
    """Entries by name, without those that the machine may not have; each of them is told of."""
    own_names, own_ids = own(file)
    taken: dict[str, Entry] = {}
    ids: set[int] = set()
    for entry in sorted(found, key=lambda entry: (first(entry, *names).lower(), entry["dn"][0])):
        name, one = first(entry, *names).lower(), number(entry, id_name)
        if not NAME.fullmatch(name):
            why = f"{name!r} is not a name"
        elif one < minimum:
            why = f"its number {one} is below {minimum}"
        elif name in own_names or one in own_ids:
            why = f"{name} or {one} is in {file}"
        elif name in taken or one in ids:
            why = f"{name} or {one} is there twice"
        else:
            taken[name] = entry
            ids.add(one)
            continue
        print(f"left out: {entry['dn'][0]}: {why}", file=sys.stderr)
    return taken


def passwd_lines(users: dict[str, Entry]) -> str:
    lines = []
    for name, user in users.items():
        home = first(user, "unixhomedirectory", "homedirectory")
        if not home.startswith("/"):
            home = f"/home/{name}"
        shell = first(user, "loginshell") or "/bin/bash"
        fields = (
            name,
            "*",
            number(user, "uidnumber"),
            number(user, "gidnumber"),
            first(user, "gecos", "cn"),
            home,
            shell,
        )
        lines.append(":".join(map(str, fields)) + "\n")
    return "".join(lines)


def group_lines(groups: dict[str, Entry], users: dict[str, Entry]) -> str:
    by_dn = {user["dn"][0].lower(): name for name, user in users.items()}
    lines = []
    for name, group in groups.items():
        members = {member.lower() for member in group.get("memberuid", [])} & users.keys()
        members |= {by_dn[member.lower()] for member in group.get("member", []) if member.lower() in by_dn}
        lines.append(f"{name}:*:{number(group, 'gidnumber')}:{','.join(sorted(members))}\n")
    return "".join(lines)


def keys_of(users: dict[str, Entry]) -> dict[str, str]:
    keys = {name: [key.strip() for key in user.get("sshpublickey", [])] for name, user in users.items()}
    return {name: "".join(f"{key}\n" for key in sorted(lines) if key) for name, lines in keys.items() if any(lines)}


def from_directory(settings: dict) -> tuple[dict[str, str], dict[str, str]]:
    """The texts of `passwd` and `group`, and SSH keys by user."""
    extra = settings["filter"]
    found = search(
        settings,
        USERS.format(filter=extra if extra.startswith("(") or not extra else f"({extra})"),
        *("uid", "sAMAccountName", "uidNumber", "gidNumber", "gecos", "cn"),
        *("homeDirectory", "unixHomeDirectory", "loginShell", "sshPublicKey"),
    )
    if not found:
        raise SyncError(f"no user below {settings['search_base']} has a uidNumber and matches the filter {extra!r}")
    users = chosen(found, ("uid", "samaccountname"), "uidnumber", "/etc/passwd", settings["minimum_id"])
    found = search(settings, GROUPS, "cn", "gidNumber", "memberUid", "member")
    groups = chosen(found, ("cn",), "gidnumber", "/etc/group", settings["minimum_id"])
    return {"group": group_lines(groups, users), "passwd": passwd_lines(users)}, keys_of(users)


def from_folder(folder: Path) -> dict[str, str]:
    """The same texts, as another machine wrote them."""
    try:
        return {name: (folder / name).read_text() for name in ("group", "passwd")}
    except OSError as error:
        raise SyncError(f"the head node's copy cannot be read: {error}") from error


def check_loss(old: str, new: str, percent_max: int) -> None:
    """Raises: SyncError: more users than allowed would be gone."""
    before = {line.split(":")[0] for line in old.splitlines()}
    gone = before - {line.split(":")[0] for line in new.splitlines()}
    if len(gone) > 1 and len(gone) * 100 > percent_max * len(before):
        shown = ", ".join(sorted(gone)[:5])
        raise SyncError(
            f"{len(gone)} of {len(before)} users would be gone ({shown}, ...); is that right? --accept-loss"
        )


def write(folder: Path, texts: dict[str, str]) -> bool:
    """Whether any file changed; each is replaced as a whole, in the order given."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = False
    for name, text in texts.items():
        file = folder / name
        if file.exists() and file.read_text() == text:
            continue
        new = folder / f".{name}.new"
        new.write_text(text)
        new.chmod(0o644)
        new.replace(file)
        changed = True
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(prog="directory-sync", description="Copy users and groups from the directory.")
    parser.add_argument("--accept-loss", action="store_true", help="even if many users are gone")
    arguments = parser.parse_args()
    settings = json.loads(SETTINGS.read_text())
    keys: dict[str, str] = {}
    try:
        if settings["from_folder"]:
            texts = from_folder(Path(settings["from_folder"]))
        else:
            texts, keys = from_directory(settings)
        old = FILES / "passwd"
        if old.exists() and not arguments.accept_loss:
            check_loss(old.read_text(), texts["passwd"], settings["loss_percent_max"])
        # groups first, so that nobody is in a group without a name
        changed = write(FILES, texts)
        changed |= write(KEYS, keys)
        for file in KEYS.iterdir():
            if file.name not in keys:
                file.unlink()
                changed = True
        if settings["to_folder"]:
            write(Path(settings["to_folder"]), texts)
    except (SyncError, OSError) as error:
        print(f"directory-sync: nothing was changed: {error}", file=sys.stderr)
        return 1
    print("changed" if changed else "unchanged")
    return 0


if __name__ == "__main__":
    sys.exit(main())
