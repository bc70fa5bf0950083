// oidc-provider with all its ways to authenticate a client and to bind a token, and an
// MCP server that takes its tokens. The test's JSON says which of them are in force:
//
//   clients  configured clients
//   tls      { cert, key, ca } in PEM: everything speaks TLS, and the aliases of RFC 8705,
//            section 5, ask for a client certificate, which ca may have issued
//   bound    the MCP server is at the aliases, and wants certificate-bound tokens
//   dpop     "required" or "offered" by the MCP server
//   nonces   both servers want DPoP proofs with their nonces
//   par      the authorization server wants pushed authorization requests
//   deviceSeconds  how long a device code lasts
//   initial  the initial access token that registration wants
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createServer as createTLSServer } from 'node:https';
import express from 'express';
import { createLocalJWKSet, decodeJwt, jwtVerify } from 'jose';
import * as oauth from 'oauth4webapi';
import Provider, { errors } from 'oidc-provider';
import { protect } from './mcp.mjs';
import { lifetime, obey } from './server.mjs';

const { clients = [], tls, bound, dpop, nonces, par, initial, deviceSeconds = 600 } = JSON.parse(process.argv[2]);

const app = express();
const listen = async (server) => {
  await new Promise((up) => server.listen(0, '127.0.0.1', up));
  return `${tls ? 'https' : 'http'}://127.0.0.1:${server.address().port}`;
};
const issuer = await listen(tls ? createTLSServer(tls, app) : createServer(app));
const aliases = tls && await listen(createTLSServer({ ...tls, requestCert: true, rejectUnauthorized: false }, app));
const resource = `${bound ? aliases : issuer}/mcp`;

// What a client requested, the MCP server's traffic aside.
const counts = {};
app.use((request, _, next) => {
  if (request.path !== '/mcp') counts[request.path] = (counts[request.path] ?? 0) + 1;
  next();
});

let deviceLifetime = deviceSeconds;
const signing = generateKeyPairSync('rsa', { modulusLength: 2048 });
const certificate = (ctx) => ctx.req.socket.getPeerX509Certificate?.();
const subjects = {
  tls_client_auth_subject_dn: ({ subject }, expected) => subject.split('\n').reverse().join(',') === expected,
  tls_client_auth_san_dns: ({ subjectAltName = '' }, expected) => subjectAltName.split(', ').includes(`DNS:${expected}`),
  tls_client_auth_san_uri: ({ subjectAltName = '' }, expected) => subjectAltName.split(', ').includes(`URI:${expected}`),
};
const endpoints = {
  token_endpoint: '/token', revocation_endpoint: '/token/revocation', introspection_endpoint: '/token/introspection',
  pushed_authorization_request_endpoint: '/request', device_authorization_endpoint: '/device/auth',
};

const provider = new Provider(issuer, {
  clients,
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt',
    ...tls ? ['tls_client_auth', 'self_signed_tls_client_auth'] : []],
  enabledJWA: {
    clientAuthSigningAlgValues: ['HS256', 'RS256', 'PS256', 'ES256', 'ES384', 'EdDSA', 'Ed25519'],
  },
  scopes: ['openid', 'offline_access', 'tools'],
  jwks: { keys: [{ ...signing.privateKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256', use: 'sig' }] },
  discovery: aliases && {
    mtls_endpoint_aliases: Object.fromEntries(Object.entries(endpoints).map(([name, path]) => [name, aliases + path])),
  },
  features: {
    clientCredentials: { enabled: true },
    deviceFlow: { enabled: true },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => nonces === true },
    introspection: { enabled: true },
    mTLS: {
      enabled: tls !== undefined,
      certificateBoundAccessTokens: tls !== undefined,
      selfSignedTlsClientAuth: tls !== undefined,
      tlsClientAuth: tls !== undefined,
      getCertificate: (ctx) => certificate(ctx)?.toString(),
      certificateAuthorized: (ctx) => ctx.req.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) => subjects[property](certificate(ctx), expected),
    },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: par === true },
    registration: { enabled: true, initialAccessToken: initial ?? false },
    registrationManagement: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_, indicator) {
        if (indicator !== resource) throw new errors.InvalidTarget();
        return {
          scope: 'tools', audience: resource, accessTokenTTL: lifetime, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'RS256' } },
        };
      },
    },
    revocation: { enabled: true },
  },
  ttl: { DeviceCode: () => deviceLifetime },
  rotateRefreshToken: true,
});

const registered = [];
provider.on('registration_create.success', (_, client) => registered.push(client.clientId));

const jwks = { keys: [{ ...signing.publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'RS256' }] };
const keys = createLocalJWKSet(jwks);
const as = { issuer, jwks_uri: `${issuer}/jwks` };
const wanted = randomBytes(8).toString('hex'); // the MCP server's nonce

// byKey checks a token and its proof with the library of oidc-provider's author.
async function byKey(request) {
  const headers = nonces ? { 'DPoP-Nonce': wanted } : {};
  const fail = (error) => {
    throw { challenge: `${dpop ? `DPoP algs="ES256 RS256 PS256 EdDSA"${error && `, error="${error}"`},` : `Bearer${error && ` error="${error}",`}`}`, headers };
  };
  if (!request.get('authorization')) fail('');
  const proof = request.get('dpop');
  if (nonces && proof) {
    let nonce;
    try { ({ nonce } = decodeJwt(proof)); } catch { fail('invalid_dpop_proof'); }
    if (nonce !== wanted) fail('use_dpop_nonce');
  }
  try {
    await oauth.validateJwtAccessToken(as, new Request(new URL(request.url, resource), {
      method: request.method, headers: { authorization: request.get('authorization'), ...proof && { dpop: proof } },
    }), resource, { requireDPoP: dpop === 'required', [oauth.allowInsecureRequests]: true,
      [oauth.customFetch]: async () => Response.json(jwks) }); // which it need not fetch from itself
  } catch {
    fail('invalid_token');
  }
  return headers;
}

// byCertificate checks a token and that it is bound to the connection's certificate.
async function byCertificate(request) {
  try {
    const { payload } = await jwtVerify(request.get('authorization')?.replace(/^bearer /i, '') ?? '', keys, { issuer, audience: resource });
    const { raw } = request.socket.getPeerX509Certificate();
    if (payload.cnf['x5t#S256'] !== createHash('sha256').update(raw).digest('base64url')) throw new Error('another certificate');
  } catch {
    throw { challenge: `Bearer${request.get('authorization') ? ' error="invalid_token",' : ''}` };
  }
}

protect(app, resource, {
  authorization_servers: [issuer],
  scopes_supported: ['tools'],
  bearer_methods_supported: ['header'],
  ...dpop && { dpop_signing_alg_values_supported: ['ES256', 'RS256', 'PS256', 'EdDSA'] },
  ...dpop === 'required' && { dpop_bound_access_tokens_required: true },
  ...bound && { tls_client_certificate_bound_access_tokens: true },
}, bound ? byCertificate : byKey);
app.use(provider.callback());

console.log(JSON.stringify({ issuer, mcp: resource, mtls: aliases }));
await obey({
  'forget-clients': async () => { for (const id of registered.splice(0)) await provider.Client.adapter.destroy(id); },
  'device-lifetime': (seconds) => { deviceLifetime = Number(seconds); },
  counts() { // and forgets them
    const counted = { ...counts };
    for (const path of Object.keys(counts)) delete counts[path];
    return counted;
  },
});
