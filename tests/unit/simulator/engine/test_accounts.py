"""Who may act for whom, and money on the move (sheet 3.4, 3.5, 3.6, 5.8, 5.9)."""

from decimal import Decimal
from typing import Any

import pytest

from adapters.simulator.engine import ActionError, Unprocessable, VenueOptions
from tests.unit.simulator.engine.venue import ALICE, BOB, BTC, ETH, STRANGER, Json, Venue, limit

AGENT = "0x" + "a6" * 20
OTHER_AGENT = "0x" + "a7" * 20
OK = {"status": "ok", "response": {"type": "default"}}
DAY_MS = 86_400_000


def resolve(venue: Venue, signer: str, vault: str | None = None, *, user_signed: bool = False) -> str:
    return venue.exchange.resolve_signer(signer, vault, user_signed=user_signed)


def ledger(venue: Venue, user: str) -> list[Json]:
    return [row["delta"] for row in venue.info("userNonFundingLedgerUpdates", user=user, startTime=0)]


# -- signers ------------------------------------------------------------------


def test_a_master_signs_for_itself_in_any_letter_case() -> None:
    venue = Venue()
    assert resolve(venue, ALICE.upper().replace("0X", "0x")) == ALICE
    assert resolve(venue, ALICE, user_signed=True) == ALICE


def test_an_unknown_signer_is_named_in_the_error() -> None:
    with pytest.raises(ActionError) as error:
        resolve(Venue(), STRANGER)
    assert error.value.text == f"User or API Wallet {STRANGER} does not exist."


def test_an_agent_signs_for_its_master_but_moves_no_money() -> None:
    venue = Venue()
    venue.exchange.approve_agent(ALICE, AGENT, "ledger1")
    assert resolve(venue, AGENT) == ALICE
    with pytest.raises(ActionError) as error:
        resolve(venue, AGENT, user_signed=True)
    assert error.value.text == f"Must deposit before performing actions. User: {AGENT}"


def test_master_and_agent_sign_for_sub_accounts() -> None:
    venue = Venue()
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    venue.exchange.approve_agent(ALICE, AGENT)
    assert resolve(venue, ALICE, sub) == sub
    assert resolve(venue, AGENT, sub) == sub


def test_a_vault_address_must_be_led_by_the_signer() -> None:
    venue = Venue()
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    vault = venue.exchange.create_vault(ALICE, "fund", usdc=Decimal(1000))
    assert resolve(venue, ALICE, vault) == vault
    for signer, address in ((BOB, sub), (BOB, vault), (ALICE, ALICE), (ALICE, STRANGER)):
        with pytest.raises(ActionError) as error:
            resolve(venue, signer, address)
        assert error.value.text == f"Vault not registered: {address}"


def test_a_new_agent_of_the_same_name_replaces_the_old_one_for_good() -> None:
    venue = Venue()
    venue.exchange.approve_agent(ALICE, AGENT, "ledger1")
    venue.exchange.approve_agent(ALICE, OTHER_AGENT, "ledger1")
    assert resolve(venue, OTHER_AGENT) == ALICE
    with pytest.raises(ActionError, match="does not exist"):
        resolve(venue, AGENT)
    with pytest.raises(ActionError, match="Extra agent already used"):
        venue.exchange.approve_agent(BOB, AGENT)


def test_an_expired_agent_is_unknown() -> None:
    venue = Venue()
    venue.exchange.approve_agent(ALICE, AGENT, "ledger1", venue.now + 1000)
    assert venue.info("userRole", user=AGENT) == {"role": "agent", "data": {"user": ALICE}}
    venue.exchange.advance(venue.now + 1000)
    with pytest.raises(ActionError, match=f"User or API Wallet {AGENT} does not exist"):
        resolve(venue, AGENT)
    assert venue.info("userRole", user=AGENT) == {"role": "missing"}
    assert venue.info("extraAgents", user=ALICE) == []


def test_slots_for_named_agents_are_limited() -> None:
    venue = Venue()
    for number in range(3):
        venue.exchange.approve_agent(ALICE, f"0x{number:040x}".replace("0x0", "0xe"), f"bot{number}")
    venue.exchange.approve_agent(ALICE, AGENT)
    with pytest.raises(ActionError) as error:
        venue.exchange.approve_agent(ALICE, OTHER_AGENT, "bot4")
    assert error.value.text == "Too many extra agents for cumulative volume traded. Current limit is 3"
    venue.exchange.create_sub_account(ALICE, "desk")
    venue.exchange.approve_agent(ALICE, OTHER_AGENT, "bot4")


def approve_agent(venue: Venue, agent: str, name: str | None) -> Json:
    members: Json = {} if name is None else {"agentName": name}
    return venue.act(ALICE, {"type": "approveAgent", "agentAddress": agent, "nonce": 1, **members})


def test_an_approval_by_action_expires_after_ninety_days() -> None:
    venue = Venue()
    assert approve_agent(venue, AGENT, "ledger1") == OK
    assert venue.info("extraAgents", user=ALICE) == [
        {"name": "ledger1", "address": AGENT, "validUntil": venue.now + 90 * DAY_MS}
    ]


def test_an_approval_may_say_how_long_it_is_valid() -> None:
    venue = Venue()
    until = venue.now + DAY_MS
    assert approve_agent(venue, AGENT, f"ledger1 valid_until {until}") == OK
    assert venue.info("extraAgents", user=ALICE)[0]["validUntil"] == until
    too_far = venue.now + 181 * DAY_MS
    assert approve_agent(venue, OTHER_AGENT, f"x valid_until {too_far}")["status"] == "err"


def test_the_unnamed_agent_is_not_listed() -> None:
    venue = Venue()
    assert approve_agent(venue, AGENT, None) == OK
    assert venue.info("extraAgents", user=ALICE) == []
    assert resolve(venue, AGENT) == ALICE


def test_approving_the_zero_address_revokes() -> None:
    venue = Venue()
    approve_agent(venue, AGENT, "ledger1")
    assert approve_agent(venue, "0x" + 40 * "0", "ledger1") == OK
    with pytest.raises(ActionError):
        resolve(venue, AGENT)
    assert approve_agent(venue, OTHER_AGENT, "ledger1") == {
        "status": "err",
        "response": "User has pending agent removal",
    }
    venue.exchange.advance(venue.now + 5000)
    assert approve_agent(venue, OTHER_AGENT, "ledger1") == OK


def test_roles() -> None:
    venue = Venue()
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    vault = venue.exchange.create_vault(ALICE, "fund", usdc=Decimal(1000))
    assert venue.info("userRole", user=ALICE) == {"role": "user"}
    assert venue.info("userRole", user=sub) == {"role": "subAccount", "data": {"master": ALICE}}
    assert venue.info("userRole", user=vault) == {"role": "vault"}
    assert venue.info("userRole", user=STRANGER) == {"role": "missing"}


# -- sub-accounts and vaults --------------------------------------------------


def test_sub_accounts_are_created_funded_and_listed() -> None:
    venue = Venue()
    answer = venue.act(ALICE, {"type": "createSubAccount", "name": "desk"})
    assert answer["response"]["type"] == "createSubAccount"
    sub = answer["response"]["data"]
    action = {"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 2_500_000}
    assert venue.act(ALICE, action) == OK
    (row,) = venue.info("subAccounts", user=ALICE)
    assert (row["name"], row["subAccountUser"], row["master"]) == ("desk", sub, ALICE)
    assert row["clearinghouseState"]["marginSummary"]["accountValue"] == "2.5"
    assert row["spotState"] == {"balances": []}
    assert ledger(venue, sub) == [
        {"type": "subAccountTransfer", "usdc": "2.5", "user": ALICE, "destination": sub}
    ]
    assert venue.act(ALICE, {**action, "isDeposit": False, "usd": 2_500_001})["status"] == "err"
    assert venue.act(ALICE, {**action, "isDeposit": False}) == OK
    assert venue.account_value(sub) == 0
    assert venue.info("subAccounts", user=BOB) is None


def test_sub_accounts_may_need_volume() -> None:
    venue = Venue(VenueOptions(sub_account_volume=Decimal(100_000)))
    answer = venue.act(ALICE, {"type": "createSubAccount", "name": "desk"})
    assert answer["response"] == (
        "Cannot create sub-accounts until enough volume traded. Required: $100000. Traded: $0."
    )


def test_ten_sub_accounts_are_enough() -> None:
    venue = Venue()
    for number in range(10):
        venue.exchange.create_sub_account(ALICE, f"desk{number}")
    answer = venue.act(ALICE, {"type": "createSubAccount", "name": "desk10"})
    assert answer == {"status": "err", "response": "Too many sub-accounts."}


def test_vault_shares_follow_the_value_of_the_vault() -> None:
    venue = Venue()
    vault = venue.exchange.create_vault(ALICE, "fund", usdc=Decimal(1000))

    def transfer(is_deposit: bool, usd: int) -> Json:
        action = {"type": "vaultTransfer", "vaultAddress": vault, "isDeposit": is_deposit, "usd": usd}
        return venue.act(BOB, action)

    assert transfer(True, 500_000_000) == OK
    venue.exchange.create_account(vault, usdc=Decimal(1500))
    assert venue.info("userVaultEquities", user=BOB) == [{"vaultAddress": vault, "equity": "1000.0"}]
    details = venue.info("vaultDetails", vaultAddress=vault)
    assert details["leader"] == ALICE
    assert [row["vaultEquity"] for row in details["followers"]] == ["2000.0", "1000.0"]
    assert transfer(False, 1_000_000_001)["status"] == "err"
    assert transfer(False, 1_000_000_000) == OK
    assert venue.account_value(BOB) == Decimal(1_000_500)
    assert [delta["type"] for delta in ledger(venue, BOB)] == ["deposit", "vaultDeposit", "vaultWithdraw"]


def test_unknown_vaults_are_not_registered() -> None:
    action = {"type": "vaultTransfer", "vaultAddress": STRANGER, "isDeposit": True, "usd": 1}
    assert Venue().act(ALICE, action)["response"] == f"Vault not registered: {STRANGER}"


# -- money --------------------------------------------------------------------


def test_a_deposit_is_in_the_ledger() -> None:
    assert ledger(Venue(usdc="12.5"), ALICE) == [{"type": "deposit", "usdc": "12.5"}]


def test_usd_goes_to_accounts_that_did_not_exist() -> None:
    venue = Venue()
    action = {"type": "usdSend", "destination": STRANGER, "amount": "12.5", "time": 1}
    assert venue.act(ALICE, action) == OK
    assert venue.account_value(STRANGER) == Decimal("12.5")
    assert venue.account_value(ALICE) == Decimal("999987.5")
    expected = {
        "type": "internalTransfer",
        "usdc": "12.5",
        "user": ALICE,
        "destination": STRANGER,
        "fee": "0.0",
    }
    assert ledger(venue, ALICE)[-1] == expected
    assert ledger(venue, STRANGER) == [expected]


@pytest.mark.parametrize("amount", ["1000001", "0", "-5", "1.0000001"])
def test_more_than_there_is_cannot_be_sent(amount: str) -> None:
    venue = Venue()
    action = {"type": "usdSend", "destination": STRANGER, "amount": amount, "time": 1}
    assert venue.act(ALICE, action)["status"] == "err"
    assert venue.account_value(ALICE) == 1_000_000
    assert venue.info("userRole", user=STRANGER) == {"role": "missing"}


def test_margin_in_use_cannot_be_withdrawn() -> None:
    venue = Venue(usdc="3000")
    venue.exchange.create_account(BOB, usdc=Decimal(10**6))
    venue.open_long(ALICE, BTC, "43210", "1", against=BOB)

    def withdraw(amount: str) -> Json:
        return venue.act(ALICE, {"type": "withdraw3", "destination": ALICE, "amount": amount, "time": 1})

    assert withdraw("100") == {"status": "err", "response": "Insufficient balance for withdrawal"}
    venue.open_short(ALICE, BTC, "43210", "1", against=BOB)
    before = venue.account_value(ALICE)
    assert withdraw("100") == OK
    assert venue.account_value(ALICE) == before - 100
    assert ledger(venue, ALICE)[-1] == {"type": "withdraw", "usdc": "99.0", "nonce": 1, "fee": "1.0"}


def test_usdc_moves_between_spot_and_perps() -> None:
    venue = Venue()
    action: Json = {"type": "usdClassTransfer", "amount": "100", "toPerp": False, "nonce": 1}
    assert venue.act(ALICE, action) == OK
    assert venue.spot(ALICE, "USDC")["total"] == "100.0"
    assert venue.account_value(ALICE) == 999_900
    assert venue.act(ALICE, action, toPerp=True, amount="100.5")["status"] == "err"
    assert venue.act(ALICE, action, toPerp=True) == OK
    assert venue.account_value(ALICE) == 1_000_000
    assert ledger(venue, ALICE)[-1] == {"type": "accountClassTransfer", "usdc": "100.0", "toPerp": True}


def test_a_class_transfer_may_name_a_sub_account() -> None:
    venue = Venue()
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    venue.exchange.create_account(sub, usdc=Decimal(50))
    amount = f"50 subaccount:{sub}"
    action = {"type": "usdClassTransfer", "amount": amount, "toPerp": False, "nonce": 1}
    assert venue.act(ALICE, action) == OK
    assert venue.spot(sub, "USDC")["total"] == "50.0"
    assert venue.act(BOB, action)["status"] == "err"


def test_unified_accounts_need_no_class_transfer() -> None:
    venue = Venue(VenueOptions(abstraction="unifiedAccount"))
    action = {"type": "usdClassTransfer", "amount": "100", "toPerp": False, "nonce": 1}
    assert venue.act(ALICE, action) == {
        "status": "err",
        "response": "Action disabled when unified account is active",
    }


def test_the_account_mode_can_be_changed() -> None:
    venue = Venue()
    action = {"type": "userSetAbstraction", "user": ALICE, "abstraction": "unifiedAccount", "nonce": 1}
    assert venue.act(ALICE, action) == OK
    assert venue.info("userAbstraction", user=ALICE) == "unifiedAccount"
    assert venue.spot(ALICE, "USDC")["total"] == "1000000.0"
    assert venue.account_value(ALICE) == 0


def test_spot_tokens_are_sent_with_their_cost_basis() -> None:
    venue = Venue()
    venue.exchange.create_account(ALICE, spot={"HYPE": Decimal(10)})
    token = "HYPE:0x0d01dc56dcaaca66ad901c959b4011ec"
    action = {"type": "spotSend", "destination": BOB, "token": token, "amount": "4", "time": 9}
    assert venue.act(ALICE, action) == OK
    assert venue.spot(ALICE, "HYPE")["total"] == "6.0"
    assert venue.spot(BOB, "HYPE") == {
        "coin": "HYPE",
        "token": 150,
        "total": "4.0",
        "hold": "0.0",
        "entryNtl": "125.02",
    }
    assert ledger(venue, BOB)[-1]["usdcValue"] == "125.02"
    assert venue.act(ALICE, action, amount="7")["response"] == "Insufficient balance for token transfer"


def send_asset(venue: Venue, **members: Any) -> Json:
    action = {
        "type": "sendAsset",
        "destination": ALICE,
        "sourceDex": "",
        "destinationDex": "xyz",
        "token": "USDC:0x6d1e7cde53ba9467b783cb7c530ce054",
        "amount": "250",
        "fromSubAccount": "",
        "nonce": 5,
    }
    return venue.act(ALICE, {**action, **members})


def test_assets_move_between_dexes_and_spot() -> None:
    venue = Venue()
    assert send_asset(venue) == OK
    state = venue.info("clearinghouseState", user=ALICE, dex="xyz")
    assert state["marginSummary"]["accountValue"] == "250.0"
    assert venue.account_value(ALICE) == 999_750
    assert send_asset(venue, sourceDex="xyz", destinationDex="spot", destination=BOB) == OK
    assert venue.spot(BOB, "USDC")["total"] == "250.0"
    assert send_asset(venue, sourceDex="xyz", destinationDex="")["status"] == "err"
    assert send_asset(venue, destinationDex="nowhere")["status"] == "err"


# -- the rest -----------------------------------------------------------------


def test_a_referrer_is_set_once() -> None:
    venue = Venue()
    assert venue.act(ALICE, {"type": "setReferrer", "code": "FRIEND"}) == OK
    assert venue.info("referral", user=ALICE)["referredBy"]["code"] == "FRIEND"
    assert venue.act(ALICE, {"type": "setReferrer", "code": "OTHER"})["status"] == "err"


def test_noop_does_nothing() -> None:
    venue = Venue()
    assert venue.act(ALICE, {"type": "noop"}) == OK
    assert venue.drained("orderUpdates", user=ALICE) == []


def test_vaults_pay_no_builders() -> None:
    venue = Venue()
    vault = venue.exchange.create_vault(ALICE, "fund", usdc=Decimal(1000))
    action = {
        "type": "order",
        "orders": [limit(ETH, True, "2290", "0.1")],
        "grouping": "na",
        "builder": {"b": BOB, "f": 1},
    }
    assert venue.act(vault, action)["response"] == "Vault may not perform this action."


def test_equity_curves_start_with_the_account() -> None:
    venue = Venue(usdc="1000")
    venue.exchange.create_account(BOB, usdc=Decimal(10**6))
    venue.open_long(ALICE, ETH, "2298.4", "1", against=BOB)
    venue.mark("ETH", "2308.4")
    periods = dict(venue.info("portfolio", user=ALICE))
    assert list(periods) == [
        "day",
        "week",
        "month",
        "allTime",
        "perpDay",
        "perpWeek",
        "perpMonth",
        "perpAllTime",
    ]
    fee = Decimal(venue.fills(ALICE)[0]["fee"])
    assert Decimal(periods["allTime"]["pnlHistory"][-1][1]) == 10 - fee
    assert periods["day"]["vlm"] == "2298.4"


# -- refusals -----------------------------------------------------------------


def test_agent_names_are_short() -> None:
    with pytest.raises(ActionError, match="too long"):
        Venue().exchange.approve_agent(ALICE, AGENT, "seventeen letters")


def test_an_expired_agent_frees_its_slot() -> None:
    venue = Venue()
    for number in range(3):
        agent = "0x" + f"e{number}" * 20
        venue.exchange.approve_agent(ALICE, agent, f"bot{number}", venue.now + 1000)
    venue.exchange.advance(venue.now + 1000)
    venue.exchange.approve_agent(ALICE, AGENT, "bot4")
    assert [row["name"] for row in venue.info("extraAgents", user=ALICE)] == ["bot4"]


def test_spot_tokens_move_to_sub_accounts_and_back() -> None:
    venue = Venue()
    venue.exchange.create_account(ALICE, spot={"PURR": Decimal(100)})
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    action: Json = {
        "type": "subAccountSpotTransfer",
        "subAccountUser": sub,
        "isDeposit": True,
        "token": "PURR:0xc1fb593aeffbeb02f85e0308e9956a90",
        "amount": "40",
    }
    assert venue.act(ALICE, action) == OK
    assert (venue.spot(ALICE, "PURR")["total"], venue.spot(sub, "PURR")["total"]) == ("60.0", "40.0")
    assert venue.spot(sub, "PURR")["entryNtl"] == "7.3448"
    assert venue.act(ALICE, action, isDeposit=False, amount="15.5") == OK
    assert venue.spot(sub, "PURR")["total"] == "24.5"
    assert venue.act(BOB, action)["status"] == "err"


def test_assets_can_be_sent_from_a_sub_account() -> None:
    venue = Venue()
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    venue.exchange.create_account(sub, spot={"HYPE": Decimal(3)})
    members = {"sourceDex": "spot", "destinationDex": "spot", "token": "HYPE", "destination": BOB}
    assert send_asset(venue, **members, amount="2", fromSubAccount=sub) == OK
    assert venue.spot(BOB, "HYPE")["total"] == "2.0"
    assert send_asset(venue, **members, amount="2", fromSubAccount=STRANGER)["status"] == "err"


def test_only_collateral_goes_to_perp_dexes_and_only_known_tokens_move() -> None:
    venue = Venue()
    venue.exchange.create_account(ALICE, spot={"HYPE": Decimal(3)})
    assert send_asset(venue, sourceDex="spot", token="HYPE")["status"] == "err"
    assert send_asset(venue, token="DOGE")["response"] == "Unknown token."


def test_amounts_of_nothing_are_refused() -> None:
    venue = Venue()
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    transfer = {"type": "subAccountTransfer", "subAccountUser": sub, "isDeposit": True, "usd": 0}
    assert venue.act(ALICE, transfer)["status"] == "err"
    withdrawal = {"type": "withdraw3", "destination": ALICE, "amount": "1", "time": 1}
    assert venue.act(ALICE, withdrawal)["status"] == "err"


def test_unified_accounts_send_from_spot() -> None:
    venue = Venue(VenueOptions(abstraction="unifiedAccount"), usdc="100")
    assert venue.act(ALICE, {"type": "usdSend", "destination": BOB, "amount": "40", "time": 1}) == OK
    assert venue.spot(ALICE, "USDC")["total"] == "60.0"
    send = {"type": "spotSend", "destination": BOB, "token": "USDC", "amount": "60", "time": 1}
    assert venue.act(ALICE, send) == OK
    assert venue.spot(BOB, "USDC")["total"] == "200.0"


def test_weight_can_be_bought_for_others() -> None:
    venue = Venue()
    venue.act(ALICE, {"type": "reserveRequestWeight", "weight": 100, "destination": BOB})
    assert venue.info("userRateLimit", user=BOB)["nRequestsCap"] == 10_100
    assert venue.info("userRateLimit", user=ALICE)["nRequestsCap"] == 10_000


@pytest.mark.parametrize("user", [BOB, STRANGER])
def test_nobody_sets_the_mode_of_others(user: str) -> None:
    action = {"type": "userSetAbstraction", "user": user, "abstraction": "unifiedAccount"}
    assert Venue().act(ALICE, action)["status"] == "err"


def test_a_master_sets_the_mode_of_its_sub_account() -> None:
    venue = Venue()
    sub = venue.exchange.create_sub_account(ALICE, "desk")
    action = {"type": "userSetAbstraction", "user": sub, "abstraction": "unifiedAccount"}
    assert venue.act(ALICE, action) == OK
    assert venue.info("userAbstraction", user=sub) == "unifiedAccount"
    assert venue.info("userAbstraction", user=ALICE) == "disabled"


def test_the_mode_does_not_change_with_open_positions() -> None:
    venue = Venue()
    venue.open_long(ALICE, BTC, "43210", "0.01")
    action = {"type": "userSetAbstraction", "user": ALICE, "abstraction": "unifiedAccount"}
    assert venue.act(ALICE, action)["status"] == "err"
    with pytest.raises(Unprocessable):
        venue.act(ALICE, action, abstraction="best")


def test_accounts_may_be_opened_in_a_mode_of_their_own() -> None:
    venue = Venue()
    venue.exchange.create_account(STRANGER, usdc=Decimal(5), abstraction="unifiedAccount")
    assert venue.spot(STRANGER, "USDC")["total"] == "5.0"
    with pytest.raises(ValueError, match="no spot token"):
        venue.exchange.create_account(STRANGER, spot={"GOLD": Decimal(1)})


@pytest.mark.parametrize("rate", ["0.01", "2%", "-1%", "0.00001%"])
def test_builder_fee_rates_are_percentages(rate: str) -> None:
    venue = Venue()
    action = {"type": "approveBuilderFee", "maxFeeRate": rate, "builder": BOB, "nonce": 1}
    if rate.endswith("%"):
        assert venue.act(ALICE, action)["status"] == "err"
    else:
        with pytest.raises(Unprocessable):
            venue.act(ALICE, action)


def test_the_drivers_name_what_they_do_not_know() -> None:
    exchange = Venue().exchange
    assert exchange.coins()[:2] == ["BTC", "ETH"]
    assert "MATIC" not in exchange.coins()
    with pytest.raises(ValueError, match="no market"):
        exchange.mark_price("NOPE")
    with pytest.raises(ValueError, match="not a perpetual"):
        exchange.liquidate(ALICE, "@107")
    with pytest.raises(ValueError, match="must be positive"):
        exchange.set_mark_price("BTC", Decimal(0))
    with pytest.raises(ValueError, match="must be positive"):
        exchange.set_oracle_price("BTC", Decimal(-1))
