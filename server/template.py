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
kind = "demo"               # "demo" (made up) or "replay" (CSV files)
speed = 8.0                 # rounds per second, or "max"
# seed = 1                  # of the demo market; drawn once and kept in the log if left out

[market.replay]             # candles by pair, from where this file is
# "ETH/USDT" = "eth.csv"

[market.reference]          # an independent price by pair; without one, divergence is journaled as not checked
# "ETH/USDT" = "eth-elsewhere.csv"

[market.series]             # outside series by name, such as a fear-and-greed index: time and value
# "fng" = "fear-and-greed.csv"

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
"""
