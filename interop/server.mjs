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
  for await (const line of createInterface({ input: process.stdin })) {
    const [order, value] = line.split(' ');
    if (order === 'lifetime') lifetime = Number(value);
    else if (order === 'forget-clients') await forgetClients();
    else throw new Error(`no such order: ${line}`);
    console.log('done');
  }
  process.exit(0);
}
