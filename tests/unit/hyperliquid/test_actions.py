"""Actions have the venue's key order, canonical numbers, and nothing optional that is null or false."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from adapters.hyperliquid.actions import (
    Action,
    ActionError,
    BuilderFee,
    Signature,
    batch_modify,
    cancel,
    cancel_by_cloid,
    check_signable,
    encode_envelope,
    entry_count,
    limit,
    modify,
    noop,
    order,
    order_entry,
    schedule_cancel,
    trigger,
    update_isolated_margin,
    update_leverage,
)
from adapters.hyperliquid.addresses import AddressError, lowercase_address
from adapters.hyperliquid.wire_numbers import WireNumberError

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "signing_vectors.json").read_text())
CLOID = "0x5e1f00000000000000000000000000a1"
VAULT = "0x1719884eb866cb12b2287399b15f7db5e7d775ea"


def entry(
    asset: int = 0,
    is_buy: bool = True,
    price: str = "43210.0",
    size: str = "0.00025",
    reduce_only: bool = False,
    order_type: Action | None = None,
    cloid: str | None = None,
) -> Action:
    return order_entry(
        asset=asset,
        is_buy=is_buy,
        price=Decimal(price),
        size=Decimal(size),
        reduce_only=reduce_only,
        order_type=order_type or limit("Gtc"),
        cloid=cloid,
    )


BUILT: dict[str, Action] = {
    "S1": order([entry()]),
    "S2": order([entry(1, False, "2298.40", "0.015", True, limit("Ioc"), CLOID)]),
    "S3": order([entry(10107, True, "31.255", "12.50", False, limit("Alo"), "0x" + "2".zfill(32))]),
    "S4": order(
        [
            entry(1, True, "2300", "0.02"),
            entry(1, False, "2530", "0.02", True, trigger(Decimal("2530.0"), is_market=True, tpsl="tp")),
            entry(1, False, "1980", "0.02", True, trigger(Decimal("2.2E+3"), is_market=True, tpsl="sl")),
        ],
        grouping="normalTpsl",
    ),
    "S5": cancel([(0, 77738308), (1, 481029459465)]),
    "S6": cancel_by_cloid([(1, CLOID)]),
    "S7": modify(77738308, entry(0, True, "43200", "0.0003")),
    "S8": batch_modify([(CLOID, entry(1, False, "2299.1", "0.015", False, limit("Alo"), CLOID))]),
    "S9": schedule_cancel(1700000060000),
    "S10": schedule_cancel(None),
    "S11": update_leverage(asset=1, is_cross=True, leverage=7),
    "S12": update_isolated_margin(asset=1, amount=Decimal("2.5")),
}


@pytest.mark.parametrize("name", BUILT)
def test_the_built_action_equals_the_vector_key_by_key(name: str) -> None:
    vector = next(vector for vector in VECTORS if vector["id"] == name)
    # As text, so that the order of the keys counts.
    assert json.dumps(BUILT[name]) == json.dumps(vector["action"])
    check_signable(BUILT[name])


def test_optional_flags_are_true_or_absent() -> None:
    assert list(cancel([(0, 1)], fast=True)) == ["type", "cancels", "f"]
    assert "f" not in cancel([(0, 1)])
    assert cancel_by_cloid([(0, CLOID)], fast=True)["f"] is True
    assert list(modify(1, entry(), allow_trigger_or_taking=True)) == ["type", "oid", "order", "a"]
    assert batch_modify([(1, entry())], allow_trigger_or_taking=True)["a"] is True
    assert "a" not in batch_modify([(1, entry())])
    assert "c" not in entry()
    for flag in (None, 1, "true"):
        with pytest.raises(ActionError, match="true or false"):
            cancel([(0, 1)], fast=flag)  # type: ignore[arg-type]


def test_the_builder_fee_is_the_last_member_with_a_lowercase_address() -> None:
    action = order([entry()], builder=BuilderFee("0x" + VAULT[2:].upper(), 10))
    assert list(action) == ["type", "orders", "grouping", "builder"]
    assert json.dumps(action["builder"]) == json.dumps({"b": VAULT, "f": 10})


def test_a_noop_has_nothing_but_its_type() -> None:
    assert noop() == {"type": "noop"}


def test_isolated_margin_is_signed_millionths_of_usdc() -> None:
    assert update_isolated_margin(asset=1, amount=Decimal("-0.000001"))["ntli"] == -1
    with pytest.raises(ActionError, match="0 USDC"):
        update_isolated_margin(asset=1, amount=Decimal("0.0"))
    with pytest.raises(WireNumberError, match="millionth"):
        update_isolated_margin(asset=1, amount=Decimal("0.0000001"))


def test_a_size_of_zero_means_the_whole_position_for_a_reduce_only_trigger_alone() -> None:
    stop = trigger(Decimal(2200), is_market=True, tpsl="sl")
    assert entry(size="0", reduce_only=True, order_type=stop)["s"] == "0"
    for bad in ({"reduce_only": True}, {"order_type": stop}):
        with pytest.raises(ActionError, match="size must be above zero"):
            entry(size="0", **bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", ["0", "-1", "NaN", "sNaN", "Infinity", "1E+400", "0.000000001"])
def test_impossible_prices_and_sizes_are_refused(number: str) -> None:
    for build in (
        lambda: entry(price=number),
        lambda: entry(size=number),
        lambda: trigger(Decimal(number), is_market=True, tpsl="sl"),
    ):
        with pytest.raises((ActionError, WireNumberError)):
            build()


@pytest.mark.parametrize("cloid", ["LS-12345", CLOID.upper(), CLOID[2:], CLOID + "0", "", 7])
def test_a_cloid_in_another_form_is_refused(cloid: Any) -> None:
    for build in (
        lambda: entry(cloid=cloid),
        lambda: cancel_by_cloid([(0, cloid)]),
        lambda: order([entry(cloid=cloid)]),
    ):
        with pytest.raises(ActionError, match="32 lowercase hex"):
            build()
    if isinstance(cloid, str):
        with pytest.raises(ActionError, match="32 lowercase hex"):
            modify(cloid, entry())


@pytest.mark.parametrize("number", [-1, 2**64, True, 1.0, "1", None])
def test_ids_are_whole_numbers_of_64_bits(number: Any) -> None:
    for build in (
        lambda: entry(asset=number),
        lambda: cancel([(number, 1)]),
        lambda: cancel([(0, number)]),
        lambda: update_leverage(asset=number, is_cross=True, leverage=1),
        lambda: update_leverage(asset=0, is_cross=True, leverage=number),
        lambda: update_isolated_margin(asset=number, amount=Decimal(1)),
    ):
        with pytest.raises(ActionError, match="whole number"):
            build()


def test_a_leverage_of_zero_is_refused() -> None:
    with pytest.raises(ActionError, match="at least 1"):
        update_leverage(asset=0, is_cross=True, leverage=0)


def test_unknown_words_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ActionError, match="Gtc, Ioc, Alo"):
        limit("GTC")  # type: ignore[arg-type]
    with pytest.raises(ActionError, match="tp, sl"):
        trigger(Decimal(1), is_market=True, tpsl="stop")  # type: ignore[arg-type]
    with pytest.raises(ActionError, match="normalTpsl"):
        order([entry()], grouping="none")  # type: ignore[arg-type]


def test_batches_have_one_to_two_hundred_entries() -> None:
    assert entry_count(order([entry()] * 200)) == 200
    for build in (order, cancel, cancel_by_cloid, batch_modify):
        with pytest.raises(ActionError, match="at least one"):
            build([])
    for too_many in (
        lambda: order([entry()] * 201),
        lambda: cancel([(0, 1)] * 201),
        lambda: cancel_by_cloid([(0, CLOID)] * 201),
        lambda: batch_modify([(1, entry())] * 201),
    ):
        with pytest.raises(ActionError, match="split the batch"):
            too_many()


def test_children_of_a_tpsl_grouping_are_reduce_only_triggers() -> None:
    stop = trigger(Decimal(2200), is_market=False, tpsl="sl")
    with pytest.raises(ActionError, match="parent"):
        order([entry()], grouping="normalTpsl")
    with pytest.raises(ActionError, match="reduce-only"):
        order([entry(), entry(order_type=stop)], grouping="normalTpsl")
    with pytest.raises(ActionError, match="reduce-only"):
        order([entry(reduce_only=True)], grouping="positionTpsl")
    position_stop = entry(reduce_only=True, order_type=stop)
    assert order([position_stop], grouping="positionTpsl")["grouping"] == "positionTpsl"


@pytest.mark.parametrize(
    ("action", "count"),
    [
        (order([entry(), entry()]), 2),
        (cancel([(0, 1), (0, 2), (0, 3)]), 3),
        (batch_modify([(1, entry())]), 1),
        (noop(), 1),
        (schedule_cancel(None), 1),
    ],
)
def test_entries_are_counted_as_the_address_budget_counts_them(action: Action, count: int) -> None:
    assert entry_count(action) == count


def test_the_envelope_carries_what_was_signed_and_no_other_key() -> None:
    signature = Signature("0x" + "1" * 64, "0x" + "2" * 64, 27)
    posted = {"r": signature.r, "s": signature.s, "v": 27}
    plain = encode_envelope(noop(), 1700000000001, signature)
    assert json.loads(plain) == {"action": noop(), "nonce": 1700000000001, "signature": posted}
    full = encode_envelope(noop(), 1, signature, "0x" + VAULT[2:].upper(), 1700000030001)
    assert json.loads(full) == {
        "action": noop(),
        "nonce": 1,
        "signature": posted,
        "vaultAddress": VAULT,
        "expiresAfter": 1700000030001,
    }


@pytest.mark.parametrize(
    "text", ["", VAULT[2:], VAULT + "0", VAULT[:-1] + "g", VAULT + "\n", "0X" + VAULT[2:], 7]
)
def test_what_is_no_address_is_refused_without_being_repeated(text: Any) -> None:
    with pytest.raises(AddressError) as caught:
        lowercase_address(text)
    assert VAULT[2:20] not in str(caught.value)
