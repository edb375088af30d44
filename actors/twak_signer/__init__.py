"""TwakSigner: the way to the signing guard."""
