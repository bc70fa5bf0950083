// A server of the official TypeScript SDK, with tools that use what a server can
// do: respond, report progress, elicit input.
//
//   node server.mjs v1-sessions|v1-stateless|v1-sse|v2|v2-modern
//
// It writes its URL on standard output.
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { McpServer as McpServer1 } from '@modelcontextprotocol/sdk/server/mcp.js';
import { SSEServerTransport } from '@modelcontextprotocol/sdk/server/sse.js';
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { createMcpHandler, inputRequired, McpServer as McpServer2 } from '@modelcontextprotocol/server';
import { z } from 'zod';

const info = { name: 'typescript', version: '1' };
const text = value => ({ content: [{ type: 'text', text: value }] });
const question = {
  message: 'Which colour?',
  requestedSchema: { type: 'object', properties: { colour: { type: 'string' } }, required: ['colour'] },
};

async function report(meta, notify) {
  for (let progress = 0; progress < 3; progress++) {
    await notify({ method: 'notifications/progress', params: { progressToken: meta?.progressToken, progress } });
  }
  return text('');
}

function server1() {
  const s = new McpServer1(info);
  s.registerTool('say', { inputSchema: { text: z.string() } }, async ({ text: said }) => text(said));
  s.registerTool('progress', {}, async extra => report(extra._meta, extra.sendNotification));
  s.registerTool('ask', {}, async extra => {
    const input = await s.server.elicitInput(question, { relatedRequestId: extra.requestId, timeout: 5000 });
    return text(input.content.colour);
  });
  return s;
}

function server2() {
  const s = new McpServer2(info);
  s.registerTool('say', { inputSchema: z.object({ text: z.string() }) }, async ({ text: said }) => text(said));
  s.registerTool('progress', {}, async ctx => report(ctx.mcpReq._meta, ctx.mcpReq.notify));
  s.registerTool('ask', {}, async ctx => {
    const input = ctx.mcpReq.inputResponses?.input;
    return input ? text(input.content.colour) : inputRequired({ inputRequests: { input: inputRequired.elicit(question) } });
  });
  return s;
}

// Each kind returns what handles a request.
const kinds = {
  'v1-sessions': () => {
    const sessions = new Map();
    return async (req, res) => {
      let transport = sessions.get(req.headers['mcp-session-id']);
      if (!transport && req.headers['mcp-session-id']) {
        return res.writeHead(404).end();
      }
      if (!transport) {
        transport = new StreamableHTTPServerTransport({
          sessionIdGenerator: randomUUID,
          onsessioninitialized: id => sessions.set(id, transport),
        });
        await server1().connect(transport);
      }
      await transport.handleRequest(req, res);
    };
  },
  'v1-stateless': () => async (req, res) => {
    if (req.method !== 'POST') {
      return res.writeHead(405).end();
    }
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    await server1().connect(transport);
    await transport.handleRequest(req, res);
  },
  'v1-sse': () => {
    const sessions = new Map();
    return async (req, res) => {
      const url = new URL(req.url, 'http://localhost');
      if (url.pathname === '/messages') {
        return sessions.get(url.searchParams.get('sessionId')).handlePostMessage(req, res);
      }
      if (req.method !== 'GET') {
        return res.writeHead(405).end();
      }
      const transport = new SSEServerTransport('/messages', res);
      sessions.set(transport.sessionId, transport);
      await server1().connect(transport);
    };
  },
  v2: () => toNodeHandler(createMcpHandler(server2)),
  'v2-modern': () => toNodeHandler(createMcpHandler(server2, { legacy: 'reject' })),
};

const handle = kinds[process.argv[2]]();
const http = createServer((req, res) => {
  Promise.resolve(handle(req, res)).catch(err => {
    console.error(err);
    res.destroy();
  });
});
http.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${http.address().port}/mcp`));
