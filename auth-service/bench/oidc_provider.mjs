// The peer of auth.py: npm oidc-provider with its in-memory adapter. PORT, and SESSIONS refresh tokens at GET /bench.
import http from 'node:http';
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';

const { default: Provider } = await import(createRequire(`${process.env.MODULES}/`).resolve('oidc-provider'));
const port = Number(process.env.PORT);
const jwk = { ...generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' };
const resource = 'https://api.example';
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [jwk] },
  clients: [{
    client_id: 'bench', client_secret: 'secret', token_endpoint_auth_method: 'client_secret_basic',
    grant_types: ['refresh_token', 'authorization_code', 'client_credentials'], redirect_uris: ['https://client.example/cb'],
    id_token_signed_response_alg: 'ES256',
  }],
  findAccount: (ctx, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  rotateRefreshToken: true,
  scopes: ['offline_access', 'read'],
  features: {
    clientCredentials: { enabled: true }, introspection: { enabled: true }, devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true, defaultResource: () => resource, useGrantedResource: () => true,
      getResourceServerInfo: () => ({ scope: 'read', audience: resource, accessTokenTTL: 600, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }),
    },
  },
});

async function refreshTokens(count) {
  const client = await provider.Client.find('bench');
  const made = [];
  for (let n = 0; n < count; n += 1) {
    const grant = new provider.Grant({ accountId: 'ann', clientId: 'bench' });
    grant.addResourceScope(resource, 'read');
    grant.addOIDCScope('offline_access');
    const grantId = await grant.save();
    const token = new provider.RefreshToken({
      accountId: 'ann', client, grantId, gty: 'authorization_code', scope: 'offline_access read', resource, rotations: 0,
    });
    made.push(await token.save());
  }
  return made;
}

const answer = provider.callback();
http.createServer(async (request, response) => {
  if (request.url !== '/bench') return answer(request, response);
  try {
    const client = await provider.Client.find('bench');
    const opaque = await new provider.ClientCredentials({ client, scope: 'read' }).save();
    response.end(JSON.stringify({ refresh: await refreshTokens(Number(process.env.SESSIONS)), opaque }));
  } catch (error) { response.statusCode = 500; response.end(String(error.stack)); }
}).listen(port, '127.0.0.1');
