"""The venue's error texts, and what each one means for the order (sheet 3.6, 3.8, 4.5, 4.6).

Hyperliquid sends no codes, only English texts with numbers and addresses in them, and changes them without
notice. Each is recognised by its distinctive part, in any letter case, and gets a reason code of ours that
stays the same whatever the venue makes of its wording.
"""

import re
from enum import StrEnum

import msgspec

__all__ = ["VENUE_OTHER", "Outcome", "Refusal", "classify_error", "refused_address"]

VENUE_OTHER = "venue_other"
"""Reason code of a text that is not known; the text itself is kept in the refusal."""


class Outcome(StrEnum):
    """What an error text proves."""

    REFUSED = "refused"
    """Not accepted, and would not be if sent again unchanged. An order: FAILED."""

    EXPIRED = "expired"
    """Its lifetime ended it before it could execute. An order: EXPIRED."""

    CONFIGURATION_FAULT = "configuration_fault"
    """Not accepted, nor will anything else be until keys, account or approvals are put right: stop and
    alert."""

    RETRY_LATER = "retry_later"
    """Not accepted, for a reason that passes. An order: FAILED; a new one may be tried later."""

    NOT_PROOF = "not_proof"
    """Says nothing about the order it speaks of: ask for its status and its fills."""


class Refusal(msgspec.Struct, frozen=True):
    """A venue's error text, understood: our reason code, the text as it came, and what it proves.

    `cause` is the reason code of the inner text where one text wraps another, as in a modify whose
    replacement was refused.
    """

    code: str
    text: str
    outcome: Outcome
    cause: str | None = None


_REFUSED, _EXPIRED = Outcome.REFUSED, Outcome.EXPIRED
_FAULT, _LATER, _NOT_PROOF = Outcome.CONFIGURATION_FAULT, Outcome.RETRY_LATER, Outcome.NOT_PROOF

MODIFY_REPLACEMENT_REFUSED = "modify_old_cancelled_new_refused"
_MODIFY_REPLACEMENT_TEXT = "error placing new order during modify"

# (distinctive part in lowercase, reason code, outcome); the first that is contained in the text decides, so a
# text that contains another stands above it.
_TEXTS: tuple[tuple[str, str, Outcome], ...] = (
    # Modify: the first leaves the old order as it was, already done; it wraps no other text.
    ("cannot modify canceled or filled order", "modify_old_already_done", _NOT_PROOF),
    # Signature, account and approvals (3.6).
    ("user or api wallet", "unknown_signer", _FAULT),
    ("must deposit before performing actions", "account_without_deposit", _FAULT),
    ("unable to recover signer", "signature_unrecoverable", _FAULT),
    ("vault not registered", "vault_not_registered", _FAULT),
    ("vault may not perform this action", "vault_may_not", _FAULT),
    ("builder fee has not been approved", "builder_fee_not_approved", _FAULT),
    ("extra agent already used", "agent_already_used", _FAULT),
    ("too many extra agents", "too_many_agents", _FAULT),
    ("action disabled when unified account is active", "disabled_in_unified_account", _FAULT),
    ("user has pending agent removal", "agent_removal_pending", _LATER),
    # Nonce and expiry (3.8). A duplicate may mean that the first sending landed.
    ("duplicate nonce", "nonce_duplicate", _NOT_PROOF),
    ("nonce too low", "nonce_too_low", _REFUSED),
    ("action already expired", "action_expired", _EXPIRED),
    # Limits (9).
    ("too many cumulative requests", "address_budget_exhausted", _LATER),
    ("over weight limit", "action_too_large", _REFUSED),
    ("too many open orders", "too_many_open_orders", _REFUSED),
    # Price, size and value of an order (2.1, 9.4).
    ("price must be divisible by tick size", "tick_size", _REFUSED),
    ("order must have minimum value of", "min_notional", _REFUSED),
    ("order has invalid price", "invalid_price", _REFUSED),
    ("order has invalid size", "invalid_size", _REFUSED),
    ("order has zero size", "zero_size", _REFUSED),
    ("price too far from oracle", "price_too_far", _REFUSED),
    ("away from the reference price", "price_too_far", _REFUSED),
    ("invalid tp/sl price", "trigger_price_on_wrong_side", _REFUSED),
    ("unexpected number of trigger orders", "trigger_order_count", _REFUSED),
    # Margin, position and balance.
    ("insufficient margin to place order", "insufficient_margin", _REFUSED),
    ("insufficient spot balance", "insufficient_spot_balance", _REFUSED),
    ("insufficient balance for withdrawal", "insufficient_balance", _REFUSED),
    ("insufficient balance for token transfer", "insufficient_balance", _REFUSED),
    ("exceed margin tier limit", "margin_tier_limit", _REFUSED),
    ("reduce only order would increase position", "reduce_only_would_increase", _REFUSED),
    ("reduce-only twap order would increase position", "reduce_only_would_increase", _REFUSED),
    ("more aggressive than oracle while at open interest cap", "open_interest_cap_price", _REFUSED),
    ("while open interest is capped", "open_interest_cap", _REFUSED),
    ("increase open interest too quickly", "open_interest_too_fast", _REFUSED),
    ("cannot switch leverage type with open position", "leverage_type_with_position", _REFUSED),
    ("position does not use isolated margin", "position_not_isolated", _REFUSED),
    # Execution.
    ("post only order would have immediately matched", "post_only_would_cross", _REFUSED),
    ("could not immediately match", "ioc_no_match", _EXPIRED),
    ("no liquidity available for market order", "no_liquidity", _REFUSED),
    ("only post-only orders allowed", "post_only_period", _LATER),
    ("trading is halted", "trading_halted", _REFUSED),
    # Cancels: never placed, cancelled or filled; the venue does not say which.
    ("order was never placed, already canceled, or filled", "order_not_found_or_done", _NOT_PROOF),
    ("twap was never placed, already canceled, or filled", "twap_not_found_or_done", _NOT_PROOF),
    # Permissions that come with traded volume.
    ("cannot set scheduled cancel time", "scheduled_cancel_needs_volume", _REFUSED),
    ("cannot create sub-accounts", "sub_accounts_need_volume", _REFUSED),
    ("too many sub-accounts", "too_many_sub_accounts", _REFUSED),
)

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}(?![0-9a-fA-F])")


def classify_error(text: str) -> Refusal:
    """What a top-level `err` or an entry's `error` means; an unknown text gives VENUE_OTHER and REFUSED.

    An unknown text is a refusal because it came as one, from the application and not from the way to it: HTTP
    429 and 5xx bodies are no error texts of the venue and do not belong here (sheet 4.4).
    """
    lowered = text.lower()
    start = lowered.find(_MODIFY_REPLACEMENT_TEXT)
    if start >= 0:
        inner = classify_error(text[start + len(_MODIFY_REPLACEMENT_TEXT) :])
        return Refusal(MODIFY_REPLACEMENT_REFUSED, text, Outcome.REFUSED, inner.code)
    for part, code, outcome in _TEXTS:
        if part in lowered:
            return Refusal(code, text, outcome)
    return Refusal(VENUE_OTHER, text, Outcome.REFUSED)


def refused_address(text: str) -> str | None:
    """The address, in lowercase, that the venue recovered and does not know; None if the text names none.

    Our own signer's address means that the agent is not approved, or expired; another one on each attempt
    means that the venue rebuilt something else than what was signed (sheet 3.6).
    """
    found = _ADDRESS.search(text)
    return found.group().lower() if found else None
