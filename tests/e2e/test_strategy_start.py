"""What a strategy is told when its process starts, and in which order."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.process import LiveRun, running_venue, wait_for

_WITNESS = '''
import json
from decimal import Decimal

from adapters.strategies.strategy import Strategy


class Witness(Strategy):
    """Writes down what it is told; places one order if it holds nothing."""

    def __init__(self, *, trading_pair):
        self.trading_pair = trading_pair
        self.placed = False
        self.told = open("told.jsonl", "a", buffering=1)

    def tell(self, what, **more):
        self.told.write(json.dumps({"what": what, **more}) + "\\n")

    def on_start(self, connector):
        super().on_start(connector)
        self.tell("start", ready=connector.ready, resting=len(connector.open_orders(self.trading_pair)))

    def on_book(self, trading_pair, book):
        if not self.placed and self.connector.ready and not self.connector.position(trading_pair).amount:
            self.placed = True
            self.connector.buy(trading_pair, Decimal("0.01"), Decimal(20_000))

    def on_order_created(self, order):
        self.tell("created", oid=order.exchange_order_id)

    def on_order_filled(self, order, filled):
        position = self.connector.position(self.trading_pair)
        self.tell("filled", amount=str(filled.fill.amount), position=str(position.amount))

    def on_order_completed(self, order):
        self.tell("completed")
'''


def test_a_fill_made_while_the_process_was_away_reaches_the_strategy_after_its_start(tmp_path: Path) -> None:
    (tmp_path / "witness.py").write_text(_WITNESS)
    told = tmp_path / "told.jsonl"

    def calls() -> list[dict[str, object]]:
        return [json.loads(line) for line in told.read_text().splitlines()] if told.exists() else []

    def named(what: str) -> list[dict[str, object]]:
        return [call for call in calls() if call["what"] == what]

    with running_venue(seed=41) as venue:
        run = LiveRun(tmp_path, venue, strategy="witness:Witness", params={"trading_pair": "BTC-USD"})
        with run:
            wait_for("the order to rest", lambda: bool(named("created")))
            run.kill()
        oid = int(str(named("created")[0]["oid"]))
        venue.control(op="fill_order", user=venue.account, oid=oid)
        told.unlink()
        # The last answer of the start comes late: the fill is known long before the connector is ready.
        venue.fault(kind="answer_delay", info="userFunding", params={"ms": 400})
        with run:
            wait_for("the strategy to hear that it is complete", lambda: bool(named("completed")))
            assert run.stop() == 0
    assert calls()[:3] == [
        {"what": "start", "ready": True, "resting": 0},
        {"what": "filled", "amount": "0.01", "position": "0.01"},
        {"what": "completed"},
    ]
