"""TLS and a credential for a server of a run and its clients: as other machines would reach it."""

from __future__ import annotations

import stat
from pathlib import Path

import grpc

from mitsumori import Admin, Router, Tls
from router.access.caller import EVERY_TENANT, Role
from router.access.key_store import KeyStore
from tests.certificates import Authority

__all__ = ["Secured"]


class Secured:
    """Certificates and a key store in a folder, with one key that may do everything.

    Args:
        folder: of the run; the files go into one of their own.
    """

    def __init__(self, folder: Path) -> None:
        place = folder / "access"
        place.mkdir(mode=stat.S_IRWXU)
        authority = Authority(place)
        issued = authority.issue("server")
        self.ca = authority.path
        self.tls = Tls(ca=authority.path)
        store = KeyStore(place / "keys.json")
        self.key, _ = store.create(
            name="run", tenant=EVERY_TENANT, roles=list(Role), labels={}, scopes={}, expires=None
        )
        self.flags = (
            "--tls-certificate", str(issued.certificate), "--tls-key", str(issued.key),
            "--key-store", str(store.path), "--audit-log", str(place / "audit"),
        )  # fmt: skip
        """For ``mitsumori serve``."""
        self.metadata = (("authorization", f"Bearer {self.key}"),)

    def router(self, address: str | list[str]) -> Router:
        """The shipped client as it is, with its defaults."""
        tls = self.tls if isinstance(address, str) else Tls(ca=self.ca, server_name="localhost")
        return Router(address, tls=tls, api_key=self.key)

    def admin(self, address: str) -> Admin:
        """The shipped client of AdminService as it is."""
        return Admin(address, tls=self.tls, api_key=self.key)

    def channel(self, address: str) -> grpc.Channel:
        """A channel of gRPC alone, without a policy of ours."""
        credentials = grpc.ssl_channel_credentials(self.ca.read_bytes())
        return grpc.secure_channel(address, credentials, [("grpc.enable_retries", 0)])
