"""QuoteVerifier: is this price to be believed?."""
