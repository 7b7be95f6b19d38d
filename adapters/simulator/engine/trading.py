"""Placing and cancelling by action: order, cancel, cancelByCloid (sheet 4.1 to 4.5)."""

from __future__ import annotations

from . import errors, fees
from .accounts import Account
from .answers import entry_error, placed, statuses
from .checks import early_refusals, payload_refusal
from .desk import OrderDesk
from .errors import ActionError, Refusal, Unprocessable
from .markets import SpotMarket
from .matching import Matcher
from .orders import ALO, BuilderFee, Order, OrderRequest, Place
from .parsing import (
    Json,
    as_cloid,
    as_list,
    as_object,
    count_member,
    member,
    optional_flag,
    parse_builder,
    parse_order,
)
from .state import VenueState


class TradingActions:
    def __init__(self, state: VenueState, desk: OrderDesk, matcher: Matcher) -> None:
        self._state = state
        self._desk = desk
        self._matcher = matcher

    # -- order --------------------------------------------------------------------------------------------

    def order(self, account: Account, action: Json) -> Json:
        requests = [parse_order(entry) for entry in as_list(member(action, "orders"))]
        grouping = member(action, "grouping")
        builder = parse_builder(action)
        self._check_batch(requests, grouping)
        self._check_builder(account, requests, builder)
        refusal = self._pre_validate(requests, grouping)
        if refusal is not None:
            if self._state.options.pre_validation_answer == "top_level":
                raise ActionError(refusal.text)
            return statuses("order", [entry_error(refusal.text)])
        refusal = self._family_refusal(requests, grouping)
        if refusal is not None:
            return statuses("order", [entry_error(refusal.text, request.asset) for request in requests])
        if grouping == "normalTpsl":
            return statuses("order", self._place_family(account, requests, builder))
        if grouping == "positionTpsl":
            return statuses("order", self._place_position_tpsl(account, requests, builder))
        return statuses("order", [self._place_single(account, request, builder) for request in requests])

    def _check_batch(self, requests: list[OrderRequest], grouping: object) -> None:
        if not requests:
            raise ActionError("Action has no orders.")
        if grouping in ("na", "normalTpsl", "positionTpsl"):
            return
        if set(as_object(grouping)) != {"p"}:
            raise Unprocessable
        count_member(as_object(grouping), "p")
        all_ioc = all(request.tif == "Ioc" for request in requests)
        all_alo = all(request.tif == ALO and not request.reduce_only for request in requests)
        if not (all_ioc or all_alo):
            raise ActionError("Priority rate requires all orders to be IOC, or ALO and not reduce-only.")

    def _check_builder(
        self, account: Account, requests: list[OrderRequest], builder: BuilderFee | None
    ) -> None:
        if builder is None:
            return
        if account.vault is not None:
            raise ActionError("Vault may not perform this action.")
        for request in requests:
            is_spot = isinstance(self._state.universe.by_asset.get(request.asset), SpotMarket)
            if builder.tenths_bp > (fees.MAX_BUILDER_SPOT if is_spot else fees.MAX_BUILDER_PERP):
                raise ActionError("Builder fee is too high.")
        # Approvals are the master's: a sub-account trades under them (sheet 3.5).
        approver = account if account.master is None else self._state.accounts[account.master]
        if builder.tenths_bp > approver.builder_fees.get(builder.address, 0):
            raise ActionError("Builder fee has not been approved.")

    def _pre_validate(self, requests: list[OrderRequest], grouping: object) -> Refusal | None:
        """The first refusal by payload alone, if the options let it reject the whole action."""
        rejecting = self._state.options.pre_validated
        found = self._family_refusal(requests, grouping)
        if found is not None and found.text in rejecting:
            return found
        for request in requests:
            market = self._state.universe.by_asset.get(request.asset)
            for refusal in early_refusals(request, market, is_position_tpsl=grouping == "positionTpsl"):
                if refusal.text in rejecting:
                    return refusal
        return None

    def _family_refusal(self, requests: list[OrderRequest], grouping: object) -> Refusal | None:
        if grouping == "normalTpsl":
            children = requests[1:]
            kinds = [request.trigger.is_take_profit for request in children if request.trigger is not None]
            if not 1 <= len(children) <= 2 or len(kinds) != len(children) or len(set(kinds)) != len(kinds):
                return errors.TRIGGER_COUNT
            if requests[0].trigger is not None or any(
                child.asset != requests[0].asset or child.is_buy is requests[0].is_buy for child in children
            ):
                return errors.TRIGGER_COUNT
        elif grouping == "positionTpsl":
            children = requests
            if any(request.trigger is None for request in requests) or len(requests) > 2:
                return errors.TRIGGER_COUNT
        else:
            return None
        return None if all(child.reduce_only for child in children) else errors.TPSL_NOT_REDUCE_ONLY

    def _payload_refusal(self, request: OrderRequest, *, is_position_tpsl: bool) -> Refusal | None:
        market = self._state.universe.by_asset.get(request.asset)
        return payload_refusal(request, market, is_position_tpsl=is_position_tpsl)

    def _place_single(self, account: Account, request: OrderRequest, builder: BuilderFee | None) -> object:
        refusal = self._payload_refusal(request, is_position_tpsl=False)
        if refusal is not None:
            return entry_error(refusal.text, request.asset)
        market = self._state.universe.by_asset[request.asset]
        order = self._matcher.new_order(account, market, request, builder=builder)
        return placed(self._matcher.place(order), self._state.options)

    def _place_family(
        self, account: Account, requests: list[OrderRequest], builder: BuilderFee | None
    ) -> list[object]:
        """A parent and the TP/SL children that arm when it is filled."""
        for request in requests:
            refusal = self._payload_refusal(request, is_position_tpsl=False)
            if refusal is not None:
                return [entry_error(refusal.text, entry.asset) for entry in requests]
        market = self._state.universe.by_asset[requests[0].asset]
        parent = self._matcher.new_order(account, market, requests[0], builder=builder)
        children = [
            self._matcher.new_order(account, market, request, builder=builder) for request in requests[1:]
        ]
        # The children are attached first, so that a parent that fills at once finds them.
        refusals = [self._matcher.adopt(child, parent) for child in children]
        outcome = self._matcher.place(parent)
        if outcome.refusal is not None:
            return [entry_error(outcome.refusal.text, market.asset)] * len(requests)
        answers: list[object] = [placed(outcome, self._state.options)]
        for child, refusal in zip(children, refusals, strict=True):
            if refusal is not None:
                self._desk.refuse(child, refusal)
                answers.append(entry_error(refusal.text, market.asset))
                continue
            if parent.is_live:
                self._desk.wait_for_parent(child)
            answers.append("waitingForTrigger" if child.place is Place.ARMED else "waitingForFill")
        return answers

    def _place_position_tpsl(
        self, account: Account, requests: list[OrderRequest], builder: BuilderFee | None
    ) -> list[object]:
        answers: list[object] = []
        standing: list[Order] = []
        for request in requests:
            refusal = self._payload_refusal(request, is_position_tpsl=True)
            if refusal is not None:
                answers.append(entry_error(refusal.text, request.asset))
                continue
            market = self._state.universe.by_asset[request.asset]
            order = self._matcher.new_order(account, market, request, builder=builder, is_position_tpsl=True)
            outcome = self._matcher.place(order)
            if outcome.refusal is None:
                standing.append(order)
                answers.append("waitingForTrigger")
            else:
                answers.append(entry_error(outcome.refusal.text, request.asset))
        for order in standing:
            order.siblings = [other for other in standing if other is not order]
        return answers

    # -- cancel -------------------------------------------------------------------------------------------

    def cancel(self, account: Account, action: Json) -> Json:
        fast = optional_flag(action, "f")
        targets = []
        for value in as_list(member(action, "cancels")):
            entry = as_object(value)
            targets.append((count_member(entry, "a"), count_member(entry, "o")))
        return statuses(
            "cancel",
            [self._cancel_one(account, asset, account.live_orders.get(oid), fast) for asset, oid in targets],
        )

    def cancel_by_cloid(self, account: Account, action: Json) -> Json:
        fast = optional_flag(action, "f")
        targets = []
        for value in as_list(member(action, "cancels")):
            entry = as_object(value)
            targets.append((count_member(entry, "asset"), as_cloid(member(entry, "cloid"))))
        return statuses(
            "cancel",
            [
                self._cancel_one(account, asset, account.orders_by_cloid.get(cloid), fast)
                for asset, cloid in targets
            ],
        )

    def _cancel_one(self, account: Account, asset: int, order: Order | None, fast: bool) -> object:
        if order is None or not order.is_live or order.market.asset != asset:
            return entry_error(errors.MISSING_ORDER_TEXT, asset)
        if fast and order.waits_for_trigger:
            return entry_error("Fast cancel is not available for trigger orders.", asset)
        self._desk.end(order, "canceled")
        return "success"


def entries_of(action: Json) -> int:
    """How many requests an action counts for in budgets and limits (sheet 9.2): its entries, at least one."""
    for key in ("orders", "cancels", "modifies"):
        value = action.get(key)
        if isinstance(value, list):
            return max(1, len(value))
    return 1


def puts_taker_on_book(action: Json) -> bool:
    """True if an order of the action can take: it is executed last in its block (sheet 4.7)."""
    entries = [entry for entry in _order_entries(action) if isinstance(entry, dict)]
    limits = [
        kind["limit"] for entry in entries if isinstance(kind := entry.get("t"), dict) and "limit" in kind
    ]
    return any(isinstance(limit, dict) and limit.get("tif") != ALO for limit in limits)


def _order_entries(action: Json) -> list[object]:
    if isinstance(orders := action.get("orders"), list):
        return orders
    if isinstance(modifies := action.get("modifies"), list):
        return [entry.get("order") for entry in modifies if isinstance(entry, dict)]
    return [action.get("order")]
