// The OAuth provider of the AT Protocol, with stores in memory and one account, and an MCP
// server that checks its tokens with the provider's own verifier. It wants DPoP with nonces
// everywhere, and pushed authorization requests. The test's JSON says:
//
//   documents  where the client ID metadata documents of an origin really are, by origin
import { createServer } from 'node:http';
import express from 'express';
import { oauthMiddleware } from '@atproto/oauth-provider/middleware';
import { JoseKey, OAuthProvider } from '@atproto/oauth-provider/provider';
import { protect } from './mcp.mjs';
import { lifetime, obey } from './server.mjs';

const { documents } = JSON.parse(process.argv[2]);

const app = express();
const server = createServer(app);
await new Promise((up) => server.listen(0, '127.0.0.1', up));
const issuer = `http://127.0.0.1:${server.address().port}`;
const resource = `${issuer}/mcp`;

const counts = {};
app.use((request, _, next) => {
  if (request.path !== '/mcp') counts[request.path] = (counts[request.path] ?? 0) + 1;
  next();
});

const account = {
  did: 'did:plc:interopinteropinteropint', pds: 'did:web:interop.example', deactivated: false,
  email: 'someone@interop.example', emailVerified: true, handle: 'someone.interop.example', name: 'Someone',
};
const devices = new Map();
const deviceAccounts = new Map();
const requests = new Map();
const tokens = new Map(); // by ID: { data, refreshTokens }
const lexicons = new Map();
const authorizedClients = new Map();

const info = (id) => id && tokens.has(id) ? {
  id, account, data: tokens.get(id).data, currentRefreshToken: tokens.get(id).refreshTokens.at(-1) ?? null,
} : null;
const find = (match) => info([...tokens].find(([, token]) => match(token))?.[0]);
const deviceAccount = (deviceId) => deviceAccounts.has(deviceId) ? {
  deviceId, account, authorizedClients, deviceData: devices.get(deviceId), createdAt: deviceAccounts.get(deviceId), updatedAt: deviceAccounts.get(deviceId),
} : null;
const never = () => { throw new Error('there is no such page here'); };

const store = {
  ...Object.fromEntries(['createAccount', 'deactivateAccount', 'deleteAccountConfirm', 'deleteAccountRequest', 'reactivateAccount',
    'resetPasswordConfirm', 'resetPasswordRequest', 'updateEmailConfirm', 'updateEmailRequest', 'updateHandle',
    'verifyEmailConfirm', 'verifyEmailRequest', 'verifyHandleAvailability'].map((name) => [name, never])),
  authenticateAccount: () => account, // any password is right
  getAccount: () => ({ account, authorizedClients }),
  setAuthorizedClient: (_, clientId, data) => { authorizedClients.set(clientId, data); },
  upsertDeviceAccount: (deviceId) => { deviceAccounts.set(deviceId, new Date()); },
  getDeviceAccount: (deviceId) => deviceAccount(deviceId),
  removeDeviceAccount: (deviceId) => { deviceAccounts.delete(deviceId); },
  listDeviceAccounts: ({ deviceId }) => [...deviceAccounts.keys()].filter((id) => !deviceId || id === deviceId).map(deviceAccount),

  createDevice: (id, data) => { devices.set(id, data); },
  readDevice: (id) => devices.get(id) ?? null,
  updateDevice: (id, data) => { devices.set(id, { ...devices.get(id), ...data }); },
  deleteDevice: (id) => { devices.delete(id); },

  findLexicon: (id) => lexicons.get(id) ?? null,
  storeLexicon: (id, data) => { lexicons.set(id, data); },
  deleteLexicon: (id) => { lexicons.delete(id); },

  createRequest: (id, data) => { requests.set(id, data); },
  readRequest: (id) => requests.get(id) ?? null,
  updateRequest: (id, data) => { requests.set(id, { ...requests.get(id), ...data }); },
  deleteRequest: (id) => { requests.delete(id); },
  consumeRequestCode(code) {
    const [requestId, data] = [...requests].find(([, request]) => request.code === code) ?? [];
    requests.delete(requestId);
    return data ? { requestId, data } : null;
  },

  createToken: (id, data, refreshToken) => { tokens.set(id, { data, refreshTokens: refreshToken ? [refreshToken] : [] }); },
  readToken: info,
  deleteToken: (id) => { tokens.delete(id); },
  rotateToken(id, newId, refreshToken, data) {
    const token = tokens.get(id);
    tokens.delete(id);
    tokens.set(newId, { data: { ...token.data, ...data }, refreshTokens: [...token.refreshTokens, refreshToken] });
  },
  findTokenByRefreshToken: (refreshToken) => find((token) => token.refreshTokens.includes(refreshToken)),
  findTokenByCode: (code) => find(({ data }) => data.code === code),
  listAccountTokens: () => [...tokens.keys()].map(info),
};

const provider = new OAuthProvider({
  issuer,
  keyset: [await JoseKey.generate(['ES256'], 'k')],
  store,
  metadata: { protected_resources: [resource] },
  safeFetch: (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input);
    if (!Object.hasOwn(documents, url.origin)) throw new Error(`no such origin: ${url.origin}`);
    return fetch(documents[url.origin] + url.pathname, { headers: { accept: 'application/json' }, redirect: init?.redirect });
  },
  onCreateToken: ({ claims }) => ({ ...claims, aud: resource, exp: claims.iat + lifetime }),
});
Object.defineProperty(provider.tokenManager, 'tokenMaxAge', { get: () => lifetime * 1000 });

protect(app, resource, {
  authorization_servers: [issuer],
  scopes_supported: ['atproto'],
  bearer_methods_supported: ['header'],
  dpop_signing_alg_values_supported: provider.metadata.dpop_signing_alg_values_supported,
  dpop_bound_access_tokens_required: true,
}, async (request) => {
  const headers = { 'DPoP-Nonce': provider.nextDpopNonce() };
  try {
    if (!request.headers.authorization) throw { wwwAuthenticateHeader: 'DPoP' };
    const { jti } = await provider.authenticateRequest(request.method, new URL(request.url, issuer), request.headers, { audience: [resource] });
    if (!tokens.has(jti)) throw { wwwAuthenticateHeader: 'DPoP error="invalid_token"' }; // revoked
    return headers;
  } catch ({ wwwAuthenticateHeader = 'DPoP error="invalid_token"' }) {
    throw { challenge: wwwAuthenticateHeader + (wwwAuthenticateHeader.includes(' ') ? ',' : ''), headers };
  }
});
app.use(oauthMiddleware(provider));

console.log(JSON.stringify({ issuer, mcp: resource }));
await obey({
  counts() { // and forgets them
    const counted = { ...counts };
    for (const path of Object.keys(counts)) delete counts[path];
    return counted;
  },
});
