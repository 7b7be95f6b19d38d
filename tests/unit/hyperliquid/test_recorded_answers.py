"""What the venue really answered, between 2023 and 2025, goes through the connector's readers whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.hyperliquid.messages import HyperliquidMessages, Kept, read_role
from adapters.hyperliquid.symbols import SymbolMap
from domain.fill_chain import order_fills_by_start_position
from domain.position import Position
from domain.updates import FundingUpdate, OrderUpdate, TradeUpdate

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "hyperliquid" / "info"
pytestmark = pytest.mark.skipif(
    not RECORDED.is_dir(), reason="the recorded answers are not beside the checkout"
)


def answers(name: str) -> list[Any]:
    return [entry["response"] for entry in json.loads((RECORDED / name).read_text())]


def messages() -> HyperliquidMessages:
    meta = json.dumps(answers("get_info.json")[0]).encode()
    return HyperliquidMessages(SymbolMap.from_json(meta), "0x" + "0" * 40)


LISTS: dict[str, tuple[str, type]] = {
    "get_user_fills_by_time.json": ("read_fills", TradeUpdate),
    "get_open_orders.json": ("read_open_orders", OrderUpdate),
    "user_funding_history_with_end_time.json": ("read_fundings", FundingUpdate),
    "user_funding_history_without_end_time.json": ("read_fundings", FundingUpdate),
}


@pytest.mark.parametrize("name", LISTS)
def test_every_row_of_a_recorded_list_is_read(name: str) -> None:
    method, kind = LISTS[name]
    for answer in answers(name):
        items = getattr(messages(), method)(json.dumps(answer).encode())
        assert len(items) == len(answer)
        assert [item for item in items if isinstance(item, Kept)] == []
        assert all(isinstance(item, kind) for item in items)


def test_a_recorded_account_state_is_read() -> None:
    for answer in answers("get_user_state.json"):
        state = messages().read_account_state(json.dumps(answer).encode())
        assert len(state.positions) == len(answer["assetPositions"])


def test_recorded_roles_and_transfers_are_read() -> None:
    assert [read_role(json.dumps(answer).encode())[0] for answer in answers("user_role.json")] == ["vault"]
    for name in (
        "user_non_funding_ledger_updates_with_end_time.json",
        "user_non_funding_ledger_updates_without_end_time.json",
    ):
        for answer in answers(name):
            items = messages().read_transfers(json.dumps(answer).encode())
            assert len(items) == len(answer)
            assert not any(isinstance(item, Kept) for item in items)


FRAMES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "get_l2_snapshot.json": lambda answer: {"channel": "l2Book", "data": {"time": 1, **answer}},
    "get_all_mids.json": lambda answer: {"channel": "allMids", "data": {"mids": answer}},
    "get_user_fills_by_time.json": lambda answer: {
        "channel": "userFills",
        "data": {"user": "0x0", "isSnapshot": True, "fills": answer},
    },
    "extra_agents.json": lambda answer: {"channel": "notification", "data": answer},
    "get_funding_history_1684811870000.json": lambda answer: {"channel": "fundingHistory", "data": answer},
    "get_funding_history_None.json": lambda answer: {"channel": "fundingHistory", "data": answer},
    "user_rate_limit.json": lambda answer: {"channel": "userRateLimit", "data": answer},
    "user_twap_slice_fills.json": lambda answer: {"channel": "userTwapSliceFills", "data": answer},
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_recorded_answer_in_a_frame_never_troubles_the_reader(name: str) -> None:
    for answer in answers(name):
        items = messages().read_frame(msgspec.json.encode(FRAMES[name](answer)))
        assert not any(isinstance(item, Kept) for item in items)


def test_every_recorded_file_is_covered() -> None:
    covered = {*LISTS, *FRAMES, "get_info.json", "get_user_state.json", "user_role.json"}
    covered |= {f"user_non_funding_ledger_updates_{kind}_end_time.json" for kind in ("with", "without")}
    assert {path.name for path in RECORDED.glob("*.json")} == covered


def test_positions_folded_from_the_recorded_fills_follow_the_venues_own_chain() -> None:
    """Self-trades of 2023 show as two legs that start from the same position; the chain counts them once."""
    fills = [
        item.fill
        for item in messages().read_fills(json.dumps(answers("get_user_fills_by_time.json")[0]).encode())
    ]  # type: ignore[union-attr]
    for pair in sorted({fill.trading_pair for fill in fills}):
        chain = order_fills_by_start_position([fill for fill in fills if fill.trading_pair == pair])
        gaps = {gap.index for gap in chain.gaps}
        assert len(gaps) <= (1 if pair == "SUI-USD" else 0)
        position = Position(trading_pair=pair)
        start = chain.fills[0].start_position
        assert start is not None
        position.assert_opening(start, None)
        for index, fill in enumerate(chain.fills):
            if index in gaps and fill.start_position is not None:
                position.assert_opening(fill.start_position, None)
            applied = position.apply_fill(fill.price, fill.amount, fill.trade_type)
            twin = index and fill.start_position == chain.fills[index - 1].start_position
            if not twin:
                assert applied.start_amount == fill.start_position, (pair, index)
