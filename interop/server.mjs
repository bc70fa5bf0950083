// What the servers here share: the test tells on the command line who they are,
// and on standard input what is to become of them.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

// issuer and resource are how the client knows the authorization server, which
// is behind the test's proxy, and the MCP server; more is the program's own.
export const [issuer, resource, ...more] = process.argv.slice(2);

// lifetime is how many seconds an access token lasts that is issued from now on.
export let lifetime = 3600;

// serve listens on a free port, says which, and obeys until the input ends.
export async function serve(handler, forgetClients) {
  const server = createServer(handler);
  await new Promise((up) => server.listen(0, '127.0.0.1', up));
  console.log(`port ${server.address().port}`);
  await obey({ 'forget-clients': forgetClients });
}

// obey carries out the test's orders, of which one is known here, until the input ends.
// What an order returns is reported in JSON.
export async function obey(orders) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [order, value] = line.split(' ');
    let result;
    if (order === 'lifetime') lifetime = Number(value);
    else if (Object.hasOwn(orders, order)) result = await orders[order](value);
    else throw new Error(`no such order: ${line}`);
    console.log(`done ${JSON.stringify(result ?? null)}`);
  }
  process.exit(0);
}
