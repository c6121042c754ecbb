"""Variables of the role `directory`."""

from __future__ import annotations

from clustermgtd.settings.cookbook.machine import Machine


def variables(machine: Machine) -> dict[str, object]:
    """Who knows the users."""
    directory = machine.settings.directory_service
    if directory is None:
        return {"directory_enabled": False}
    return {
        "directory_enabled": True,
        "directory_machine_kind": machine.kind.value,
        "directory_uris": [_uri(text.strip()) for text in directory.domain_addr.split(",")],
        "directory_search_base": _search_base(directory.domain_name),
        "directory_bind_dn": directory.domain_read_only_user,
        "directory_password_secret_arn": directory.password_secret_arn,
        "directory_tls_ca_cert": directory.ldap_tls_ca_cert or "",
        "directory_tls_req_cert": directory.ldap_tls_req_cert,
        "directory_access_filter": directory.ldap_access_filter or "",
        "directory_makes_ssh_keys": directory.generate_ssh_keys_for_users,
        "directory_sssd_options": dict(directory.additional_sssd_configs),
    }


def _uri(text: str) -> str:
    """ParallelCluster takes a server without a scheme as well, and means ldaps."""
    return text if "://" in text else f"ldaps://{text}"


def _search_base(domain: str) -> str:
    """`corp.example.com` as the distinguished name that it stands for."""
    return domain if "=" in domain else ",".join(f"dc={part}" for part in domain.split("."))
