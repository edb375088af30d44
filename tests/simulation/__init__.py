"""The whole agent in a simulated world: one seed, one run."""
