"""`Account`: what happens to an account besides its orders, as events of one aggregate."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from domain.enums import RequestOutcome
from domain.events import (
    AccountActionRequested,
    AccountActionSettled,
    AccountBalanceAsserted,
    AccountDiscrepancyFound,
    AccountDiscrepancyRepaired,
    AccountDiscrepancyWaived,
    AccountEvent,
    AccountFillBooked,
    AccountFillCorrected,
    AccountFundingBooked,
    AccountLedgerUpdateBooked,
    AccountLeverageChanged,
    AccountLiquidationNoticed,
    AccountMessageKept,
    AccountOpened,
    AccountPositionAsserted,
    Fill,
)
from domain.updates import Change, FundingUpdate, PositionUpdate, Stamp

__all__ = ["Account", "account_id"]

_KEPT_MESSAGE_MAX = 4_000
_KEPT_MESSAGES_REMEMBERED = 200
_KEYS_MAX = 20_000
"""How many of the latest keys are remembered: far more than a venue repeats unasked."""


def account_id(venue: str, address: str) -> str:
    """The aggregate id of an account."""
    return f"account:{venue}:{address}"


class Account:
    """Emits account events and remembers the keys of those that must be booked once.

    `changes` is the list the core collects its events in; account events take their place in it.
    """

    def __init__(self, *, venue: str, address: str, changes: list[Change]) -> None:
        self.venue = venue
        self.address = address
        self.id = account_id(venue, address)
        self.version = 0
        self.stamp: Stamp | None = None
        self.is_open = False
        self.duplicates_ignored = 0
        self._changes = changes
        self._funding_keys: OrderedDict[str, None] = OrderedDict()
        self._fill_keys: OrderedDict[str, None] = OrderedDict()
        self._ledger_update_keys: OrderedDict[str, None] = OrderedDict()
        self._kept_messages: OrderedDict[str, None] = OrderedDict()
        self._liquidations: OrderedDict[str, None] = OrderedDict()
        self._unsettled: dict[str, None] = {}

    def restore(
        self,
        version: int,
        funding_keys: Iterable[str],
        fill_keys: Iterable[str],
        *,
        is_open: bool,
        ledger_update_keys: Iterable[str] = (),
        unsettled_discrepancies: Iterable[str] = (),
    ) -> None:
        """Continue after `version`, with the keys that were booked last, oldest first, and the discrepancies
        that were found and not repaired since (waived ones included)."""
        self.version = version
        self.is_open = is_open
        self._unsettled = dict.fromkeys(unsettled_discrepancies)
        for key in funding_keys:
            _remember(self._funding_keys, key)
        for key in fill_keys:
            _remember(self._fill_keys, key)
        for key in ledger_update_keys:
            _remember(self._ledger_update_keys, key)

    def open(self, network: str, signer: str, exchange_time_ms: int) -> None:
        """The books begin, at this venue time (once in the life of a ledger)."""
        assert not self.is_open, "an account is opened once"
        self.is_open = True
        self._emit(AccountOpened, network=network, signer=signer, exchange_time_ms=exchange_time_ms)

    def has_fill(self, fill_key: str) -> bool:
        """Whether this fill is among those booked lately."""
        return fill_key in self._fill_keys

    def book_fill(self, fill: Fill) -> bool:
        """A fill that no order explains: liquidation, auto-deleveraging, settlement. Once per fill key."""
        if fill.fill_key in self._fill_keys:
            self.duplicates_ignored += 1
            return False
        _remember(self._fill_keys, fill.fill_key)
        self._emit(AccountFillBooked, fill=fill, exchange_time_ms=fill.exchange_time_ms)
        return True

    def correct_fill(self, was: Fill, now: Fill | None, *, reason_code: str, discrepancy_id: str) -> None:
        """A booked fill that belongs to no order is not what the venue's history says; None: it never was."""
        self._emit(
            AccountFillCorrected,
            was=was,
            now=now,
            reason_code=reason_code,
            discrepancy_id=discrepancy_id,
            exchange_time_ms=was.exchange_time_ms,
        )
        if now is None:
            # Should the venue tell it after all, it is booked.
            self._fill_keys.pop(was.fill_key, None)

    def has_funding(self, funding_key: str) -> bool:
        """Whether this payment is among those booked lately."""
        return funding_key in self._funding_keys

    def book_funding(self, update: FundingUpdate) -> bool:
        """A funding payment, once per key. Two payments of one instant have two keys."""
        if update.funding_key in self._funding_keys:
            self.duplicates_ignored += 1
            return False
        _remember(self._funding_keys, update.funding_key)
        self._emit(
            AccountFundingBooked,
            funding_key=update.funding_key,
            trading_pair=update.trading_pair,
            amount=update.amount,
            token=update.token,
            rate=update.rate,
            position_size=update.position_size,
            exchange_time_ms=update.exchange_time_ms,
        )
        return True

    def has_ledger_update(self, update_key: str) -> bool:
        """Whether this transfer is among those booked lately."""
        return update_key in self._ledger_update_keys

    def book_ledger_update(
        self,
        *,
        update_key: str,
        kind: str,
        amount: Decimal | None,
        token: str,
        detail: str,
        exchange_time_ms: int,
    ) -> bool:
        """Money moved without a trade, once per key. `detail` is the venue's own record (JSON)."""
        if update_key in self._ledger_update_keys:
            self.duplicates_ignored += 1
            return False
        _remember(self._ledger_update_keys, update_key)
        self._emit(
            AccountLedgerUpdateBooked,
            update_key=update_key,
            kind=kind,
            amount=amount,
            token=token,
            detail=detail,
            exchange_time_ms=exchange_time_ms,
        )
        return True

    def action_requested(
        self, action: str, detail: str, *, nonce: int, expires_at_ms: int | None = None
    ) -> None:
        """A request that concerns no order is about to leave."""
        self._emit(
            AccountActionRequested, action=action, detail=detail, nonce=nonce, expires_at_ms=expires_at_ms
        )

    def action_settled(
        self, action: str, nonce: int, outcome: RequestOutcome, reason_code: str = "", reason: str = ""
    ) -> None:
        """What the answer to it says, or that there is none."""
        self._emit(
            AccountActionSettled,
            action=action,
            nonce=nonce,
            outcome=outcome,
            reason_code=reason_code,
            reason=reason,
        )

    def leverage_changed(self, trading_pair: str, leverage: int, is_cross: bool) -> None:
        self._emit(AccountLeverageChanged, trading_pair=trading_pair, leverage=leverage, is_cross=is_cross)

    def assert_position(
        self,
        update: PositionUpdate,
        *,
        opening: bool = False,
        adjustment: bool = False,
        discrepancy_id: str = "",
        exchange_time_ms: int | None = None,
    ) -> None:
        """Record what the venue says the position is; see `AccountPositionAsserted`."""
        self._emit(
            AccountPositionAsserted,
            trading_pair=update.trading_pair,
            amount=update.amount,
            entry_price=update.entry_price,
            opening=opening,
            adjustment=adjustment,
            discrepancy_id=discrepancy_id,
            exchange_time_ms=exchange_time_ms,
        )

    def assert_balance(
        self,
        token: str,
        amount: Decimal,
        *,
        opening: bool = False,
        adjustment: bool = False,
        discrepancy_id: str = "",
        exchange_time_ms: int | None = None,
    ) -> None:
        """Record what the venue says the cash of the account is; see `AccountBalanceAsserted`."""
        self._emit(
            AccountBalanceAsserted,
            token=token,
            amount=amount,
            opening=opening,
            adjustment=adjustment,
            discrepancy_id=discrepancy_id,
            exchange_time_ms=exchange_time_ms,
        )

    # -- discrepancies -------------------------------------------------------------------------------------

    def is_unsettled(self, discrepancy_id: str) -> bool:
        """Whether this discrepancy was found before and never repaired; waived ones stay so for good."""
        return discrepancy_id in self._unsettled

    @property
    def unsettled_discrepancies(self) -> tuple[str, ...]:
        """The ids of those found and not repaired, oldest first."""
        return tuple(self._unsettled)

    def discrepancy_found(
        self,
        discrepancy_id: str,
        *,
        kind: str,
        subject: str,
        trading_pair: str,
        ours: str,
        theirs: str,
        explanation: str,
        evidence: str,
    ) -> bool:
        """The books and the venue differ. Recorded once until it is repaired; returns whether it was news."""
        if discrepancy_id in self._unsettled:
            self.duplicates_ignored += 1
            return False
        self._unsettled[discrepancy_id] = None
        self._emit(
            AccountDiscrepancyFound,
            discrepancy_id=discrepancy_id,
            kind=kind,
            subject=subject,
            trading_pair=trading_pair,
            ours=ours,
            theirs=theirs,
            explanation=explanation,
            evidence=evidence,
        )
        return True

    def discrepancy_repaired(
        self, discrepancy_id: str, *, reason: str, actor: str, repairs: tuple[str, ...] = ()
    ) -> None:
        """Its repair is in the log; the same difference would be a new finding."""
        self._unsettled.pop(discrepancy_id, None)
        self._emit(
            AccountDiscrepancyRepaired,
            discrepancy_id=discrepancy_id,
            reason=reason,
            actor=actor,
            repairs=repairs,
        )

    def discrepancy_waived(self, discrepancy_id: str, *, reason: str, actor: str) -> None:
        """It is left as it is, and not reported again while it stays the same."""
        self._unsettled[discrepancy_id] = None
        self._emit(AccountDiscrepancyWaived, discrepancy_id=discrepancy_id, reason=reason, actor=actor)

    def notice_liquidation(self, detail: str) -> bool:
        """Record that the venue liquidates the account, in its own words; once, however often it says so."""
        if detail in self._liquidations:
            self.duplicates_ignored += 1
            return False
        _remember(self._liquidations, detail, _KEPT_MESSAGES_REMEMBERED)
        self._emit(AccountLiquidationNoticed, detail=detail)
        return True

    def keep_message(self, why: str, message: str) -> bool:
        """Keep what could not be understood (its first 4,000 characters). What a venue repeats word for word,
        as it does with every list it is asked for again, is kept once and counted."""
        message = message[:_KEPT_MESSAGE_MAX]
        if message in self._kept_messages:
            self.duplicates_ignored += 1
            return False
        _remember(self._kept_messages, message, _KEPT_MESSAGES_REMEMBERED)
        self._emit(AccountMessageKept, why=why, message=message)
        return True

    def _emit(self, event_type: type[AccountEvent], **members: Any) -> None:
        stamp = self.stamp
        assert stamp is not None, "an input stamps the account before anything happens"
        self.version += 1
        event = event_type(
            originator_id=self.id,
            originator_version=self.version,
            recorded_at_ns=stamp.at_ns,
            venue=self.venue,
            account=self.address,
            source=stamp.source,
            causation=stamp.causation,
            **members,
        )
        self._changes.append(Change(event, None))


def _remember(keys: OrderedDict[str, None], key: str, at_most: int = _KEYS_MAX) -> None:
    keys[key] = None
    if len(keys) > at_most:
        keys.popitem(last=False)
