"""The vocabulary of Forestay: frozen values, their names and units. Pure: no clock, no disk, no trio."""
