// A person's browser without scripts: follows redirects, keeps cookies, fills in the forms of sign-in and consent.
const unescape = (text) => text.replaceAll("&amp;", "&").replaceAll("&#34;", '"').replaceAll("&#39;", "'");

export class Browser {
  cookies = new Map();

  constructor(origin) {
    this.origin = origin;
  }

  async fetch(url, options = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { ...(cookie && { Cookie: cookie }), Origin: this.origin, ...options.headers };
    const reply = await fetch(url, { ...options, headers, redirect: "manual" });
    for (const line of reply.headers.getSetCookie()) {
      const [pair] = line.split(";");
      this.cookies.set(pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1));
    }
    return reply;
  }

  // Opens `url` and does what each page asks, until the answer is at `end`; returns that URL. Without `end` the last
  // page is one that asks for nothing.
  async walk(url, end, person, decision = "allow") {
    let reply = await this.fetch(url);
    for (let step = 0; step < 12; step += 1) {
      const location = reply.headers.get("location");
      if (location !== null) {
        const next = new URL(location, url);
        if (end !== null && next.href.startsWith(end)) return next;
        reply = await this.fetch(next);
        continue;
      }
      const html = await reply.text();
      if (reply.status >= 400) throw new Error(`${reply.status} at ${reply.url}: ${html.slice(0, 2000)}`);
      if (end === null && !html.includes("<form")) return null;
      reply = await this.submit(html, { ...person, decision });
    }
    throw new Error(`no end after twelve steps from ${url}`);
  }

  async submit(html, typed) {
    const form = html.match(/<form[^>]*action="([^"]+)"/);
    if (form === null) throw new Error(`no form: ${html.slice(0, 2000)}`);
    const fields = new URLSearchParams();
    for (const [, name, value] of html.matchAll(/type="hidden" name="(\w+)" value="([^"]*)"/g)) {
      fields.set(name, unescape(value));
    }
    for (const name of ["username", "password", "decision", "user_code"]) {
      if (html.includes(`name="${name}"`) && !fields.has(name) && typed[name] !== undefined) fields.set(name, typed[name]);
    }
    return this.fetch(new URL(form[1], this.origin), { method: "POST", body: fields });
  }
}
