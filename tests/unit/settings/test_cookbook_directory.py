"""The variables of the role `directory` follow from cluster.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from clustermgtd.settings import load
from clustermgtd.settings.cookbook import Machine, MachineKind
from clustermgtd.settings.cookbook.directory import variables
from tests.architecture.source_tree import ROOT

EXAMPLES = ROOT / "docs" / "examples"


def of(folder: Path, **directory: object) -> dict[str, object]:
    document = yaml.safe_load((EXAMPLES / "parallelcluster.yaml").read_text())
    document["DirectoryService"] |= directory
    file = folder / "cluster.yaml"
    file.write_text(yaml.safe_dump(document))
    return variables(Machine(load(file), MachineKind.LOGIN, "login"))


def test_without_a_directory_there_is_nothing_to_do() -> None:
    machine = Machine(load(EXAMPLES / "minimal.yaml"), MachineKind.HEAD)
    assert variables(machine) == {"directory_enabled": False}


def test_what_the_user_wrote_is_what_the_role_gets(tmp_path: Path) -> None:
    given = of(tmp_path, LdapAccessFilter="memberOf=cn=hpc,dc=corp", GenerateSshKeysForUsers=False)
    assert given["directory_machine_kind"] == "login"
    assert given["directory_access_filter"] == "memberOf=cn=hpc,dc=corp"
    assert given["directory_makes_ssh_keys"] is False
    assert given["directory_sssd_options"] == {"ldap_auth_disable_tls_never_use_in_production": False}
    assert str(given["directory_password_secret_arn"]).startswith("arn:")


@pytest.mark.parametrize(
    ("domain", "base"),
    [("corp.example.com", "dc=corp,dc=example,dc=com"), ("ou=hpc,dc=corp,dc=example", "ou=hpc,dc=corp,dc=example")],
)
def test_a_domain_is_searched_by_its_distinguished_name(tmp_path: Path, domain: str, base: str) -> None:
    assert of(tmp_path, DomainName=domain)["directory_search_base"] == base


def test_servers_are_asked_in_order_and_over_tls_unless_said_otherwise(tmp_path: Path) -> None:
    given = of(tmp_path, DomainAddr="ldaps://a.example.com, b.example.com,ldap://10.0.0.1")
    assert given["directory_uris"] == ["ldaps://a.example.com", "ldaps://b.example.com", "ldap://10.0.0.1"]
