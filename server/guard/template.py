"""What `forestay guard init` writes."""

TEMPLATE = """\
# The signing guard's settings. What this file does not allow is not signed, whoever asks. It is read once, at start.
# Keys that are left out have the values that stand here, but for router, usdt, tokens and rpc, which must be there.

way = "local"                # "local" (the guard's own key) or "twak" (the Trust Wallet Agent Kit; see below)
socket = "guard.sock"        # from where this file is
# socket_group = "forestay"  # also this group may connect; for a guard with a user of its own
allowed_uids = []            # who may connect; empty: the guard's own user
chain_id = 56                # BNB Smart Chain
rpc = ["https://bsc-dataseed.bnbchain.org"]  # the guard's own sight; the strictest of all that answer counts
rpc_timeout_seconds = 2.0

router = "0x10ED43C718714eb63d5aA57B78B54704E256024E"   # PancakeSwap V2
factory = "0xcA143Ce32Fe78f1f7019d7d551a6402fC5350c73"  # the router must name it; not looked at if left out

[limits]                     # days are UTC
per_trade_cap = 50           # USDT that one trade may spend
daily_cap = 200              # USDT that all trades of a day may spend
slippage_pct = 0.5           # below the guard's own quote
max_deadline_seconds = 180   # ahead of the chain's newest block
max_gas_price_gwei = 5
max_gas = 400000
daily_gas_cap = 0.02         # BNB: once a day's gas could come to more, no entry is signed
daily_exit_gas_cap = 0.1     # BNB: the same for exits; if it is too low, what is held is not sold before midnight UTC

# Each token is asked at start whether it is what stands here.

[usdt]
address = "0x55d398326f99059fF775485246999027B3197955"
decimals = 18

[tokens.ETH]                 # what may be bought and sold
address = "0x2170Ed0880ac9A755fd29B2688956BD959F933F8"
decimals = 18

[tokens.CAKE]
address = "0x0E09FaBB73Bd3Ade0a17ECC321fD13a19e81cE82"
decimals = 18

# [tokens.LINK]
# address = "0xF8A0BF9cF54Bb92F17374d9e9A321E6a111a51bD"
# decimals = 18

# [tokens.BTCB]
# address = "0x7130d2A12B9BCbFAe4f2634d864A1Ee1Ce3Ead9c"
# decimals = 18

[hops.WBNB]                  # what a swap may pass through
address = "0xbb4CdB9CBd36B01bD1cBaEBF2De08d9173bc095c"
decimals = 18

# [twak]                     # for way = "twak": a weaker promise, see docs/guard.md
# command = ["twak"]
# address = "0x..."          # the kit's wallet
# home = "/..."              # HOME of the kit, to keep its wallet apart
# quote_seconds = 60
# execute_seconds = 240
"""
