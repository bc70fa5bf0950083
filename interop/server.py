"""An MCP server with an authorization server of its own, as the official Python SDK
and FastMCP have them. Both are theirs; here is what a test changes about them.

    server.py KIND TRANSPORT BASE STATE [UPSTREAM SECRET]

KIND is sdk, memory or proxy, TRANSPORT is http, stateless, json or sse, BASE is the
origin that clients know. What the SDK's provider remembers is in the file STATE, and
what the proxy remembers in the folder beside it. UPSTREAM is the issuer behind the
proxy, which has the SECRET there.

It listens on the port PORT of the environment, or on any, prints it, and obeys the
lines that it reads until the input ends.
"""

import asyncio
import json
import os
import pathlib
import secrets
import socket
import sys
import threading
import time

kind, transport, base, state_file, *more = sys.argv[1:]
os.environ["FASTMCP_LOG_LEVEL"] = "ERROR"  # before FastMCP reads it
os.environ["FASTMCP_CHECK_FOR_UPDATES"] = "off"
# httpx reads all certificates of the machine for each client, of which FastMCP makes one a
# request: many times what the request costs. Here is nothing over TLS, so it has none.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.path.dirname(os.path.abspath(__file__))

import uvicorn  # noqa: E402
from mcp.server.auth.provider import (  # noqa: E402
    AccessToken, AuthorizationCode, RefreshToken, construct_redirect_uri,
)
from mcp.server.auth.settings import (  # noqa: E402
    AuthSettings, ClientRegistrationOptions, RevocationOptions,
)
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken  # noqa: E402

import tools  # noqa: E402

path = "/sse" if transport == "sse" else "/mcp"
streamable = {"json_response": transport == "json", "stateless_http": transport == "stateless"}
lifetime = 3600
registration = ClientRegistrationOptions(enabled=True, valid_scopes=["tools"], default_scopes=["tools"])
revocation = RevocationOptions(enabled=True)


def echo(text: str) -> str:
    return text


class Forgetful:
    """What a test can make any provider do: forget the clients that it knows, and
    reject the access tokens that it has accepted."""

    known: set = set()
    forgotten: set = set()
    accepted: set = set()
    rejected: set = set()

    async def get_client(self, client_id):
        if client_id in self.forgotten:
            return None
        client = await super().get_client(client_id)
        if client:
            self.known.add(client_id)
        return client

    async def load_access_token(self, token):
        found = None if token in self.rejected else await super().load_access_token(token)
        if found:
            self.accepted.add(token)
        return found


class Provider:
    """The least that the SDK's protocol wants: every user is let in, refresh tokens
    are good for one use, and everything is in one file."""

    def __init__(self):
        self.clients, self.codes, self.access, self.refresh = {}, {}, {}, {}
        if os.path.exists(state_file):
            with open(state_file) as f:
                kept = json.load(f)
            self.clients = {i: OAuthClientInformationFull(**c) for i, c in kept["clients"].items()}
            self.access = {i: AccessToken(**t) for i, t in kept["access"].items()}
            self.refresh = {i: RefreshToken(**t) for i, t in kept["refresh"].items()}

    def save(self):
        with open(state_file + ".new", "w") as f:
            json.dump({name: {i: m.model_dump(mode="json") for i, m in getattr(self, name).items()}
                       for name in ("clients", "access", "refresh")}, f)
        os.replace(state_file + ".new", state_file)

    async def get_client(self, client_id):
        return self.clients.get(client_id)

    async def register_client(self, client_info):
        self.clients[client_info.client_id] = client_info
        self.save()

    async def authorize(self, client, params):
        code = secrets.token_urlsafe(32)
        self.codes[code] = AuthorizationCode(
            code=code, scopes=params.scopes or ["tools"], expires_at=time.time() + 300,
            client_id=client.client_id, code_challenge=params.code_challenge,
            redirect_uri=params.redirect_uri, resource=params.resource,
            redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly)
        return construct_redirect_uri(str(params.redirect_uri), code=code, state=params.state)

    async def load_authorization_code(self, client, authorization_code):
        return self.codes.get(authorization_code)

    async def exchange_authorization_code(self, client, authorization_code):
        del self.codes[authorization_code.code]
        return self.issue(client, authorization_code.scopes)

    async def load_refresh_token(self, client, refresh_token):
        return self.refresh.get(refresh_token)

    async def exchange_refresh_token(self, client, refresh_token, scopes):
        del self.refresh[refresh_token.token]
        return self.issue(client, scopes)

    async def load_access_token(self, token):
        found = self.access.get(token)
        return found if found and found.expires_at > time.time() else None

    async def revoke_token(self, token):
        for tokens in (self.access, self.refresh):
            for i in [i for i, t in tokens.items() if t.client_id == token.client_id]:
                del tokens[i]
        self.save()

    def issue(self, client, scopes):
        access, refresh = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        self.access[access] = AccessToken(token=access, client_id=client.client_id, scopes=scopes,
                                          expires_at=int(time.time()) + lifetime)
        self.refresh[refresh] = RefreshToken(token=refresh, client_id=client.client_id, scopes=scopes)
        self.save()
        return OAuthToken(access_token=access, token_type="Bearer", expires_in=lifetime,
                          refresh_token=refresh, scope=" ".join(scopes))


def sdk():
    """MCPServer, which the SDK before version 2 calls FastMCP."""

    class Forgetting(Forgetful, Provider):
        pass

    settings = {"issuer_url": base, "resource_server_url": base + path, "required_scopes": ["tools"],
                "client_registration_options": registration, "revocation_options": revocation}
    if "validate_token_resource" in AuthSettings.model_fields:
        settings["validate_token_resource"] = False
    try:
        from mcp.server.mcpserver import Context, MCPServer
        version = 2
    except ImportError:
        from mcp.server.fastmcp import Context, FastMCP as MCPServer
        version = 1
    provider = Forgetting()
    at_once = streamable if version == 1 else {}  # version 2 takes it with the app
    server = MCPServer("interop", auth_server_provider=provider, auth=AuthSettings(**settings), **at_once)
    server.add_tool(echo)
    tools.add(server, Context)
    if transport == "sse":
        return server.sse_app(), provider
    return server.streamable_http_app(**({} if at_once else streamable)), provider


def memory():
    """FastMCP with its in-memory provider."""
    from fastmcp import FastMCP
    from fastmcp.server.auth.providers import in_memory

    class Forgetting(Forgetful, in_memory.InMemoryOAuthProvider):
        def set_lifetime(self, seconds):
            in_memory.DEFAULT_ACCESS_TOKEN_EXPIRY_SECONDS = seconds

    provider = Forgetting(base_url=base, required_scopes=["tools"],
                          client_registration_options=registration, revocation_options=revocation)
    return fastmcp_app(FastMCP("interop", auth=provider)), provider


def proxy():
    """FastMCP with its OAuth proxy, which keeps what it knows in a folder."""
    from fastmcp import FastMCP, settings
    from fastmcp.server.auth import OAuthProxy
    from fastmcp.server.auth.providers.introspection import IntrospectionTokenVerifier

    class Forgetting(Forgetful, OAuthProxy):
        pass

    settings.home = pathlib.Path(state_file + ".d")  # where the proxy has its folder
    upstream, secret = more
    verifier = IntrospectionTokenVerifier(
        introspection_url=upstream + "/token/introspection", required_scopes=["tools"],
        client_id="proxy", client_secret=secret)
    provider = Forgetting(
        upstream_authorization_endpoint=upstream + "/auth", upstream_token_endpoint=upstream + "/token",
        upstream_revocation_endpoint=upstream + "/token/revocation",
        upstream_client_id="proxy", upstream_client_secret=secret,
        token_verifier=verifier, base_url=base, valid_scopes=["tools", "openid", "offline_access"],
        token_endpoint_auth_method="client_secret_basic", extra_authorize_params={"prompt": "consent"})
    return fastmcp_app(FastMCP("interop", auth=provider)), provider


def fastmcp_app(server):
    from fastmcp import Context

    server.tool(echo)
    tools.add(server, Context)
    if transport == "sse":
        return server.http_app(path=path, transport="sse")
    return server.http_app(path=path, **streamable)


def obey(provider):
    """Obeys the test."""
    global lifetime
    for line in sys.stdin:
        order, *value = line.split()
        if order == "lifetime":
            lifetime = int(value[0])
            if hasattr(provider, "set_lifetime"):
                provider.set_lifetime(lifetime)
        elif order == "forget-clients":
            provider.forgotten |= provider.known
        elif order == "reject-tokens":
            provider.rejected |= provider.accepted
        else:
            raise ValueError(order)
        print("done", flush=True)
    os._exit(0)


async def main():
    app, provider = {"sdk": sdk, "memory": memory, "proxy": proxy}[kind]()
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", 0))))
    print("port", listener.getsockname()[1], flush=True)
    threading.Thread(target=obey, args=(provider,), daemon=True).start()
    await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listener])


asyncio.run(main())
