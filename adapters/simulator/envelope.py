"""The body of ``POST /exchange``: an action, its nonce and its signature (protocol sheet 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.simulator.canonical import USER_SIGNED_ACTIONS, address, canonical_action, record, u64
from adapters.simulator.engine import Unprocessable
from adapters.simulator.network import Network
from adapters.simulator.signatures import Signature, recover_signer


def _canonical(value: Any, _path: str) -> dict[str, Any]:
    return canonical_action(value)


def _as_posted(value: Any, _path: str) -> Any:
    return value


_envelope = record(
    {"action": _canonical, "nonce": u64, "signature": _as_posted},
    {"vaultAddress": address, "expiresAfter": u64},
)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A readable request whose signer is not known yet. Times and the nonce are ms since the epoch."""

    action: Mapping[str, Any]
    nonce: int
    signature: Any
    vault_address: str | None
    expires_after: int | None

    @classmethod
    def parse(cls, body: Any) -> "SignedRequest":
        """Read a decoded JSON body; raises Unprocessable (HTTP 422) if it has not the shape of a request."""
        if not isinstance(body, dict):
            raise Unprocessable
        found = _envelope(body, "body")
        return cls(
            action=found["action"],
            nonce=found["nonce"],
            signature=found["signature"],
            vault_address=found.get("vaultAddress"),
            expires_after=found.get("expiresAfter"),
        )

    @property
    def kind(self) -> str:
        """The action's ``type``."""
        return str(self.action["type"])

    @property
    def is_user_signed(self) -> bool:
        """Whether only a master key may sign this (sheet 3.4)."""
        return self.kind in USER_SIGNED_ACTIONS

    @property
    def inner_nonce(self) -> int:
        """The nonce the action itself carries if it is user-signed, else the envelope's."""
        return (
            int(self.action.get("nonce", self.action.get("time", self.nonce)))
            if self.is_user_signed
            else self.nonce
        )

    def signer(self, network: Network) -> str:
        """Recover the signing address; raises Unprocessable or UnrecoverableSignature."""
        return recover_signer(
            self.action,
            Signature.parse(self.signature),
            nonce=self.nonce,
            vault_address=self.vault_address,
            expires_after=self.expires_after,
            network=network,
        )
