"""What the core wants done, as data; carried out only after the events of the same step are durable."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Alert", "ConnectStreams", "Effect", "LookUpOrder", "Query", "ReconnectStream", "SendAction"]


class Effect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """One thing for the shell to do."""


class SendAction(Effect, frozen=True, kw_only=True, omit_defaults=True, tag="send_action"):
    """Sign this action with this nonce and send it once. Never repeated by the shell.

    `expires_at_ms`: the venue refuses it afterwards, by its own clock; `send_before_ns` is the same moment by
    the clock inputs are stamped with: the shell does not send it later.
    `acting_for`: the sub-account or vault it is for, where that is not the signer's own account. `urgent`
    actions (cancels) never wait behind others.
    """

    request_id: int
    action: dict[str, Any]
    nonce: int
    expires_at_ms: int | None = None
    send_before_ns: int | None = None
    acting_for: str | None = None
    urgent: bool = False


class Query(Effect, frozen=True, kw_only=True, omit_defaults=True, tag="query"):
    """Ask; may be repeated freely. `body` is the venue's request object."""

    request_id: int
    body: dict[str, Any]


class ConnectStreams(Effect, frozen=True, kw_only=True, omit_defaults=True, tag="connect_streams"):
    """Everything needed to subscribe is known: `streams` maps a stream's name to its subscriptions."""

    streams: dict[str, tuple[dict[str, Any], ...]]


class ReconnectStream(Effect, frozen=True, kw_only=True, omit_defaults=True, tag="reconnect_stream"):
    """The stream looks alive but is not: drop it and connect again."""

    stream: str
    reason: str


class LookUpOrder(Effect, frozen=True, kw_only=True, omit_defaults=True, tag="look_up_order"):
    """Read an order that is not in memory from the ledger; answered by `OrderLookedUp` with the same key.

    `key` is `key:<venue order key>` or `oid:<exchange order id>`.
    """

    key: str


class Alert(Effect, frozen=True, kw_only=True, omit_defaults=True, tag="alert"):
    """Something a person should see. `level` is "warning" or "error"."""

    code: str
    message: str
    level: str = "warning"
    client_order_id: str = ""
