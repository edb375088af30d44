"""Live trading among deaths and lies: daemon and guard killed between any two steps, RPC that loses answers, a hung
daemon, and a chain that takes things back."""
