"""A real EVM with real contracts, for tests: what trades here trades as it would on BNB Smart Chain.

`anvil.py` runs the node, `contracts.py` reads and patches what is deployed, `exchange.py` is the pools, `market.py` the
whole: tokens, two exchanges, price feeds, wallets. `paths.py` moves its prices along candles or along a story. The node
and the contracts come from npm (`make test` sets them up) and none of them is committed.
"""
