"""The program that copies users from a directory: what it takes, and when it changes nothing.

`ldapsearch` is a script here; on real servers the program runs in the containers of the cookbooks' tests.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from tests.architecture.source_tree import ROOT

PROGRAM = ROOT / "cookbooks" / "roles" / "directory" / "files" / "directory_sync.py"
ADA = "dn: uid=ada,dc=x\nuid: ada\nuidNumber: 20001\ngidNumber: 21000\ngecos: Ada\nhomeDirectory: /home/ada\n"
EMMY = (
    "dn: uid=emmy,dc=x\nuid: Emmy\nuidNumber: 20002\ngidNumber: 21000\ncn:: RW1tecO2\nsshPublicKey: ssh-ed25519 AAA e\n"
)
GROUPS = "dn: cn=gpu,dc=x\ncn: gpu\ngidNumber: 21001\nmemberUid: emmy\nmember: UID=ada,dc=x\nmember: cn=other,dc=x\n"


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("directory_sync", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SETTINGS, module.FILES, module.KEYS = tmp_path / "sync.json", tmp_path / "files", tmp_path / "keys"  # type: ignore[attr-defined]
    settings = {
        "from_folder": "",
        "to_folder": str(tmp_path / "shared"),
        "uris": ["ldaps://dc1"],
        "search_base": "dc=x",
        "bind_dn": "cn=reader",
        "password_file": "/secret",
        "tls_ca_cert": "",
        "tls_req_cert": "hard",
        "filter": "",
        "minimum_id": 1000,
        "loss_percent_max": 20,
    }
    (tmp_path / "sync.json").write_text(json.dumps(settings))
    monkeypatch.setattr(sys, "argv", ["directory-sync"])
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return module


@pytest.fixture
def directory(tmp_path: Path) -> Callable[..., None]:
    def answer(users: str, groups: str = GROUPS, code: int = 0) -> None:
        (tmp_path / "users").write_text(users)
        (tmp_path / "groups").write_text(groups)
        script = tmp_path / "ldapsearch"
        script.write_text(
            f'#!/bin/sh\ncd {tmp_path}\ncase "$*" in *uidNumber*) cat users;; *) cat groups;; esac\nexit {code}\n'
        )
        script.chmod(0o755)

    return answer


def test_users_groups_and_keys_are_copied(
    program: ModuleType, directory: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory(f"{ADA}\n{EMMY}\n# refldap://other\n")
    assert program.main() == 0
    passwd = "ada:*:20001:21000:Ada:/home/ada:/bin/bash\nemmy:*:20002:21000:Emmyö:/home/emmy:/bin/bash\n"
    for folder in ("files", "shared"):
        assert (tmp_path / folder / "passwd").read_text() == passwd
        assert (tmp_path / folder / "group").read_text() == "gpu:*:21001:ada,emmy\n"
    assert {file.name: file.read_text() for file in (tmp_path / "keys").iterdir()} == {"emmy": "ssh-ed25519 AAA e\n"}
    assert program.main() == 0
    assert capsys.readouterr().out == "changed\nunchanged\n"


def test_a_key_that_is_gone_opens_nothing_any_more(
    program: ModuleType, directory: Callable[..., None], tmp_path: Path
) -> None:
    directory(f"{ADA}\n{EMMY}")
    program.main()
    directory(f"{ADA}\n" + EMMY.replace("sshPublicKey: ssh-ed25519 AAA e\n", ""))
    program.main()
    assert list((tmp_path / "keys").iterdir()) == []


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (ADA.replace("20001", "0"), "its number 0 is below 1000"),
        (ADA.replace("uid: ada", "uid: root"), "is in /etc/passwd"),
        (ADA.replace("uid: ada", "uid: ../x"), "is not a name"),
        (ADA.replace("uid=ada", "uid=z").replace("uid: ada", "uid: zoe").replace("20001", "20002"), "is there twice"),
    ],
)
def test_who_may_not_be_on_the_machine_is_left_out(
    program: ModuleType,
    directory: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    entry: str,
    why: str,
) -> None:
    directory(f"{entry}\n{EMMY}")
    assert program.main() == 0
    assert why in capsys.readouterr().err
    assert [line.split(":")[0] for line in (tmp_path / "files" / "passwd").read_text().splitlines()] == ["emmy"]


def test_a_field_cannot_add_fields_or_lines(
    program: ModuleType, directory: Callable[..., None], tmp_path: Path
) -> None:
    directory(ADA.replace("gecos: Ada", "gecos: Ada:/:/bin/sh"))
    program.main()
    assert (tmp_path / "files" / "passwd").read_text() == "ada:*:20001:21000:Ada / /bin/sh:/home/ada:/bin/bash\n"


@pytest.mark.parametrize(
    ("code", "why"),
    [(49, "refuses cn=reader"), (255, "no server of the directory answers: ldaps://dc1"), (4, "cannot be asked")],
)
def test_a_directory_that_fails_changes_nothing_and_says_why(
    program: ModuleType,
    directory: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    code: int,
    why: str,
) -> None:
    directory(f"{ADA}\n{EMMY}")
    program.main()
    before = (tmp_path / "files" / "passwd").read_text()
    directory(ADA, code=code)
    assert program.main() == 1
    assert why in capsys.readouterr().err
    assert (tmp_path / "files" / "passwd").read_text() == before


def test_a_directory_without_users_is_taken_for_a_mistake(
    program: ModuleType, directory: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    directory("")
    assert program.main() == 1
    assert "no user below dc=x" in capsys.readouterr().err


def test_many_users_that_are_gone_wait_for_a_word(
    program: ModuleType, directory: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    third = ADA.replace("ada", "max").replace("20001", "20003")
    directory(f"{ADA}\n{EMMY}\n{third}")
    program.main()
    directory(ADA)
    assert program.main() == 1
    assert len((tmp_path / "files" / "passwd").read_text().splitlines()) == 3
    monkeypatch.setattr(sys, "argv", ["directory-sync", "--accept-loss"])
    assert program.main() == 0
    assert len((tmp_path / "files" / "passwd").read_text().splitlines()) == 1


def test_a_machine_without_the_directory_takes_the_head_nodes_copy(
    program: ModuleType, directory: Callable[..., None], tmp_path: Path
) -> None:
    directory(f"{ADA}\n{EMMY}")
    program.main()
    settings = json.loads((tmp_path / "sync.json").read_text())
    settings |= {"from_folder": settings["to_folder"], "to_folder": ""}
    (tmp_path / "sync.json").write_text(json.dumps(settings))
    program.FILES = tmp_path / "files of a compute node"  # type: ignore[attr-defined]
    directory("", code=255)
    assert program.main() == 0
    assert (program.FILES / "passwd").read_text() == (tmp_path / "files" / "passwd").read_text()
