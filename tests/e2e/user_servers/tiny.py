"""As small as a server can be, so that it starts in milliseconds: says its pid, whatever is asked.

Started as: python tiny.py PORT
"""

import os
import socket
import sys

BODY = b'{"pid": %d}' % os.getpid()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"

with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(ANSWER % (len(BODY), BODY))
