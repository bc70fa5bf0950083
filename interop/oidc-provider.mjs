// oidc-provider with its own login and consent pages and its own store. Its
// defaults hold but for what a resource server needs, for rotation, and for the
// methods in which clients may authenticate, which the test gives; and for a proxy
// that is a client, as proxy:SECRET:REDIRECT_URI.
import Provider, { errors } from 'oidc-provider';
import { issuer, lifetime, more, resource, serve } from './server.mjs';

const [proxy] = more.filter((arg) => arg.startsWith('proxy:'));
const [, proxySecret, redirectURI] = proxy?.match(/^proxy:([^:]*):(.*)$/) ?? [];

const methods = more.filter((arg) => arg !== proxy);

const provider = new Provider(issuer, {
  clients: [...(proxy ? [{
    client_id: 'proxy', client_secret: proxySecret, token_endpoint_auth_method: 'client_secret_basic',
    redirect_uris: [redirectURI], grant_types: ['authorization_code', 'refresh_token'], scope: 'openid offline_access tools',
  }] : []), {
    client_id: 'gate', client_secret: 'the-secret-of-the-gate', token_endpoint_auth_method: methods[0],
    redirect_uris: [], response_types: [], grant_types: [],
  }],
  clientAuthMethods: methods,
  scopes: ['openid', 'offline_access', 'tools'],
  features: {
    registration: { enabled: true },
    registrationManagement: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_, indicator) {
        if (indicator !== resource) throw new errors.InvalidTarget();
        return { scope: 'tools' };
      },
    },
  },
  ttl: { AccessToken: () => lifetime },
  rotateRefreshToken: true,
});

const registered = [];
provider.on('registration_create.success', (_, client) => registered.push(client.clientId));

await serve(provider.callback(), async () => {
  for (const id of registered.splice(0)) await provider.Client.adapter.destroy(id);
});
