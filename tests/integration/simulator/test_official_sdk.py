"""The official client, unmodified but for its base URL, agrees with the simulator on every number.

What is expected is computed here in Decimal from what the client was told, and compared with what the venue
says.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.info import Info
from hyperliquid.utils.error import ClientError
from hyperliquid.utils.types import Cloid

from adapters.simulator.app import SimulatorOptions
from adapters.simulator.engine import VenueOptions
from tests.support.simulator import SimulatorThread, a_venue, running_simulator

WALLET = Account.from_key("0x" + "11" * 32)
ADDRESS = WALLET.address.lower()
FRIEND = "0x" + "22" * 20
DEPOSIT = Decimal(1_000_000)
GTC: Any = {"limit": {"tif": "Gtc"}}
ALO: Any = {"limit": {"tif": "Alo"}}
IOC: Any = {"limit": {"tif": "Ioc"}}
USDC = "USDC:0x6d1e7cde53ba9467b783cb7c530ce054"
HOUR_MS = 3_600_000
PATIENCE_S = 60.0


class Desk:
    """One client of each kind, and the venue they talk to."""

    def __init__(self, sim: SimulatorThread) -> None:
        self.sim = sim
        self.info = Info(sim.url, skip_ws=True, perp_dexs=["", "xyz"])
        self.exchange = Exchange(WALLET, sim.url, perp_dexs=["", "xyz"])

    def ask(self, coin: str, price: str, size: str) -> None:
        """Somebody offers."""
        self.sim.call(lambda sim: sim.trade(coin, is_buy=False, size=Decimal(size), price=Decimal(price)))

    def bid(self, coin: str, price: str, size: str) -> None:
        """Somebody bids."""
        self.sim.call(lambda sim: sim.trade(coin, is_buy=True, size=Decimal(size), price=Decimal(price)))

    def fills(self) -> list[dict[str, Any]]:
        """All fills, oldest first."""
        found: list[dict[str, Any]] = self.info.user_fills_by_time(ADDRESS, 0)
        return found

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = self.info.user_state(ADDRESS)
        return found

    def position(self, coin: str) -> dict[str, Any] | None:
        rows = [row["position"] for row in self.state()["assetPositions"] if row["position"]["coin"] == coin]
        return rows[0] if rows else None


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A fresh venue with no background market: nothing moves but what the test moves."""
    with running_simulator(SimulatorOptions(seed=5, accounts={ADDRESS: DEPOSIT}, venue=a_venue())) as sim:
        yield Desk(sim)


def only(answer: Any) -> Any:
    """The one status of an answer that is ok."""
    assert answer["status"] == "ok", answer
    (status,) = answer["response"]["data"]["statuses"]
    return status


def done(answer: Any) -> None:
    assert answer == {"status": "ok", "response": {"type": "default"}}


def trading_pnl(fills: list[dict[str, Any]]) -> tuple[Decimal, Decimal, Decimal]:
    """Fold fills of one coin by average cost (sheet 10.2): position, entry notional of it, realised PnL."""
    size, cost, realised = Decimal(0), Decimal(0), Decimal(0)
    for fill in fills:
        px, sz = Decimal(fill["px"]), Decimal(fill["sz"])
        signed = sz if fill["side"] == "B" else -sz
        assert Decimal(fill["startPosition"]) == size
        if size * signed >= 0:
            cost += signed * px
        else:
            closed = min(abs(signed), abs(size))
            entry = cost / size
            pnl = (px - entry) * closed * (1 if size > 0 else -1)
            assert abs(Decimal(fill["closedPnl"]) - pnl) < Decimal("0.000001")
            realised += Decimal(fill["closedPnl"])
            left = abs(signed) - closed
            cost = (
                cost - entry * closed * (1 if size > 0 else -1)
                if not left
                else left * px * signed / abs(signed)
            )
        size += signed
    return size, cost, realised


def test_an_order_is_placed_listed_queried_and_cancelled_by_both_ids(desk: Desk) -> None:
    cloid = Cloid.from_int(77)
    placed = only(desk.exchange.order("ETH", True, 0.5, 2200.5, GTC, cloid=cloid))["resting"]
    assert placed["cloid"] == cloid.to_raw()
    (listed,) = desk.info.open_orders(ADDRESS)
    assert (listed["oid"], listed["coin"], listed["limitPx"], listed["sz"]) == (
        placed["oid"],
        "ETH",
        "2200.5",
        "0.5",
    )
    (shown,) = desk.info.frontend_open_orders(ADDRESS)
    assert (shown["orderType"], shown["tif"], shown["cloid"]) == ("Limit", "Gtc", cloid.to_raw())
    by_oid = desk.info.query_order_by_oid(ADDRESS, placed["oid"])
    assert by_oid == desk.info.query_order_by_cloid(ADDRESS, cloid)
    assert by_oid["order"]["status"] == "open"
    assert only(desk.exchange.cancel("ETH", placed["oid"])) == "success"
    assert desk.info.query_order_by_oid(ADDRESS, placed["oid"])["order"]["status"] == "canceled"
    error = only(desk.exchange.cancel("ETH", placed["oid"]))["error"]
    assert error.startswith("Order was never placed, already canceled, or filled.")
    only(desk.exchange.order("ETH", True, 0.5, 2200.5, GTC, cloid=Cloid.from_int(78)))
    assert only(desk.exchange.cancel_by_cloid("ETH", Cloid.from_int(78))) == "success"
    assert desk.info.open_orders(ADDRESS) == []


def test_batches_are_placed_modified_and_cancelled_entry_by_entry(desk: Desk) -> None:
    requests: Any = [
        {
            "coin": coin,
            "is_buy": True,
            "sz": size,
            "limit_px": price,
            "order_type": ALO,
            "reduce_only": False,
            "cloid": Cloid.from_int(number),
        }
        for number, (coin, size, price) in enumerate(
            [("BTC", 0.01, 42000), ("ETH", 0.2, 2200.1), ("SOL", 3, 97.5)], 1
        )
    ]
    answer = desk.exchange.bulk_orders(requests)
    oids = [status["resting"]["oid"] for status in answer["response"]["data"]["statuses"]]
    assert len(set(oids)) == 3
    modifies: Any = [
        {"oid": oids[0], "order": {**requests[0], "limit_px": 42001}},
        {"oid": Cloid.from_int(2), "order": {**requests[1], "sz": 0.3}},
        {"oid": 12345, "order": requests[2]},
    ]
    answer = desk.exchange.bulk_modify_orders_new(modifies)
    moved, resized, refused = answer["response"]["data"]["statuses"]
    assert refused["error"].startswith("Cannot modify canceled or filled order")
    assert moved["resting"]["oid"] not in oids
    rows = {row["coin"]: row for row in desk.info.open_orders(ADDRESS)}
    assert (rows["BTC"]["oid"], rows["BTC"]["limitPx"]) == (moved["resting"]["oid"], "42001.0")
    assert (rows["ETH"]["oid"], rows["ETH"]["sz"]) == (resized["resting"]["oid"], "0.3")
    assert desk.info.query_order_by_oid(ADDRESS, oids[0])["order"]["status"] == "canceled"
    single = only(desk.exchange.modify_order(oids[2], "SOL", True, 3, 97.6, ALO, cloid=Cloid.from_int(3)))
    cancels: Any = [
        {"coin": "BTC", "oid": rows["BTC"]["oid"]},
        {"coin": "SOL", "oid": single["resting"]["oid"]},
    ]
    assert desk.exchange.bulk_cancel(cancels)["response"]["data"]["statuses"] == ["success", "success"]
    by_cloid: Any = [{"coin": "ETH", "cloid": Cloid.from_int(2)}, {"coin": "ETH", "cloid": Cloid.from_int(9)}]
    gone, unknown = desk.exchange.bulk_cancel_by_cloid(by_cloid)["response"]["data"]["statuses"]
    assert gone == "success"
    assert "error" in unknown
    assert desk.info.open_orders(ADDRESS) == []


def test_fills_fees_position_and_balance_add_up(desk: Desk) -> None:
    desk.exchange.update_leverage(10, "ETH")
    desk.ask("ETH", "2300", "1.5")
    desk.ask("ETH", "2301.5", "0.5")
    opened = only(desk.exchange.order("ETH", True, 2.0, 2310, IOC))["filled"]
    assert Decimal(opened["avgPx"]) == (Decimal("1.5") * 2300 + Decimal("0.5") * Decimal("2301.5")) / 2
    only(desk.exchange.order("ETH", False, 0.7, 2350, GTC))
    desk.bid("ETH", "2350", "0.7")
    desk.bid("ETH", "2290", "5")
    only(desk.exchange.order("ETH", False, 3.0, 2250, IOC))
    fills = desk.fills()
    assert [fill["crossed"] for fill in fills] == [True, True, False, True]
    assert [fill["dir"] for fill in fills] == ["Open Long", "Open Long", "Close Long", "Long > Short"]
    size, cost, realised = trading_pnl(fills)
    rates = desk.info.user_fees(ADDRESS)
    fees = Decimal(0)
    for fill in fills:
        rate = Decimal(rates["userCrossRate"] if fill["crossed"] else rates["userAddRate"])
        exact = Decimal(fill["px"]) * Decimal(fill["sz"]) * rate
        assert Decimal(fill["fee"]) == exact.quantize(Decimal("0.000001"), rounding="ROUND_DOWN")
        assert fill["feeToken"] == "USDC"
        fees += Decimal(fill["fee"])
    desk.sim.call(lambda sim: sim.set_mark_price("ETH", Decimal("2280.5")))
    position = desk.position("ETH")
    assert position is not None
    assert Decimal(position["szi"]) == size == Decimal("-1.7")
    assert Decimal(position["entryPx"]) == cost / size == Decimal(2290)
    unrealised = size * Decimal("2280.5") - cost
    assert Decimal(position["unrealizedPnl"]) == unrealised
    assert Decimal(position["positionValue"]) == abs(size) * Decimal("2280.5")
    assert Decimal(position["marginUsed"]) == abs(size) * Decimal("2280.5") / 10
    state = desk.state()
    equity = DEPOSIT + realised - fees + unrealised
    assert Decimal(state["marginSummary"]["accountValue"]) == equity
    assert Decimal(state["marginSummary"]["totalRawUsd"]) == equity - size * Decimal("2280.5")
    assert Decimal(state["withdrawable"]) == equity - abs(size) * Decimal("2280.5") / 10
    assert Decimal(desk.info.user_rate_limit(ADDRESS)["cumVlm"]) == sum(
        (Decimal(fill["px"]) * Decimal(fill["sz"]) for fill in fills), Decimal(0)
    )


def test_market_open_and_close_leave_a_flat_account_and_the_cost_of_it(desk: Desk) -> None:
    desk.ask("BTC", "43220", "1")
    desk.bid("BTC", "43200", "1")
    bought = only(desk.exchange.market_open("BTC", True, 0.02))["filled"]
    sold = only(desk.exchange.market_close("BTC"))["filled"]
    assert (bought["avgPx"], sold["avgPx"], sold["totalSz"]) == ("43220.0", "43200.0", "0.02")
    assert desk.position("BTC") is None
    fees = sum((Decimal(fill["fee"]) for fill in desk.fills()), Decimal(0))
    value = Decimal(desk.state()["marginSummary"]["accountValue"])
    assert value == DEPOSIT - fees - Decimal("0.4")


def test_post_only_ioc_reduce_only_and_trigger_orders_behave_as_documented(desk: Desk) -> None:
    desk.ask("ETH", "2300", "1")
    crossing = only(desk.exchange.order("ETH", True, 1, 2300, ALO))["error"]
    assert crossing.startswith("Post only order would have immediately matched, bbo was ")
    missed = only(desk.exchange.order("ETH", True, 1, 2299, IOC))["error"]
    assert missed.startswith("Order could not immediately match against any resting orders.")
    flat = only(desk.exchange.order("ETH", False, 1, 2300, GTC, reduce_only=True))["error"]
    assert flat.startswith("Reduce only order would increase position.")
    off_tick = only(desk.exchange.order("ETH", True, 1, 2200.55, GTC))["error"]
    assert off_tick.startswith("Price must be divisible by tick size.")
    stop: Any = {"trigger": {"triggerPx": 2200, "isMarket": True, "tpsl": "sl"}}
    only(desk.exchange.order("ETH", True, 1, 2300, IOC))
    oid = only(desk.exchange.order("ETH", False, 1, 2000, stop, reduce_only=True))["resting"]["oid"]
    (shown,) = desk.info.frontend_open_orders(ADDRESS)
    assert (shown["orderType"], shown["isTrigger"], shown["triggerPx"]) == ("Stop Market", True, "2200.0")
    desk.bid("ETH", "2199", "3")
    desk.sim.call(lambda sim: sim.set_mark_price("ETH", Decimal("2199.5")))
    assert desk.position("ETH") is None
    assert desk.info.query_order_by_oid(ADDRESS, oid)["order"]["status"] == "filled"


def test_a_bracket_arms_when_its_parent_fills_and_one_side_cancels_the_other(desk: Desk) -> None:
    def child(price: float, trigger: float, tpsl: str) -> Any:
        return {
            "coin": "ETH",
            "is_buy": False,
            "sz": 1.0,
            "limit_px": price,
            "order_type": {"trigger": {"triggerPx": trigger, "isMarket": True, "tpsl": tpsl}},
            "reduce_only": True,
        }

    parent: Any = {
        "coin": "ETH",
        "is_buy": True,
        "sz": 1.0,
        "limit_px": 2290,
        "order_type": GTC,
        "reduce_only": False,
    }
    answer = desk.exchange.bulk_orders(
        [parent, child(2400, 2400, "tp"), child(2100, 2200, "sl")], grouping="normalTpsl"
    )
    first, *children = answer["response"]["data"]["statuses"]
    assert "resting" in first
    assert children == ["waitingForFill", "waitingForFill"]
    desk.sim.call(lambda sim: sim.fill_order(ADDRESS, first["resting"]["oid"]))
    assert {row["orderType"] for row in desk.info.frontend_open_orders(ADDRESS)} == {
        "Take Profit Market",
        "Stop Market",
    }
    desk.bid("ETH", "2401", "1")
    desk.sim.call(lambda sim: sim.set_mark_price("ETH", Decimal(2400)))
    assert desk.position("ETH") is None
    assert desk.info.open_orders(ADDRESS) == []
    ended = {
        row["order"]["orderType"]: row["status"] for row in reversed(desk.info.historical_orders(ADDRESS))
    }
    assert ended == {
        "Limit": "filled",
        "Take Profit Market": "filled",
        "Stop Market": "siblingFilledCanceled",
    }


def test_leverage_and_isolated_margin_change_what_the_account_shows(desk: Desk) -> None:
    done(desk.exchange.update_leverage(7, "ETH"))
    done(desk.exchange.update_leverage(4, "SOL", is_cross=False))
    desk.ask("SOL", "100", "50")
    only(desk.exchange.order("SOL", True, 20, 100, IOC))
    before = desk.position("SOL")
    assert before is not None
    assert before["leverage"]["type"] == "isolated"
    assert before["leverage"]["value"] == 4
    done(desk.exchange.update_isolated_margin(25.5, "SOL"))
    after = desk.position("SOL")
    assert after is not None
    assert Decimal(after["marginUsed"]) - Decimal(before["marginUsed"]) == Decimal("25.5")
    refused = desk.exchange.update_leverage(4, "SOL", is_cross=True)
    assert refused == {"status": "err", "response": "Cannot switch leverage type with open position."}
    refused = desk.exchange.update_isolated_margin(1, "ETH")
    assert refused == {"status": "err", "response": "Position does not use isolated margin."}


def test_a_scheduled_cancel_takes_all_orders_when_its_time_comes(desk: Desk) -> None:
    only(desk.exchange.order("ETH", True, 1, 2000, GTC))
    only(desk.exchange.order("SOL", True, 1, 90, GTC))
    done(desk.exchange.schedule_cancel(None))
    done(desk.exchange.schedule_cancel(int(time.time() * 1000) + HOUR_MS))
    desk.sim.call(lambda sim: sim.advance(HOUR_MS - 60_000))
    assert len(desk.info.open_orders(ADDRESS)) == 2
    desk.sim.call(lambda sim: sim.advance(120_000))
    assert desk.info.open_orders(ADDRESS) == []
    assert {row["status"] for row in desk.info.historical_orders(ADDRESS)} == {"open", "scheduledCancel"}


def test_money_moves_between_accounts_wallets_and_out_again(desk: Desk) -> None:
    done(desk.exchange.usd_transfer(1000.5, FRIEND))
    done(desk.exchange.usd_class_transfer(250, to_perp=False))
    done(desk.exchange.spot_transfer(40, FRIEND, USDC))
    done(desk.exchange.send_asset(FRIEND, "", "spot", USDC, 9.5))
    done(desk.exchange.withdraw_from_bridge(100, ADDRESS))
    perp = Decimal(desk.state()["marginSummary"]["accountValue"])
    (spot,) = desk.info.spot_user_state(ADDRESS)["balances"]
    (friends_spot,) = desk.info.spot_user_state(FRIEND)["balances"]
    assert perp == DEPOSIT - Decimal("1000.5") - 250 - Decimal("9.5") - 100
    assert (spot["coin"], Decimal(spot["total"])) == ("USDC", Decimal(210))
    assert Decimal(friends_spot["total"]) == Decimal("49.5")
    assert Decimal(desk.info.user_state(FRIEND)["marginSummary"]["accountValue"]) == Decimal("1000.5")
    kinds = [row["delta"]["type"] for row in desk.info.user_non_funding_ledger_updates(ADDRESS, 0)]
    assert sorted(kinds) == sorted(
        ["deposit", "internalTransfer", "accountClassTransfer", "spotTransfer", "send", "withdraw"]
    )
    refused = desk.exchange.usd_transfer(10**9, FRIEND)
    assert refused["status"] == "err"


def test_an_approved_agent_trades_for_its_master(desk: Desk) -> None:
    answer, key = desk.exchange.approve_agent("desk")
    done(answer)
    answer, unnamed = desk.exchange.approve_agent()
    done(answer)
    for secret in (key, unnamed):
        agent = Exchange(Account.from_key(secret), desk.sim.url, account_address=ADDRESS)
        oid = only(agent.order("ETH", True, 1, 2000, GTC))["resting"]["oid"]
        assert [row["oid"] for row in desk.info.open_orders(ADDRESS)] == [oid]
        assert only(agent.cancel("ETH", oid)) == "success"
    (listed,) = desk.info.extra_agents(ADDRESS)
    assert (listed["name"], listed["address"]) == ("desk", Account.from_key(key).address.lower())
    assert desk.info.user_role(listed["address"]) == {"role": "agent", "data": {"user": ADDRESS}}
    assert desk.info.user_role(ADDRESS) == {"role": "user"}
    assert desk.info.user_role(FRIEND) == {"role": "missing"}


def test_a_sub_account_is_created_funded_and_traded(desk: Desk) -> None:
    sub = desk.exchange.create_sub_account("carry")["response"]["data"]
    done(desk.exchange.sub_account_transfer(sub, True, 5_000_000_000))
    trader = Exchange(WALLET, desk.sim.url, vault_address=sub)
    oid = only(trader.order("ETH", True, 1, 2000, GTC))["resting"]["oid"]
    assert [row["oid"] for row in desk.info.open_orders(sub)] == [oid]
    assert desk.info.open_orders(ADDRESS) == []
    (listed,) = desk.info.query_sub_accounts(ADDRESS)
    assert (listed["name"], listed["subAccountUser"], listed["master"]) == ("carry", sub, ADDRESS)
    assert Decimal(listed["clearinghouseState"]["marginSummary"]["accountValue"]) == 5000
    assert desk.info.user_role(sub) == {"role": "subAccount", "data": {"master": ADDRESS}}


def test_a_builder_gets_what_was_approved(desk: Desk) -> None:
    builder: Any = {"b": FRIEND, "f": 30}
    desk.ask("ETH", "2300", "1")
    refused = desk.exchange.order("ETH", True, 0.5, 2300, IOC, builder=builder)
    assert "Builder fee has not been approved." in json.dumps(refused)
    done(desk.exchange.approve_builder_fee(FRIEND, "0.05%"))
    only(desk.exchange.order("ETH", True, 0.5, 2300, IOC, builder=builder))
    (fill,) = desk.fills()
    notional = Decimal("0.5") * 2300
    assert Decimal(fill["builderFee"]) == notional * Decimal("0.0003")
    assert Decimal(fill["fee"]) == notional * Decimal("0.00045") + Decimal(fill["builderFee"])


def test_spot_and_builder_deployed_markets_trade_under_their_own_names(desk: Desk) -> None:
    done(desk.exchange.usd_class_transfer(10_000, to_perp=False))
    desk.ask("PURR/USDC", "0.2", "1000")
    bought = only(desk.exchange.order("PURR/USDC", True, 500, 0.2, IOC))["filled"]
    (fill,) = desk.fills()
    assert (bought["totalSz"], fill["coin"], fill["feeToken"]) == ("500.0", "PURR/USDC", "PURR")
    balances = {row["coin"]: Decimal(row["total"]) for row in desk.info.spot_user_state(ADDRESS)["balances"]}
    assert balances == {"USDC": Decimal(9900), "PURR": 500 - Decimal(fill["fee"])}
    assert Decimal(fill["fee"]) == 500 * Decimal(desk.info.user_fees(ADDRESS)["userSpotCrossRate"])
    only(desk.exchange.order("HYPE/USDC", True, 5, 30, GTC))
    done(desk.exchange.send_asset(ADDRESS, "", "xyz", USDC, 2000))
    only(desk.exchange.order("xyz:TSLA", True, 1, 240, GTC))
    assert [row["coin"] for row in desk.info.open_orders(ADDRESS)] == ["@107"]
    assert [row["coin"] for row in desk.info.open_orders(ADDRESS, dex="xyz")] == ["xyz:TSLA"]


def test_funding_is_paid_as_computed_and_listed_with_the_opposite_sign_of_what_is_owed(desk: Desk) -> None:
    desk.ask("ETH", "2300", "2")
    only(desk.exchange.order("ETH", True, 1.5, 2300, IOC))
    before = Decimal(desk.state()["marginSummary"]["totalRawUsd"])

    def settle(sim: Any) -> None:
        sim.set_oracle_price("ETH", Decimal(3000))
        sim.settle_funding({"ETH": Decimal("0.0000125")})

    desk.sim.call(settle)
    (paid,) = desk.info.user_funding_history(ADDRESS, 0)
    assert (paid["delta"]["coin"], paid["delta"]["usdc"], paid["delta"]["szi"]) == ("ETH", "-0.05625", "1.5")
    assert Decimal(desk.state()["marginSummary"]["totalRawUsd"]) == before - Decimal("0.05625")
    position = desk.position("ETH")
    assert position is not None
    assert Decimal(position["cumFunding"]["sinceOpen"]) == Decimal("0.05625")
    (rate,) = desk.info.funding_history("ETH", 0)
    assert Decimal(rate["fundingRate"]) == Decimal("0.0000125")


def test_an_expired_action_and_a_burnt_nonce_are_refused(desk: Desk) -> None:
    desk.exchange.set_expires_after(int(time.time() * 1000) - 1000)
    refused = desk.exchange.order("ETH", True, 1, 2000, GTC)
    assert refused == {"status": "err", "response": "Action already expired"}
    desk.exchange.set_expires_after(None)
    nonce = int(time.time() * 1000) + 5000
    done(desk.exchange.noop(nonce))
    assert desk.exchange.noop(nonce) == {
        "status": "err",
        "response": f"Invalid nonce: duplicate nonce {nonce}",
    }


def test_account_settings_are_accepted(desk: Desk) -> None:
    done(desk.exchange.set_referrer("FRIENDS"))
    assert desk.info.query_referral_state(ADDRESS)["referredBy"]["code"] == "FRIENDS"
    done(desk.exchange.use_big_blocks(True))
    done(desk.exchange.user_set_abstraction(ADDRESS, "unifiedAccount"))
    assert desk.info.query_user_abstraction_state(ADDRESS) == "unifiedAccount"
    assert Decimal(desk.state()["marginSummary"]["accountValue"]) == 0
    (spot,) = desk.info.spot_user_state(ADDRESS)["balances"]
    assert Decimal(spot["total"]) == DEPOSIT
    done(desk.exchange.agent_set_abstraction("i"))
    assert desk.info.query_user_abstraction_state(ADDRESS) == "disabled"
    done(desk.exchange.agent_enable_dex_abstraction())
    assert desk.info.query_user_abstraction_state(ADDRESS) == "dexAbstraction"
    done(desk.exchange.user_dex_abstraction(ADDRESS, False))
    assert desk.info.query_user_abstraction_state(ADDRESS) == "disabled"


def test_there_is_nothing_to_delegate(desk: Desk) -> None:
    refused = desk.exchange.token_delegate(FRIEND, 100, False)
    assert refused["status"] == "err"
    assert desk.info.user_staking_delegations(ADDRESS) == []


def test_what_the_venue_does_not_offer_is_unprocessable(desk: Desk) -> None:
    with pytest.raises(ClientError) as refused:
        desk.exchange.spot_deploy_register_token("GOLD", 2, 8, 100, "Gold")
    assert refused.value.status_code == 422


def test_every_read_of_the_client_is_answered(desk: Desk) -> None:
    info = desk.info
    desk.ask("ETH", "2300", "2")
    oid = only(desk.exchange.order("ETH", True, 1.0, 2310, IOC))["filled"]["oid"]
    only(desk.exchange.order("ETH", True, 1.0, 2200, GTC))
    meta, contexts = info.meta_and_asset_ctxs()
    assert meta == info.meta()
    assert len(contexts) == len(meta["universe"])
    spot, spot_contexts = info.spot_meta_and_asset_ctxs()
    assert spot == info.spot_meta()
    assert {row["coin"] for row in spot_contexts} == {pair["name"] for pair in spot["universe"]}
    assert info.perp_dexs()[0] is None
    assert info.meta(dex="xyz")["universe"][0]["name"] == "xyz:TSLA"
    mids = info.all_mids()
    book = info.l2_snapshot("ETH")
    bids, asks = book["levels"]
    assert (bids[0]["px"], asks[0]["px"], asks[0]["sz"]) == ("2200.0", "2300.0", "1.0")
    assert Decimal(mids["ETH"]) == (Decimal(2200) + Decimal(2300)) / 2
    now = int(time.time() * 1000)
    (candle,) = info.candles_snapshot("ETH", "1h", now - HOUR_MS, now + HOUR_MS)
    assert (candle["o"], candle["c"], candle["v"], candle["n"]) == ("2300.0", "2300.0", "1.0", 1)
    assert info.user_fills(ADDRESS) == desk.fills()
    assert info.user_fills_by_time(ADDRESS, now + HOUR_MS) == []
    assert info.query_order_by_oid(ADDRESS, oid)["order"]["status"] == "filled"
    assert info.query_order_by_oid(ADDRESS, 1) == {"status": "unknownOid"}
    assert {row["status"] for row in info.historical_orders(ADDRESS)} >= {"filled", "open"}
    assert {period for period, _ in info.portfolio(ADDRESS)} >= {"day", "allTime"}
    assert info.user_twap_slice_fills(ADDRESS) == []
    assert info.user_vault_equities(ADDRESS) == []
    assert info.user_staking_rewards(ADDRESS) == info.delegator_history(ADDRESS) == []
    assert info.user_staking_summary(ADDRESS)["nPendingWithdrawals"] == 0
    assert info.query_user_to_multi_sig_signers(ADDRESS) is None
    assert info.query_user_dex_abstraction_state(ADDRESS) is None
    assert info.query_perp_deploy_auction_status()["durationSeconds"] > 0
    assert info.query_spot_deploy_auction_status(ADDRESS)["states"] == []
    assert info.query_sub_accounts(ADDRESS) is None


def test_an_unknown_account_reads_as_empty(desk: Desk) -> None:
    nobody = "0x" + "99" * 20
    assert desk.info.open_orders(nobody) == desk.info.user_fills(nobody) == []
    assert Decimal(desk.info.user_state(nobody)["marginSummary"]["accountValue"]) == 0
    assert desk.info.spot_user_state(nobody)["balances"] == []
    assert desk.info.extra_agents(nobody) == []


def _wait_until(condition: Callable[[], bool], *about: object) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, about
        time.sleep(0.005)


class Listener:
    """The client's WebSocket manager, with everything it heard by subscription type."""

    def __init__(self, url: str) -> None:
        self.info = Info(url)
        self.heard: dict[str, list[Any]] = defaultdict(list)
        manager = self.info.ws_manager
        assert manager is not None
        # What is subscribed to while the connection opens may be forgotten by the client.
        _wait_until(lambda: manager.ws_ready)

    def subscribe(self, **subscription: Any) -> int:
        return int(self.info.subscribe(subscription, self.heard[subscription["type"]].append))  # type: ignore[arg-type]

    def until(self, kind: str, count: int) -> list[Any]:
        _wait_until(lambda: len(self.heard[kind]) >= count, kind, count, self.heard[kind])
        return [message["data"] for message in self.heard[kind]]


@pytest.fixture
def listener(desk: Desk) -> Iterator[Listener]:
    """A connected client that is disconnected afterwards."""
    found = Listener(desk.sim.url)
    yield found
    found.info.disconnect_websocket()


def test_every_subscription_the_client_knows_delivers_what_reads_say(desk: Desk, listener: Listener) -> None:
    listener.subscribe(type="allMids")
    for kind in ("l2Book", "trades", "bbo", "activeAssetCtx"):
        listener.subscribe(type=kind, coin="ETH")
    listener.subscribe(type="candle", coin="ETH", interval="1m")
    for kind in ("userEvents", "userFills", "orderUpdates", "userFundings", "userNonFundingLedgerUpdates"):
        listener.subscribe(type=kind, user=ADDRESS)
    listener.subscribe(type="activeAssetData", user=ADDRESS, coin="ETH")
    for kind in ("userFills", "userFundings", "userNonFundingLedgerUpdates"):
        assert listener.until(kind, 1)[0]["isSnapshot"] is True
    listener.until("activeAssetData", 1)
    desk.exchange.update_leverage(3, "ETH")
    desk.ask("ETH", "2300", "2")
    only(desk.exchange.order("ETH", True, 0.75, 2300, IOC))
    desk.sim.call(lambda sim: sim.settle_funding({"ETH": Decimal("0.00002")}))
    done(desk.exchange.usd_transfer(5, FRIEND))
    (fill,) = desk.info.user_fills(ADDRESS)
    assert listener.until("userFills", 2)[1]["fills"] == [fill]
    events = listener.until("userEvents", 2)
    assert events[0] == {"fills": [fill]}
    (paid,) = desk.info.user_funding_history(ADDRESS, 0)
    assert events[1]["funding"]["usdc"] == paid["delta"]["usdc"]
    assert listener.until("userFundings", 2)[1]["fundings"][0]["usdc"] == paid["delta"]["usdc"]
    update = listener.until("orderUpdates", 1)[0][-1]
    assert (update["order"]["oid"], update["status"]) == (fill["oid"], "filled")
    (trade,) = listener.until("trades", 1)[0]
    assert (trade["tid"], trade["px"], trade["sz"], trade["side"]) == (fill["tid"], "2300.0", "0.75", "B")
    assert trade["users"][0] == ADDRESS
    moved = listener.until("userNonFundingLedgerUpdates", 2)[1]["nonFundingLedgerUpdates"]
    assert moved[0]["delta"]["type"] == "internalTransfer"
    assert listener.until("candle", 1)[-1]["v"] == "0.75"
    assert listener.until("activeAssetData", 2)[1]["leverage"]["value"] == 3
    listener.until("l2Book", 3)
    book = listener.heard["l2Book"][-1]["data"]
    assert book["levels"] == desk.info.l2_snapshot("ETH")["levels"]
    assert listener.until("bbo", 3)[-1]["bbo"][1] == book["levels"][1][0]
    listener.until("activeAssetCtx", 2)
    listener.until("allMids", 2)
    assert listener.heard["allMids"][-1]["data"]["mids"] == desk.info.all_mids()


def test_the_retired_summary_subscription_is_refused_without_breaking_the_others(
    desk: Desk, listener: Listener
) -> None:
    listener.subscribe(type="webData2", user=ADDRESS)
    listener.subscribe(type="bbo", coin="ETH")
    listener.until("bbo", 1)
    assert listener.heard["webData2"] == []


def test_after_unsubscribing_nothing_more_is_heard(desk: Desk, listener: Listener) -> None:
    number = listener.subscribe(type="bbo", coin="ETH")
    listener.subscribe(type="l2Book", coin="ETH")
    listener.until("bbo", 1)
    listener.until("l2Book", 1)
    listener.info.unsubscribe({"type": "bbo", "coin": "ETH"}, number)
    _wait_until(lambda: "bbo" not in desk.sim.call(lambda sim: sim.status())["subscriptions"])
    desk.ask("ETH", "2300", "2")
    listener.until("l2Book", 2)
    assert len(listener.heard["bbo"]) == 1


def test_the_volume_requirements_of_the_venue_can_be_switched_on() -> None:
    venue = VenueOptions(schedule_cancel_volume=Decimal(1_000_000), sub_account_volume=Decimal(100_000))
    with running_simulator(SimulatorOptions(accounts={ADDRESS: DEPOSIT}, venue=venue)) as sim:
        exchange = Exchange(WALLET, sim.url)
        refused = exchange.schedule_cancel(None)["response"]
        assert refused.startswith("Cannot set scheduled cancel time until enough volume traded.")
        refused = exchange.create_sub_account("early")["response"]
        assert refused.startswith("Cannot create sub-accounts until enough volume traded")
