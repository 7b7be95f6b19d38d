"""Who may sign for whom: masters, agents, sub-accounts and vaults (sheet 3.5, 3.6)."""

from __future__ import annotations

import re

from .accounts import ZERO_ADDRESS, Account, Agent
from .errors import ActionError
from .parsing import Json, address_member, optional_text
from .state import VenueState

DAY_MS = 86_400_000
DEFAULT_VALIDITY_MS = 90 * DAY_MS
LONGEST_VALIDITY_MS = 180 * DAY_MS
NAMED_SLOTS = 3
NAMED_SLOTS_PER_SUB_ACCOUNT = 2
LONGEST_NAME = 16
REMOVAL_MS = 5000

_VALID_UNTIL = re.compile(r"(.*) valid_until ([0-9]{1,15})")


class Agents:
    def __init__(self, state: VenueState) -> None:
        self._state = state

    def resolve(self, signer: str, vault_address: str | None, *, user_signed: bool) -> str:
        """The account that a signature acts for. Raises ActionError with the texts of sheet 3.6."""
        signer = signer.lower()
        account = self._state.account(signer)
        if user_signed:
            if account is None or account.master is not None or account.vault is not None:
                raise ActionError(f"Must deposit before performing actions. User: {signer}")
            return signer
        if account is None:
            master = self.master_of(signer)
            if master is None:
                raise ActionError(f"User or API Wallet {signer} does not exist.")
            account = self._state.accounts[master]
        if vault_address is None:
            return account.address
        vault = self._state.account(vault_address)
        leader = None if vault is None else vault.master or (vault.vault.leader if vault.vault else None)
        if vault is None or leader != account.address:
            raise ActionError(f"Vault not registered: {vault_address.lower()}")
        return vault.address

    def master_of(self, agent_address: str) -> str | None:
        """The account that an agent may sign for; None for an unknown or expired one."""
        master = self._state.masters_by_agent.get(agent_address)
        if master is None:
            return None
        agents = self._state.accounts[master].agents.values()
        agent = next(agent for agent in agents if agent.address == agent_address)
        return None if self.is_expired(agent) else master

    def is_expired(self, agent: Agent) -> bool:
        return agent.valid_until_ms is not None and agent.valid_until_ms <= self._state.now_ms

    def approve_from_action(self, account: Account, action: Json) -> None:
        """`approveAgent`: the name may carry ` valid_until <ms>`; approving the zero address revokes."""
        agent = address_member(action, "agentAddress")
        text = optional_text(action, "agentName")
        valid_until = self._state.now_ms + DEFAULT_VALIDITY_MS
        if (match := _VALID_UNTIL.fullmatch(text)) is not None:
            text = match[1]
            valid_until = int(match[2])
            if not self._state.now_ms < valid_until <= self._state.now_ms + LONGEST_VALIDITY_MS:
                raise ActionError("Invalid agent valid_until.")
        if self._state.now_ms < account.agent_removal_until_ms:
            raise ActionError("User has pending agent removal")
        self.approve(account, agent, text or None, valid_until)

    def approve(
        self, account: Account, agent_address: str, name: str | None, valid_until: int | None
    ) -> None:
        """Registers an agent; the one before it under the same name is deregistered for good."""
        agent_address = agent_address.lower()
        if name is not None and len(name) > LONGEST_NAME:
            raise ActionError("Agent name is too long.")
        if agent_address == ZERO_ADDRESS:
            if name in account.agents:
                self._retire(account, name)
                account.agent_removal_until_ms = self._state.now_ms + REMOVAL_MS
            return
        state = self._state
        if (
            agent_address in state.masters_by_agent
            or agent_address in state.retired_agents
            or state.account(agent_address) is not None
        ):
            raise ActionError("Extra agent already used.")
        self._prune(account)
        limit = NAMED_SLOTS + NAMED_SLOTS_PER_SUB_ACCOUNT * len(account.sub_accounts)
        named = [other for other in account.agents if other is not None]
        if name is not None and name not in account.agents and len(named) >= limit:
            raise ActionError(f"Too many extra agents for cumulative volume traded. Current limit is {limit}")
        if name in account.agents:
            self._retire(account, name)
        account.agents[name] = Agent(agent_address, name, valid_until)
        state.masters_by_agent[agent_address] = account.address

    def _prune(self, account: Account) -> None:
        for name, agent in list(account.agents.items()):
            if self.is_expired(agent):
                self._retire(account, name)

    def _retire(self, account: Account, name: str | None) -> None:
        agent = account.agents.pop(name)
        del self._state.masters_by_agent[agent.address]
        self._state.retired_agents.add(agent.address)
