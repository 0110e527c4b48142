"""A message of known size in and out through two processes, with nothing but sockets: the bound of ``binary``.

The relay passes on what it gets piece by piece, as it gets it; the second process waits for all of a message, as a
model must, and sends it back.

Usage: python copy_relay.py PORT BYTES
"""

import os
import socket
import sys

PIECE_BYTES = 1 << 18


def echo(peer: socket.socket, size: int) -> None:
    whole = memoryview(bytearray(size))
    while True:
        got = 0
        while got < size:
            count = peer.recv_into(whole[got:])
            if not count:
                return
            got += count
        peer.sendall(whole)


def pass_on(source: socket.socket, target: socket.socket, piece: memoryview, size: int) -> bool:
    left = size
    while left:
        count = source.recv_into(piece, min(left, len(piece)))
        if not count:
            return False
        target.sendall(piece[:count])
        left -= count
    return True


def main() -> None:
    port, size = int(sys.argv[1]), int(sys.argv[2])
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    if os.fork() == 0:
        near.close()
        echo(far, size)
        os._exit(0)
    far.close()
    piece = memoryview(bytearray(PIECE_BYTES))
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            client, _ = listener.accept()
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while pass_on(client, near, piece, size) and pass_on(near, client, piece, size):
                    pass


if __name__ == "__main__":
    main()
