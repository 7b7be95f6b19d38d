"""Every known error text of the venue has a stable reason code and says what it proves."""

import re
from pathlib import Path

import pytest

from adapters.hyperliquid.reason_codes import VENUE_OTHER, Outcome, classify_error, refused_address

REFUSED, EXPIRED, FAULT = Outcome.REFUSED, Outcome.EXPIRED, Outcome.CONFIGURATION_FAULT
LATER, NOT_PROOF = Outcome.RETRY_LATER, Outcome.NOT_PROOF
SIGNER = "0x14791697260E4c9a71f18484C9f997B308e59325"

TEXTS = [
    ("Price must be divisible by tick size. asset=0", "tick_size", REFUSED),
    ("Order must have minimum value of $10. asset=1", "min_notional", REFUSED),
    ("Order must have minimum value of 10 USDC. asset=10107", "min_notional", REFUSED),
    ("Insufficient margin to place order. asset=4", "insufficient_margin", REFUSED),
    ("Reduce only order would increase position. asset=4", "reduce_only_would_increase", REFUSED),
    (
        "Post only order would have immediately matched, bbo was 1923.1@1923.2. asset=1",
        "post_only_would_cross",
        REFUSED,
    ),
    ("Order could not immediately match against any resting orders. asset=1", "ioc_no_match", EXPIRED),
    ("Invalid TP/SL price. asset=1", "trigger_price_on_wrong_side", REFUSED),
    ("No liquidity available for market order.", "no_liquidity", REFUSED),
    ("Order would increase open interest while open interest is capped", "open_interest_cap", REFUSED),
    (
        "Order rejected due to price more aggressive than oracle while at open interest cap",
        "open_interest_cap_price",
        REFUSED,
    ),
    ("Order would increase open interest too quickly", "open_interest_too_fast", REFUSED),
    ("Insufficient spot balance asset=10107", "insufficient_spot_balance", REFUSED),
    ("Order price too far from oracle", "price_too_far", REFUSED),
    ("Price too far from oracle", "price_too_far", REFUSED),
    ("Order price cannot be more than 80% away from the reference price", "price_too_far", REFUSED),
    ("Order price cannot be more than 95% away from the reference price", "price_too_far", REFUSED),
    (
        "Order would cause position to exceed margin tier limit at current leverage",
        "margin_tier_limit",
        REFUSED,
    ),
    ("Order has invalid price.", "invalid_price", REFUSED),
    ("Order has invalid size.", "invalid_size", REFUSED),
    ("Order has zero size.", "zero_size", REFUSED),
    (
        "Order was never placed, already canceled, or filled. asset=0",
        "order_not_found_or_done",
        NOT_PROOF,
    ),
    ("Cannot modify canceled or filled order", "modify_old_already_done", NOT_PROOF),
    ("Unexpected number of trigger orders", "trigger_order_count", REFUSED),
    ("TWAP was never placed, already canceled, or filled.", "twap_not_found_or_done", NOT_PROOF),
    (
        "Too many cumulative requests sent (97460 > 97456) for cumulative volume traded $87457.46. "
        "Place taker orders to free up 1 request per USDC traded.",
        "address_budget_exhausted",
        LATER,
    ),
    ("Signed action over weight limit of 200.", "action_too_large", REFUSED),
    ("Only post-only orders allowed immediately after a network upgrade", "post_only_period", LATER),
    ("Trading is halted", "trading_halted", REFUSED),
    (f"User or API Wallet {SIGNER} does not exist.", "unknown_signer", FAULT),
    (f"L1 error: User or API Wallet {SIGNER} does not exist.", "unknown_signer", FAULT),
    (
        f"Must deposit before performing actions. User: {SIGNER}",
        "account_without_deposit",
        FAULT,
    ),
    ("Unable to recover signer.", "signature_unrecoverable", FAULT),
    ("Invalid nonce: duplicate nonce 1754000000000", "nonce_duplicate", NOT_PROOF),
    ("Invalid nonce: nonce too low 1 < 2", "nonce_too_low", REFUSED),
    ("Action already expired", "action_expired", EXPIRED),
    ("Cannot switch leverage type with open position.", "leverage_type_with_position", REFUSED),
    ("Position does not use isolated margin.", "position_not_isolated", REFUSED),
    (
        "Cannot create sub-accounts until enough volume traded. Required: $100000. Traded: $1.",
        "sub_accounts_need_volume",
        REFUSED,
    ),
    ("Too many sub-accounts.", "too_many_sub_accounts", REFUSED),
    ("Extra agent already used.", "agent_already_used", FAULT),
    (
        "Too many extra agents for cumulative volume traded. Current limit is 3",
        "too_many_agents",
        FAULT,
    ),
    (f"Vault not registered: {SIGNER}", "vault_not_registered", FAULT),
    ("Vault may not perform this action.", "vault_may_not", FAULT),
    ("Action disabled when unified account is active", "disabled_in_unified_account", FAULT),
    ("Insufficient balance for withdrawal", "insufficient_balance", REFUSED),
    ("Insufficient balance for token transfer", "insufficient_balance", REFUSED),
    ("Builder fee has not been approved.", "builder_fee_not_approved", FAULT),
    ("User has pending agent removal", "agent_removal_pending", LATER),
    ("Too many open orders", "too_many_open_orders", REFUSED),
    (
        "Cannot set scheduled cancel time until enough volume traded. Required: $1000000. Traded: $5.",
        "scheduled_cancel_needs_volume",
        REFUSED,
    ),
    ("Reduce-only TWAP order would increase position.", "reduce_only_would_increase", REFUSED),
]


@pytest.mark.parametrize(("text", "code", "outcome"), TEXTS, ids=[text[:60] for text, _, _ in TEXTS])
def test_a_known_text_has_its_reason_code_in_any_letter_case(text: str, code: str, outcome: Outcome) -> None:
    for spelling in (text, text.lower(), text.upper()):
        refusal = classify_error(spelling)
        assert (refusal.code, refusal.outcome, refusal.text) == (code, outcome, spelling)
        assert refusal.cause is None


def test_reason_codes_are_stable_words() -> None:
    for _, code, _ in TEXTS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", code)


@pytest.mark.parametrize("text", ["", "Gremlins in the matching engine. asset=3", "error", "0"])
def test_an_unknown_text_is_kept_as_a_refusal(text: str) -> None:
    refusal = classify_error(text)
    assert (refusal.code, refusal.text, refusal.outcome) == (VENUE_OTHER, text, REFUSED)


@pytest.mark.parametrize(
    ("inner", "cause"),
    [
        ("Post only order would have immediately matched, bbo was 1@2.", "post_only_would_cross"),
        ("Insufficient margin to place order.", "insufficient_margin"),
        ("Something new", VENUE_OTHER),
    ],
)
def test_a_refused_replacement_is_told_apart_from_its_own_reason(inner: str, cause: str) -> None:
    refusal = classify_error(f"Error placing new order during modify: {inner} asset=1")
    assert refusal.code == "modify_old_cancelled_new_refused"
    assert (refusal.outcome, refusal.cause) == (REFUSED, cause)


def test_the_refused_address_tells_our_agent_from_a_stranger() -> None:
    assert refused_address(f"User or API Wallet {SIGNER} does not exist.") == SIGNER.lower()
    assert refused_address("Order has zero size.") is None
    assert refused_address("hash 0x" + "a" * 64) is None


SHEET = Path(__file__).parents[4] / "shared/protocols/hyperliquid.md"


@pytest.mark.skipif(not SHEET.is_file(), reason="the protocol sheet is not beside this checkout")
def test_every_text_of_the_protocol_sheet_is_known() -> None:
    section = SHEET.read_text().split("### 4.6")[1].split("### 4.7")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    texts = [text for row in rows for text in re.findall(r"`([^`]+)`", row)]
    assert len(texts) > 40
    assert [text for text in texts if classify_error(text).code == VENUE_OTHER] == []
