"""A client for Python programs: what the daemon answers as typed values, and its stream through every restart.

It knows `protocol`, and nothing of the daemon.
"""

from server.client.client import Client
from server.client.errors import AnotherLog, ClientError, Refused, Unexpected, Unreachable
from server.client.events import UnknownEvent
from server.client.history import History
from server.client.listing import Listing
from server.client.stream import Stream

__all__ = [
    "AnotherLog", "Client", "ClientError", "History", "Listing", "Refused", "Stream", "Unexpected", "UnknownEvent",
    "Unreachable",
]  # fmt: skip
