"""What a server has beyond its login, for hosts that use all that MCP has. The
Context is the SDK's or FastMCP's: both have these methods."""

from pydantic import BaseModel

try:
    import mcp_types as types  # the SDK's version 2
except ImportError:
    from mcp import types

question = types.SamplingMessage(role="user", content=types.TextContent(type="text", text="What?"))


class Favourite(BaseModel):
    colour: str


def text(content):
    """What a sampled message says: FastMCP has it as it is, the SDK in the content."""
    return getattr(getattr(content, "content", content), "text", None)


def add(server, Context):
    """Adds tools, a resource and a prompt."""

    async def count(to: int, ctx: Context) -> str:
        for i in range(1, to + 1):
            await ctx.report_progress(i, to)
        return str(to)

    async def ask(ctx: Context) -> str:
        return (await ctx.elicit("Which colour?", Favourite)).data.colour

    async def sample(ctx: Context) -> str:
        if hasattr(ctx, "sample"):
            return text(await ctx.sample("What?"))
        return text(await ctx.session.create_message(messages=[question], max_tokens=10))

    async def roots(ctx: Context) -> str:
        roots = await (ctx if hasattr(ctx, "list_roots") else ctx.session).list_roots()
        return " ".join(str(root.uri) for root in getattr(roots, "roots", roots))

    for tool in count, ask, sample, roots:
        server.tool()(tool)

    @server.resource("peers://greeting")
    def greeting() -> str:
        return "good morning"

    @server.prompt()
    def greet(name: str) -> str:
        return f"Greet {name}."
