// A host of the official TypeScript SDK that starts the bridge as its server, uses
// all that the server can do, and writes what came of it as JSON.
//
//   node host.mjs v1|legacy|auto|2026-07-28 HANDSTAMP URL
//
// v1 is the SDK's 1.x; everything else names a mode of 2.x.
import { Client as Client1 } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport as Stdio1 } from '@modelcontextprotocol/sdk/client/stdio.js';
import { ElicitRequestSchema, ProgressNotificationSchema } from '@modelcontextprotocol/sdk/types.js';
import { Client as Client2 } from '@modelcontextprotocol/client';
import { StdioClientTransport as Stdio2 } from '@modelcontextprotocol/client/stdio';

const [mode, handstamp, url] = process.argv.slice(2);
const info = { name: 'typescript-host', version: '1' };
const capabilities = { elicitation: {} };
const elicited = async () => ({ action: 'accept', content: { colour: 'blue' } });
const child = { command: handstamp, args: ['bridge', url], env: process.env, stderr: 'inherit' };

let client, transport, call;
if (mode === 'v1') {
  client = new Client1(info, { capabilities });
  client.setRequestHandler(ElicitRequestSchema, elicited);
  transport = new Stdio1(child);
  call = (params, options) => client.callTool(params, undefined, options);
} else {
  const negotiation = mode === 'legacy' || mode === 'auto' ? mode : { pin: mode };
  client = new Client2(info, { capabilities, versionNegotiation: { mode: negotiation } });
  client.setRequestHandler('elicitation/create', elicited);
  transport = new Stdio2(child);
  call = (params, options) => client.callTool(params, options);
}

const report = {};
async function step(name, f) {
  try {
    report[name] = await f();
  } catch (err) {
    report[name] = `error: ${err.message}`;
  }
}
const text = result => (result.isError ? 'error: ' : '') + result.content.map(c => c.text).join('');

try {
  await client.connect(transport);
} catch (err) {
  console.log(JSON.stringify({ rejected: err.message }));
  process.exit();
}
report.server = client.getServerVersion().name;
report.version = client.getNegotiatedProtocolVersion?.() ?? ''; // 1.x has no such method
await step('tools', async () => (await client.listTools()).tools.map(t => t.name).sort().join(' '));
await step('say', async () => text(await call({ name: 'say', arguments: { text: 'hällo\n' } })));
// The SDK forgets an onprogress as soon as it reads the response, though its own
// queue may still hold the progress that came before: all of it is in one chunk.
await step('progress', async () => {
  const seen = [];
  const all = new Promise(resolve => {
    setTimeout(resolve, 5000).unref();
    const note = n => seen.push(n.params.progress) === 3 && resolve();
    client.setNotificationHandler(mode === 'v1' ? ProgressNotificationSchema : 'notifications/progress', note);
  });
  await call({ name: 'progress', arguments: {}, _meta: { progressToken: 'p' } });
  await all;
  return seen.join(' ');
});
await step('ask', async () => text(await call({ name: 'ask', arguments: {} })));
await client.close();
console.log(JSON.stringify(report));
