"""MarketFeed: candles come in here, from files or from the demo market, and go down the floors round by round."""
