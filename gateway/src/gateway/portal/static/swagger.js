// The password form signs in at the origin that this page came from: the document names PUBLIC_URL, which another
// name of the same gateway (127.0.0.1, a tenant's subdomain) may not call.
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const paint = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", paint);
paint();

const response = await fetch("/openapi.json");
const spec = await response.json();
const signIn = spec.components.securitySchemes.sign_in.flows.password;
signIn.tokenUrl = new URL("/auth/login", window.location.href).href;

window.SwaggerUIBundle({
  spec,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  docExpansion: "none", // tags first: Swagger UI 5.35 leaves out most operations where more than 120 are open
  defaultModelsExpandDepth: 0,
  tryItOutEnabled: true,
});

// Swagger UI focuses the last scheme of its dialog; sign-in is the first.
document.addEventListener("click", (event) => {
  if (event.target.closest(".auth-wrapper > .authorize")) {
    requestAnimationFrame(() => document.getElementById("oauth_username")?.focus());
  }
});
