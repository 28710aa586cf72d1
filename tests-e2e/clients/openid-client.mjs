// npm openid-client against the running fleet: prints a line of JSON for each step that worked.
import * as oidc from "openid-client";

import { Browser } from "./browser.mjs";

const settings = JSON.parse(process.argv[2]);
const { issuer, client_id, client_secret, redirect_uri, username, password } = settings;
const done = (step, details = {}) => console.log(JSON.stringify({ step, ...details }));
const plain = { execute: [oidc.allowInsecureRequests] };
const config = await oidc.discovery(new URL(issuer), client_id, client_secret, oidc.ClientSecretBasic(client_secret), plain);
done("discovery", { issuer: config.serverMetadata().issuer });

async function signIn(scope, { push = false, dpop } = {}) {
  const verifier = oidc.randomPKCECodeVerifier();
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const parameters = {
    redirect_uri,
    scope,
    state,
    nonce,
    code_challenge: await oidc.calculatePKCECodeChallenge(verifier),
    code_challenge_method: "S256",
  };
  const options = dpop ? { DPoP: dpop } : undefined;
  const url = push
    ? await oidc.buildAuthorizationUrlWithPAR(config, parameters, options)
    : oidc.buildAuthorizationUrl(config, parameters);
  const browser = new Browser(issuer);
  const back = await browser.walk(url, redirect_uri, { username, password });
  const checks = { pkceCodeVerifier: verifier, expectedState: state, expectedNonce: nonce, idTokenExpected: true };
  return { browser, tokens: await oidc.authorizationCodeGrant(config, back, checks, undefined, options) };
}

const { browser, tokens } = await signIn("openid profile email offline_access jobs:read");
const { sub } = tokens.claims();
done("code", { sub, scope: tokens.scope });
const about = await oidc.fetchUserInfo(config, tokens.access_token, sub);
done("userinfo", { username: about.preferred_username });
const refreshed = await oidc.refreshTokenGrant(config, tokens.refresh_token);
done("refresh", { same: refreshed.claims().sub === sub });
const shown = await oidc.tokenIntrospection(config, refreshed.access_token);
done("introspection", { active: shown.active, sub: shown.sub });
const jobs = await oidc.fetchProtectedResource(config, refreshed.access_token, new URL("/api/v1/jobs", issuer), "GET");
done("api", { status: jobs.status });
await oidc.tokenRevocation(config, refreshed.refresh_token);
done("revocation", { active: (await oidc.tokenIntrospection(config, refreshed.access_token)).active });
const pushed = await signIn("openid", { push: true });
done("par", { sub: pushed.tokens.claims().sub });

const dpop = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair());
const bound = (await signIn("openid jobs:read", { dpop })).tokens;
const path = new URL("/api/v1/jobs", issuer);
const proven = await oidc.fetchProtectedResource(config, bound.access_token, path, "GET", null, undefined, { DPoP: dpop });
const stolen = await fetch(path, { headers: { Authorization: `Bearer ${bound.access_token}` } });
const renewed = await oidc.refreshTokenGrant(config, bound.refresh_token, undefined, { DPoP: dpop });
done("dpop", { type: renewed.token_type, proven: proven.status, stolen: stolen.status });

const out = oidc.buildEndSessionUrl(config, { id_token_hint: tokens.id_token, post_logout_redirect_uri: redirect_uri });
const left = await browser.walk(out, redirect_uri, {});
const silent = oidc.buildAuthorizationUrl(config, {
  redirect_uri,
  scope: "openid",
  prompt: "none",
  code_challenge: await oidc.calculatePKCECodeChallenge(oidc.randomPKCECodeVerifier()),
  code_challenge_method: "S256",
});
const refused = await browser.walk(silent, redirect_uri, {});
done("logout", { at: left.href, then: refused.searchParams.get("error") });

const television = await oidc.discovery(new URL(issuer), settings.device_id, undefined, oidc.None(), plain);
const asked = await oidc.initiateDeviceAuthorization(television, { scope: "openid jobs:read" });
const person = { username, password, user_code: asked.user_code };
await new Browser(issuer).walk(asked.verification_uri, null, person);
const allowed = await oidc.pollDeviceAuthorizationGrant(television, { ...asked, interval: 0.1 });
done("device", { sub: allowed.claims().sub, scope: allowed.scope });

const proof = oidc.ClientSecretBasic(settings.machine_secret);
const machine = await oidc.discovery(new URL(issuer), settings.machine_id, settings.machine_secret, proof, plain);
const own = await oidc.clientCredentialsGrant(machine, { scope: "jobs:read" });
done("client_credentials", { scope: own.scope, type: own.token_type });
