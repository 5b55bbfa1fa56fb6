"""Run by QEMU for each connection of the guest to the metadata service (guestfwd): carries bytes between its
standard input and output and the service's abstract socket, whose name is the argument.

Standard library only, and little of it: it starts in the guest's time.
"""

import os
import select
import socket
import sys

PIECE = 65536


def main() -> None:
    """Until one side closes."""
    service = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    service.connect("\0" + sys.argv[1])
    while True:
        ready, _, _ = select.select([0, service.fileno()], [], [])
        if service.fileno() in ready:
            answer = service.recv(PIECE)
            if not answer:
                return
            while answer:
                answer = answer[os.write(1, answer) :]
        if 0 in ready:
            asked = os.read(0, PIECE)
            if not asked:
                return
            service.sendall(asked)


if __name__ == "__main__":
    main()
