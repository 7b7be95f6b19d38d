"""TWAP orders (sheet 4.2)."""

from decimal import Decimal

from tests.unit.simulator.engine.venue import ALICE, BOB, BTC, ETH, STRANGER, Json, Venue, limit


def start(venue: Venue, **members: object) -> Json:
    twap = {"a": BTC, "b": True, "s": "0.5", "r": False, "m": 5, "t": False, **members}
    answer = venue.act(ALICE, {"type": "twapOrder", "twap": twap})
    assert answer["response"]["type"] == "twapOrder"
    status: Json = answer["response"]["data"]["status"]
    return status


def offered(sz: str = "10") -> Venue:
    venue = Venue()
    venue.rest(BOB, limit(BTC, False, "43210", sz))
    venue.rest(BOB, limit(BTC, True, "43200", sz))
    return venue


def test_a_twap_trades_each_thirty_seconds_until_it_is_done() -> None:
    venue = offered()
    twap_id = start(venue)["running"]["twapId"]
    began = venue.now
    venue.exchange.advance(began + 29_999)
    assert venue.fills(ALICE) == []
    venue.exchange.advance(began + 30_000)
    (fill,) = venue.fills(ALICE)
    assert (fill["sz"], fill["twapId"], fill["hash"]) == ("0.05", twap_id, "0x" + 64 * "0")
    venue.exchange.advance(began + 300_000)
    assert len(venue.fills(ALICE)) == 10
    assert venue.szi(ALICE, "BTC") == "0.5"
    history = venue.info("twapHistory", user=ALICE)
    assert [row["status"]["status"] for row in history] == ["finished", "activated"]
    assert history[0]["state"]["executedSz"] == "0.5"


def test_slices_are_orders_of_their_own() -> None:
    venue = offered()
    start(venue)
    venue.exchange.advance(venue.now + 60_000)
    oids = [fill["oid"] for fill in venue.fills(ALICE)]
    assert len(set(oids)) == 2
    assert venue.order_row(ALICE, oids[0])["orderType"] == "Twap Slice"
    rows = venue.info("userTwapSliceFills", user=ALICE)
    assert [row["fill"]["oid"] for row in rows] == list(reversed(oids))


def test_slice_fills_can_be_read_by_time() -> None:
    venue = offered()
    start(venue)
    venue.exchange.advance(venue.now + 60_000)
    first, second = venue.fills(ALICE)
    rows = venue.info("userTwapSliceFillsByTime", user=ALICE, startTime=second["time"])
    assert rows == [{"fill": second, "twapId": second["twapId"]}]
    rows = venue.info("userTwapSliceFillsByTime", user=ALICE, startTime=0, endTime=first["time"])
    assert [row["fill"] for row in rows] == [first]
    assert venue.info("userTwapSliceFillsByTime", user=STRANGER, startTime=0) == []


def test_a_slice_that_finds_nothing_is_caught_up_later() -> None:
    venue = Venue()
    start(venue)
    began = venue.now
    venue.exchange.advance(began + 61_000)
    assert venue.fills(ALICE) == []
    venue.rest(BOB, limit(BTC, False, "43210", "10"))
    venue.exchange.advance(began + 90_000)
    assert [fill["sz"] for fill in venue.fills(ALICE)] == ["0.15"]


def test_a_twap_stops_three_percent_from_the_mid() -> None:
    venue = Venue()
    venue.rest(BOB, limit(BTC, False, "43210", "0.01"))
    venue.rest(BOB, limit(BTC, False, "44600", "10"))
    venue.rest(BOB, limit(BTC, True, "43200", "0.01"))
    start(venue)
    venue.exchange.advance(venue.now + 30_000)
    assert [fill["px"] for fill in venue.fills(ALICE)] == ["43210.0"]


def test_a_running_twap_can_be_cancelled() -> None:
    venue = offered()
    twap_id = start(venue)["running"]["twapId"]
    venue.exchange.advance(venue.now + 30_000)
    cancel = {"type": "twapCancel", "a": BTC, "t": twap_id}
    answer = venue.act(ALICE, cancel)
    assert answer == {
        "status": "ok",
        "response": {"type": "twapCancel", "data": {"status": "success"}},
    }
    venue.exchange.advance(venue.now + 300_000)
    assert venue.szi(ALICE, "BTC") == "0.05"
    missing = {"error": "TWAP was never placed, already canceled, or filled."}
    assert venue.act(ALICE, cancel)["response"]["data"]["status"] == missing


def test_a_reduce_only_twap_needs_a_position_and_ends_with_it() -> None:
    venue = offered()
    refused = start(venue, r=True, b=False)
    assert refused == {"error": "Reduce-only TWAP order would increase position."}
    venue.buy(ALICE, BTC, "43210", "0.5", "Ioc")
    assert "running" in start(venue, r=True, b=False, s="5")
    venue.exchange.advance(venue.now + 300_000)
    assert venue.szi(ALICE, "BTC") == "0.0"
    assert venue.info("twapHistory", user=ALICE)[0]["status"]["status"] == "terminated"


def test_a_twap_that_runs_out_of_margin_ends_with_an_error() -> None:
    venue = Venue(usdc="1000")
    venue.exchange.create_account(BOB, usdc=Decimal(10**7))
    venue.rest(BOB, limit(BTC, False, "43210", "10"))
    venue.rest(BOB, limit(BTC, True, "43200", "10"))
    start(venue, s="5")
    venue.exchange.advance(venue.now + 300_000)
    last = venue.info("twapHistory", user=ALICE)[0]
    assert last["status"]["status"] == "error"
    assert "Insufficient margin" in last["status"]["description"]


def test_twaps_that_make_no_sense_are_refused() -> None:
    venue = offered()
    assert "error" in start(venue, m=4)
    assert "error" in start(venue, s="0.001")
    assert "error" in start(venue, s="0.0000001")
    assert "error" in start(venue, s="0")
    assert "error" in start(venue, a=10107)
    assert start(venue, a=3, s="1000")["error"] == "Trading is halted."


def test_randomised_slices_still_add_up() -> None:
    venue = offered()
    start(venue, t=True)
    venue.exchange.advance(venue.now + 300_000)
    sizes = [Decimal(fill["sz"]) for fill in venue.fills(ALICE)]
    assert sum(sizes) == Decimal("0.5")
    assert len(set(sizes)) > 3


def test_twap_events_are_streamed() -> None:
    venue = offered()
    venue.exchange.drain()
    twap_id = start(venue)["running"]["twapId"]
    (event,) = venue.events(ALICE)
    assert event["twapHistory"][0]["status"] == {"status": "activated"}
    venue.exchange.advance(venue.now + 30_000)
    events = venue.events(ALICE)
    (slices,) = [event["twapSliceFills"] for event in events if "twapSliceFills" in event]
    assert slices[0]["twapId"] == twap_id
    (snapshot,) = venue.exchange.snapshot({"type": "twapStates", "user": ALICE}, now_ms=venue.now)
    ((running, state),) = snapshot["data"]["states"]
    assert (running, state["executedSz"]) == (twap_id, "0.05")


def test_twaps_belong_to_their_account_and_asset() -> None:
    venue = offered()
    twap_id = start(venue)["running"]["twapId"]
    for user, asset in ((BOB, BTC), (ALICE, ETH)):
        answer = venue.act(user, {"type": "twapCancel", "a": asset, "t": twap_id})
        assert "error" in answer["response"]["data"]["status"]
