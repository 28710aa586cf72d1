// An upstream issuer: npm oidc-provider with its own sign-in pages, where any password is right. It prints its port.
// MODULES: the folder with node_modules. ACCOUNTS: the claims of each account by its id, as JSON.
import http from 'node:http';
import { createRequire } from 'node:module';
import { generateKeyPairSync } from 'node:crypto';

const { default: Provider } = await import(createRequire(`${process.env.MODULES}/`).resolve('oidc-provider'));
const accounts = JSON.parse(process.env.ACCOUNTS);
const key = (kind, options, alg) => ({ ...generateKeyPairSync(kind, options).privateKey.export({ format: 'jwk' }), alg, use: 'sig' });

let answer;
const server = http.createServer((request, response) => answer(request, response));
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks: { keys: [key('rsa', { modulusLength: 2048 }, 'RS256'), key('ec', { namedCurve: 'P-256' }, 'ES256')] },
    clients: [{
      client_id: 'flotilla', client_secret: 's3cret: %/&+', redirect_uris: ['https://flotilla.example/callback'],
      grant_types: ['authorization_code'], id_token_signed_response_alg: process.env.ALGORITHM,
    }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['preferred_username'] },
    findAccount: (context, id) => ({ accountId: id, claims: async () => ({ sub: id, ...accounts[id] }) }),
    cookies: { keys: ['a key for tests'] },
  });
  // Our redirect URI has the id of a row that is made after this process has started.
  provider.Client.prototype.redirectUriAllowed = (uri) => uri.startsWith('http://localhost:8000/auth/upstream/');
  answer = provider.callback();
  process.stdout.write(`${port}\n`);
});
