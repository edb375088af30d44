"""The processes: the daemon, its door (HTTP, WebSocket) and the command line."""
