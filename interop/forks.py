"""Starts servers of server.py in processes that it forks, so that what all of them
import, which is most of what a start costs, is imported once.

It listens on any port and prints it. Each connection is a server's standard input and
output, and its first line has the arguments in JSON; when the server has ended, the last
line is "exit" and how. It ends with its own standard input.
"""

import gc
import json
import os
import runpy
import select
import socket
import sys

os.environ["FASTMCP_LOG_LEVEL"] = "ERROR"
os.environ["FASTMCP_CHECK_FOR_UPDATES"] = "off"

import fastmcp  # noqa: E402, F401
import mcp.server.auth.provider  # noqa: E402, F401
import uvicorn  # noqa: E402, F401
from fastmcp import Context, FastMCP  # noqa: E402, F401
from fastmcp.server.auth import OAuthProxy  # noqa: E402, F401
from fastmcp.server.auth.providers import in_memory, introspection  # noqa: E402, F401

import tools  # noqa: E402, F401

servers = {}  # the process and connection of each, by a pipe that closes with the process


def serve(connection):
    """Is a server, from here to the end of this process."""
    os.dup2(connection.fileno(), 0)
    os.dup2(connection.fileno(), 1)
    connection.close()
    sys.argv = ["server.py", *json.loads(sys.stdin.readline())]
    runpy.run_path("server.py", run_name="__main__")


def fork(connection):
    """Starts a server."""
    lives, held = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            serve(connection)
        finally:  # with what obeys, and without going on below
            sys.stderr.flush()
            os._exit(1)
    os.close(held)
    servers[lives] = process, connection


def ended(lives):
    """Reports the end of a server."""
    process, connection = servers.pop(lives)
    os.close(lives)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    try:
        connection.sendall(f"exit {status}\n".encode())
    except OSError:
        pass  # whoever wanted it has gone
    connection.close()


listener = socket.create_server(("127.0.0.1", 0))
gc.collect()
gc.freeze()  # or each process writes to, and so copies, all of it
print("port", listener.getsockname()[1], flush=True)
while True:
    ready, _, _ = select.select([sys.stdin, listener, *servers], [], [])
    for source in ready:
        if source in servers:
            ended(source)
        elif source is listener:
            fork(listener.accept()[0])
        else:
            for lives in list(servers):
                ended(lives)
            sys.exit()
