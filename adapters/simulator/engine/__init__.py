"""The matching engine of the simulated venue: sans-IO, deterministic, in its own decimal context.

```
Exchange(options, *, seed, start_ms)
    create_account(address, *, usdc, spot, fee_rates, abstraction, is_venue_operated)
    approve_agent(master, agent, name=None, valid_until_ms=None)
    create_sub_account(master, name) -> address         create_vault(leader, name, *, usdc) -> address
    resolve_signer(signer, vault_address=None, *, user_signed=False) -> address
    charge_requests(account, count)
    execute(account, action, *, signer, now_ms) -> body
    execute_block([PendingAction], *, now_ms) -> [body]
    info(request, *, now_ms) -> JSON                    snapshot(subscription, *, now_ms) -> [frame]
    advance(now_ms)          now_ms                     drain() -> [StreamMessage]
    coins()  mark_price(coin)  set_mark_price(coin, price)  set_oracle_price(coin, price)
    settle_funding(*, now_ms, rates=None)  liquidate(...)  auto_deleverage(...)  halt(...)
    start_post_only_period(until_ms)  notify(address, text)
StreamMessage: kind, user, coin, dex, data (encoded when first read), channel, frame()
```

`resolve_signer` and the setters raise `ActionError` (answered as `{"status":"err"}`); what takes a request
raises `Unprocessable` (HTTP 422). Subscriptions that want another form (`l2Book` with `nSigFigs`, `userFills`
aggregated) are served by `snapshot` at each change.
"""

from .errors import ActionError, Unprocessable
from .exchange import Exchange, PendingAction
from .options import VenueOptions
from .stream import StreamMessage

__all__ = [
    "ActionError",
    "Exchange",
    "PendingAction",
    "StreamMessage",
    "Unprocessable",
    "VenueOptions",
]
