"""The replica process: an event loop of its own around one listening socket."""

import faulthandler
import logging
import signal
import socket
import sys

import uvloop

from sizewise.protocols.execution import ExecutionJournal
from sizewise.replica.server import Connection, Replica

BACKLOG = 128


def serve(listener: socket.socket, replica_id: str, journal: ExecutionJournal | None = None) -> None:
    """Answer at ``listener``, a bound socket, until told to stop. Returns once what was received is answered."""
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format=f"%(asctime)s {replica_id} %(levelname)s %(message)s",
        force=True,
    )
    # Where native code died is worth more than the number of its signal
    faulthandler.enable()
    loop = uvloop.new_event_loop()
    replica = Replica(replica_id, loop=loop, finished=loop.stop, journal=journal)

    loop.add_signal_handler(signal.SIGTERM, replica.stop)
    server = loop.run_until_complete(
        loop.create_unix_server(lambda: Connection(replica), sock=listener, backlog=BACKLOG)
    )
    try:
        loop.run_forever()
    finally:
        server.close()
        loop.close()
