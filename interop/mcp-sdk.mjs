// The authorization router of the official TypeScript SDK, with the provider of
// its own examples: as it is, if the test says "demo". It issues no refresh tokens
// and leaves their methods to whoever derives from it, as the class here does.
import express from 'express';
import { randomUUID } from 'node:crypto';
import { DemoInMemoryAuthProvider } from '@modelcontextprotocol/sdk/examples/server/demoInMemoryOAuthProvider.js';
import { InvalidGrantError } from '@modelcontextprotocol/sdk/server/auth/errors.js';
import { mcpAuthRouter } from '@modelcontextprotocol/sdk/server/auth/router.js';
import { issuer, lifetime, more, resource, serve } from './server.mjs';

class RotatingProvider extends DemoInMemoryAuthProvider {
  grants = new Map(); // by refresh token, good for one use

  async exchangeAuthorizationCode(client, code) {
    return this.rotate(await super.exchangeAuthorizationCode(client, code));
  }

  async exchangeRefreshToken(client, refreshToken) {
    const grant = this.grants.get(refreshToken);
    if (grant?.clientId !== client.client_id) throw new InvalidGrantError('no such refresh token');
    this.grants.delete(refreshToken);
    this.tokens.delete(grant.token);
    const token = randomUUID();
    this.tokens.set(token, { ...grant, token });
    return this.rotate({ access_token: token, token_type: 'bearer', scope: grant.scopes.join(' ') });
  }

  async revokeToken(client, { token }) {
    const grant = this.grants.get(token);
    if (grant?.clientId !== client.client_id) return;
    this.grants.delete(token);
    this.tokens.delete(grant.token);
  }

  rotate(response) {
    const data = this.tokens.get(response.access_token);
    data.expiresAt = Date.now() + lifetime * 1000;
    const refreshToken = randomUUID();
    this.grants.set(refreshToken, data);
    return { ...response, expires_in: lifetime, refresh_token: refreshToken };
  }
}

const Provider = more[0] === 'demo' ? DemoInMemoryAuthProvider : RotatingProvider;
const provider = new Provider((asked) => asked?.href === resource);
const app = express();
app.use(mcpAuthRouter({ provider, issuerUrl: new URL(issuer), scopesSupported: ['tools'] }));
app.post('/introspect', express.urlencoded(), async (request, response) => {
  const token = await provider.verifyAccessToken(request.body.token).catch(() => undefined);
  response.json({ active: token !== undefined, scope: token?.scopes.join(' '), exp: token?.expiresAt });
});

await serve(app, () => {
  provider.clientsStore.clients.clear();
  if (!provider.grants) provider.tokens.clear(); // it lives in memory, and has been started again
});
