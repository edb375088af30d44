"""What MarketFeed promises."""
