"use strict";

// Gives the challenge in the form to the browser's authenticator, which signs in or makes a passkey (data-ceremony), and
// sends the answer as a field of the form.
const form = document.getElementById("passkey");
const failed = document.getElementById("passkey-failed");
const autofocused = form.querySelector("[autofocus]");

async function answered() {
  const options = JSON.parse(form.dataset.options);
  if (form.dataset.ceremony === "create") {
    return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options) });
  }
  return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) });
}

async function answer(event) {
  event.preventDefault();
  failed.hidden = true;
  try {
    const credential = await answered();
    form.elements.credential.value = JSON.stringify(credential.toJSON());
    form.submit();
  } catch {
    failed.hidden = false; // cancelled, timed out, or no passkey here
  }
}

if (window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  form.hidden = false;
  autofocused?.focus();
  form.addEventListener("submit", answer);
} else {
  failed.hidden = false;
}
