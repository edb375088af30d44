"""What tests stand on: simulated ports, a daemon as a process, a client written from the contract alone."""
