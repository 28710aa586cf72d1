// npm oauth4webapi against the running fleet, as a public client: prints a line of JSON for each step that worked.
import * as oauth from "oauth4webapi";

import { Browser } from "./browser.mjs";

const { issuer, public_id, redirect_uri, username, password } = JSON.parse(process.argv[2]);
const done = (step, details = {}) => console.log(JSON.stringify({ step, ...details }));
const plain = { [oauth.allowInsecureRequests]: true };
const url = new URL(issuer);
const server = await oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm: "oauth2", ...plain }));
done("discovery", { issuer: server.issuer });

const client = { client_id: public_id };
const auth = oauth.None();
const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const asked = new URL(server.authorization_endpoint);
const parameters = {
  client_id: public_id,
  redirect_uri,
  response_type: "code",
  scope: "openid jobs:read",
  state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
};
for (const [name, value] of Object.entries(parameters)) asked.searchParams.set(name, value);
const back = await new Browser(issuer).walk(asked, redirect_uri, { username, password });
const answer = oauth.validateAuthResponse(server, client, back, state);
const reply = await oauth.authorizationCodeGrantRequest(server, client, auth, answer, redirect_uri, verifier, plain);
const tokens = await oauth.processAuthorizationCodeResponse(server, client, reply, { requireIdToken: true });
const { sub } = oauth.getValidatedIdTokenClaims(tokens);
await oauth.validateApplicationLevelSignature(server, reply, plain);
done("code", { sub, scope: tokens.scope });

const userinfo = await oauth.userInfoRequest(server, client, tokens.access_token, plain);
done("userinfo", { sub: (await oauth.processUserInfoResponse(server, client, sub, userinfo)).sub });
const again = await oauth.refreshTokenGrantRequest(server, client, auth, tokens.refresh_token, plain);
const refreshed = await oauth.processRefreshTokenResponse(server, client, again);
done("refresh", { scope: refreshed.scope });
const revoked = await oauth.revocationRequest(server, client, auth, refreshed.refresh_token, plain);
await oauth.processRevocationResponse(revoked);
const late = await oauth.refreshTokenGrantRequest(server, client, auth, refreshed.refresh_token, plain);
done("revocation", { status: late.status });
const resource = await oauth.resourceDiscoveryRequest(url, plain);
const metadata = await oauth.processResourceDiscoveryResponse(url, resource);
done("protected_resource", { servers: metadata.authorization_servers });
