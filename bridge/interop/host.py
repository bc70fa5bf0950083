"""An MCP host of the official Python SDK or of FastMCP, of the versions that are
installed. It starts bridges as its servers, and carries out orders:

    host.py sdk|fastmcp

Each line of its input is an order as JSON, {"id", "session", "do", ...}; its output
has one line for each, {"id", "result"} or {"id", "error"}, in any order. The orders
of one session are carried out one after the other, those of several side by side. It
ends when its input ends.
"""

import asyncio
import contextlib
import json
import sys
import traceback

kind = sys.argv[1]

import mcp  # noqa: E402
from mcp.client.stdio import StdioServerParameters, stdio_client  # noqa: E402

try:
    import mcp_types as types  # the SDK's version 2
except ImportError:
    from mcp import types

URI, NAME, COLOUR = "file:///peers", "peers", {"name": "Ada", "colour": "blue"}


async def elicit(context, params):
    wanted = params.model_dump(by_alias=True)["requestedSchema"]["properties"]
    return types.ElicitResult(action="accept", content={k: v for k, v in COLOUR.items() if k in wanted})


async def sample(context, params):
    return types.CreateMessageResult(role="assistant", model="none",
                                     content=types.TextContent(type="text", text="sampled"))


async def roots(context):
    return types.ListRootsResult(roots=[types.Root(uri=URI, name=NAME)])


@contextlib.asynccontextmanager
async def sdk(command):
    """A session of the SDK: of its Client, or of what it had before version 2."""
    callbacks = {"elicitation_callback": elicit, "sampling_callback": sample, "list_roots_callback": roots}
    transport = stdio_client(StdioServerParameters(command=command[0], args=command[1:]))
    if hasattr(mcp, "Client"):
        async with mcp.Client(transport, **callbacks) as client:
            yield client
        return
    async with transport as streams, mcp.ClientSession(*streams, **callbacks) as client:
        await client.initialize()
        yield client


@contextlib.asynccontextmanager
async def fastmcp(command):
    """A session of FastMCP's Client."""
    from fastmcp import Client
    from fastmcp.client.transports import StdioTransport

    async def elicited(message, response_type, params, context):
        return (await elicit(context, params)).content

    async def sampled(messages, params, context):
        return "sampled"

    transport = StdioTransport(command[0], command[1:], keep_alive=False)
    async with Client(transport, elicitation_handler=elicited, sampling_handler=sampled,
                      roots=[types.Root(uri=URI, name=NAME)]) as client:
        yield client


def texts(contents):
    return "".join(getattr(c, "text", "") for c in contents)


async def carry_out(client, order):
    do = order["do"]
    if do == "tools":
        tools = await client.list_tools()
        return [tool.name for tool in getattr(tools, "tools", tools)]
    if do == "read":
        read = await client.read_resource(order["uri"] if hasattr(mcp, "Client") else types.AnyUrl(order["uri"]))
        return texts(getattr(read, "contents", read))
    if do == "prompt":
        return texts(m.content for m in (await client.get_prompt(order["name"], order["arguments"])).messages)
    if do != "call":
        raise ValueError(do)
    seen = []

    async def progress(progress, total, message):
        seen.append(progress)

    # The progress of a single step is sent when the response is, and on another stream may come after
    # it: into the end of the session. FastMCP wants progress of each call, its session does not.
    if (order["arguments"] or {}).get("steps") == 1:
        call = client.call_tool if kind == "sdk" else client.session.call_tool
        result = await call(order["name"], order["arguments"])
    elif kind == "sdk":
        result = await client.call_tool(order["name"], order["arguments"], progress_callback=progress)
    else:
        result = await client.call_tool_mcp(order["name"], order["arguments"], progress_handler=progress)
    said = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return {"text": texts(result.content), "structured": said.get("structuredContent"),
            "isError": said.get("isError", False), "progress": seen}


def respond(order, **outcome):
    print(json.dumps({"id": order["id"], **outcome}), flush=True)


async def session(orders):
    """Lives from one order "open" to the order "close"."""
    order = await orders.get()
    try:
        async with {"sdk": sdk, "fastmcp": fastmcp}[kind](order["command"]) as client:
            respond(order, result=None)
            while (order := await orders.get())["do"] != "close":
                try:
                    respond(order, result=await carry_out(client, order))
                except Exception as err:
                    respond(order, error=f"{type(err).__name__}: {err}")
        respond(order, result=None)
    except BaseException as err:
        traceback.print_exc()
        respond(order, error=f"{type(err).__name__}: {err}")


async def main():
    lines = asyncio.StreamReader(limit=64 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    sessions = {}
    async for line in lines:
        order = json.loads(line)
        if order["do"] == "open":
            orders = asyncio.Queue()
            sessions[order["session"]] = orders, asyncio.create_task(session(orders))
        sessions[order["session"]][0].put_nowait(order)
    await asyncio.gather(*(task for _, task in sessions.values()))


asyncio.run(main())
