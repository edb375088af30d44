"""The floors of the tower: one room per actor, each a thin shell around pure rules."""
