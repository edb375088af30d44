"""Strategist: what the agent wants to do, and the conductor of turns."""
