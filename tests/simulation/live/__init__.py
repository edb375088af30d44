"""Worlds in which the agent trades live: on a chain and with a guard that are simulated, too."""
