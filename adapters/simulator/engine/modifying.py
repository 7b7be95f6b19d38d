"""Modifying orders: cancel and replace, with its two failure shapes (sheet 4.2)."""

from __future__ import annotations

from . import errors
from .accounts import Account
from .answers import default_answer, entry_error, placed, statuses
from .checks import alo_refusal, payload_refusal
from .desk import OrderDesk
from .errors import ActionError, Refusal
from .markets import Market
from .matching import Matcher, Outcome
from .orders import ALO, GTC, Order, OrderRequest
from .parsing import Json, as_list, as_object, as_oid_or_cloid, member, optional_flag, parse_order
from .state import VenueState

MODIFY_MISMATCH_TEXT = "Modify must keep the asset and the side of the order"
MODIFY_TRIGGER_TEXT = "Modify to a trigger order or an order that executes at once is not allowed"


class ModifyActions:
    def __init__(self, state: VenueState, desk: OrderDesk, matcher: Matcher) -> None:
        self._state = state
        self._desk = desk
        self._matcher = matcher

    def modify(self, account: Account, action: Json) -> Json:
        allowed = optional_flag(action, "a")
        target = as_oid_or_cloid(member(action, "oid"))
        request = parse_order(member(action, "order"))
        answer = self._modify_one(account, target, request, allowed)
        if isinstance(answer, dict) and "error" in answer:
            raise ActionError(str(answer["error"]))
        return default_answer()

    def batch_modify(self, account: Account, action: Json) -> Json:
        allowed = optional_flag(action, "a")
        changes = []
        for value in as_list(member(action, "modifies")):
            entry = as_object(value)
            changes.append((as_oid_or_cloid(member(entry, "oid")), parse_order(member(entry, "order"))))
        return statuses(
            "order",
            [self._modify_one(account, target, request, allowed) for target, request in changes],
        )

    def _modify_one(
        self, account: Account, target: int | str, request: OrderRequest, allowed: bool
    ) -> object:
        """Cancel and replace. What is refused before the cancel leaves the old order alone (4.2)."""
        old = (
            account.orders_by_cloid.get(target)
            if isinstance(target, str)
            else account.live_orders.get(target)
        )
        if old is None or not old.is_live:
            return entry_error(errors.CANNOT_MODIFY_TEXT)
        market = self._state.universe.by_asset.get(request.asset)
        refusal = payload_refusal(request, market, is_position_tpsl=old.is_position_tpsl)
        if refusal is not None:
            return entry_error(refusal.text, request.asset)
        if old.market.asset != request.asset or old.is_buy is not request.is_buy:
            return entry_error(MODIFY_MISMATCH_TEXT, request.asset)
        restricted = self._state.options.strict_modify and not allowed
        if restricted and request.tif not in (ALO, GTC):
            return entry_error(MODIFY_TRIGGER_TEXT, request.asset)
        replacement = self._matcher.new_order(
            account, old.market, request, builder=old.builder, is_position_tpsl=old.is_position_tpsl
        )
        siblings = list(old.siblings)
        parent = old.parent
        if request.trigger is None:
            replacement.children, old.children = old.children, []
            for child in replacement.children:
                child.parent = replacement
        self._desk.end(old, "canceled")
        outcome = self._place_replacement(replacement, old.market, request, parent, restricted)
        if outcome is not None:
            for child in list(replacement.children):
                self._desk.end(child, "canceled")
            replacement.children = []
            return entry_error(errors.MODIFY_LEG_FAILED_TEXT + outcome.text, request.asset)
        for sibling in siblings:
            if request.trigger is not None and sibling.is_live:
                sibling.siblings.append(replacement)
                replacement.siblings.append(sibling)
        return placed(Outcome(replacement, None), self._state.options)

    def _place_replacement(
        self,
        replacement: Order,
        market: Market,
        request: OrderRequest,
        parent: Order | None,
        restricted: bool,
    ) -> Refusal | None:
        """Places the second leg of a modify; None if it stands."""
        if parent is not None and request.trigger is not None and parent.is_live:
            return self._matcher.place_child(replacement, parent)
        if restricted and market.book.would_match(request.is_buy, request.limit_px):
            refusal = alo_refusal(market)
            self._desk.refuse(replacement, refusal)
            return refusal
        return self._matcher.place(replacement).refusal
