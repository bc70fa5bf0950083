// An MCP server of the official TypeScript SDK with one tool, for the authorization
// servers here that are resource servers too.
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { z } from 'zod';

// protect adds to an Express app the MCP server at the path of resource, which runs if
// authorize resolves, and its metadata (RFC 9728). authorize throws { challenge, headers }.
export function protect(app, resource, metadata, authorize) {
  const { pathname, origin } = new URL(resource);
  const wellKnown = `/.well-known/oauth-protected-resource${pathname}`;
  app.get(wellKnown, (_, response) => response.json({ resource, ...metadata }));
  app.all(pathname, async (request, response) => {
    try {
      response.set(await authorize(request) ?? {});
    } catch ({ challenge, headers = {} }) {
      response.set(headers).set('WWW-Authenticate', `${challenge} resource_metadata="${origin}${wellKnown}"`);
      response.sendStatus(401);
      return;
    }
    const server = new McpServer({ name: 'interop', version: '1' });
    server.registerTool('echo', { inputSchema: { text: z.string() } },
      ({ text }) => ({ content: [{ type: 'text', text }] }));
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true }); // no sessions
    response.on('close', () => server.close());
    await server.connect(transport);
    await transport.handleRequest(request, response);
  });
}
