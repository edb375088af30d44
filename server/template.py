"""What `forestay init` writes."""

TEMPLATE = """\
# Forestay's settings. Every key may be left out; what stands here are the defaults.
# The environment comes after this file (FORESTAY_PORT, FORESTAY_DATA_DIR, FORESTAY_SECTION__KEY), flags come last.

# --- The machine: may be changed at any time -------------------------------------------------------------------------

data_dir = "forestay-data"  # where the log is kept, from where this file is
agent = "seed"              # the agent's id in every path

# Of the agent (see below): version 1 of its config.
# watchlist = ["ETH/USDT"]  # pairs to trade; all of the market's if left out
# snapshot_minutes = 15     # of market time

[server]
host = "127.0.0.1"          # beyond loopback a token is required
port = 8000                 # 0 takes any free one
# token = "..."             # 16 to 128 letters, digits, - or _; better in FORESTAY_SERVER__TOKEN
allowed_hosts = []          # further Host headers to answer to, such as "my-proxy.lan"
allowed_origins = []        # pages of other origins that may use this server, such as "https://my.lan"

[market]
kind = "demo"               # "demo" (made up), "replay" (CSV files) or "chain" (pools, read over JSON-RPC)
speed = 8.0                 # rounds per second, or "max"
# seed = 1                  # of the demo market; drawn once and kept in the log if left out

[market.replay]             # candles by pair, from where this file is
# "ETH/USDT" = "eth.csv"

[market.reference]          # an independent price by pair; without one, divergence is journaled as not checked
# "ETH/USDT" = "eth-elsewhere.csv"

[market.series]             # outside series by name, such as a fear-and-greed index: time and value
# "fng" = "fear-and-greed.csv"

[chain]                     # of market.kind = "chain"; the defaults are BNB Smart Chain and PancakeSwap V2
# rpc = ["https://..."]     # endpoints, the preferred one first; they can hold keys: better in FORESTAY_CHAIN__RPC
chain_id = 56
router = "0x10ED43C718714eb63d5aA57B78B54704E256024E"
factory = "0xcA143Ce32Fe78f1f7019d7d551a6402fC5350c73"  # TOKEN/USDT is its pool there
usdt = {address = "0x55d398326f99059fF775485246999027B3197955", decimals = 18}
wbnb = {address = "0xbb4CdB9CBd36B01bD1cBaEBF2De08d9173bc095c", decimals = 18}
# reference_factory = "0x..."  # pools there are the independent price where `references` has no feed
candle_seconds = 3600       # of block time
confirmations = 15          # so deep a block must lie before it counts
log_blocks = 500            # that an endpoint is asked the logs of at once
# guard = "forestay-guard/guard.sock"  # the signing guard's socket; without one nothing is ever signed
replace_seconds = 30.0      # until a transaction that is in no block is replaced by one that pays more for its gas
poll_seconds = 3.0          # between two looks at the chain
timeout_seconds = 5.0       # for an endpoint to answer
orphaned = []               # hashes of lost closing blocks that you accept (docs/chain.md)

[chain.tokens]              # by symbol: each is traded as SYMBOL/USDT
BNB = {address = "0xbb4CdB9CBd36B01bD1cBaEBF2De08d9173bc095c", decimals = 18}
CAKE = {address = "0x0E09FaBB73Bd3Ade0a17ECC321fD13a19e81cE82", decimals = 18}
ETH = {address = "0x2170Ed0880ac9A755fd29B2688956BD959F933F8", decimals = 18}
LINK = {address = "0xF8A0BF9cF54Bb92F17374d9e9A321E6a111a51bD", decimals = 18}

[chain.references]          # Chainlink feeds by pair
"BNB/USDT" = "0x0567F2323251f0Aab15c8dFb1967E4e8A7D42aeE"
"CAKE/USDT" = "0xB6064eD41d4f67e353768aA239cA86f4F73665a1"
"ETH/USDT" = "0x9ef1B8c0E4F7dc8bF5719Ea496883DC6401d5b2e"
"LINK/USDT" = "0xca236E327F629f9Fc2c30A4E95775EbF0B89fac8"

[chain.history]             # candles by pair to warm the indicators up, of candle_seconds, from where this file is
# "ETH/USDT" = "eth.csv"

# --- The agent: these give version 1 of its config; later changes go through PATCH /agents/{id}/config ---------------
# They stay comments here, so that a change made later through the API is no contradiction to this file.

# [strategy]
# spec = "strategy.yaml"    # the strategy document; the built-in mean reversion if left out
# fee_multiple = 3          # an entry must promise this many times its round trip's cost

# [quotes]
# max_divergence_pct = 1.0  # between the quote and the independent price
# max_age_seconds = 5400    # of either price, in market time
# max_impact_pct = 1.0      # of the order on the pool's price
# min_depth_usdt = 10000    # of the pool's USDT side
# pairs = {}                # other limits for some pair: {"CAKE/USDT" = {max_impact_pct = 2.0}}

# [risk]
# preset = "balanced"       # conservative, balanced, aggressive; single limits win over it
# max_drawdown_pct = 20
# daily_drawdown_pct = 8
# max_consecutive_losses = 4
# cooldown_hours = 6
# per_pair_exposure_pct = 100
# max_market_age_hours = 6  # of the oldest price that an entry would rest on

# [evaluation]
# eval_window_days = 7
# trade_floor = 10

# [paper]
# initial_usdt = 1000
# fee_bps = 25              # of the pool
# slippage_bps = 5          # always against us
# gas_usdt = 0.10           # per swap
# impact = "pool"           # the pool's own price impact, or "none"
# fill_at = "quote"         # at the decision's quote, or "next_open": of the pair's next candle

# [live]
# slippage_pct = 0.4        # a swap brings at least what is quoted, less this; the guard's own limit must be wider
# deadline_seconds = 150    # after its quote a swap is void
"""
