"""The door: HTTP and the stream. It parses, asks, renders; it decides nothing."""
