"use strict";
// What lies beside the page: scripts that call explore(name, data), for file:// forbids fetch.
const FACTS = JSON.parse(document.getElementById("facts").textContent);
const PATHS = new Map(FACTS.paths);
const requested = new Map();
const arrived = new Map();

function explore(name, data) {
  arrived.set(name, data);
}

function load(name) {
  if (!requested.has(name)) requested.set(name, request(name));
  return requested.get(name);
}

function request(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = PATHS.get(name);
    script.onload = () => {
      script.remove();
      resolve(arrived.get(name));
      arrived.delete(name);
    };
    script.onerror = () => {
      script.remove();
      requested.delete(name);
      reject(new Error(`${PATHS.get(name)} is not there: the page and its folder belong together`));
    };
    document.head.append(script);
  });
}

// Numbers travel as little-endian bytes in base64, which is the order of every current browser.
function buffer(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes.buffer;
}

function namesOf(kind) {
  return [...PATHS.keys()].filter(name => name.startsWith(`${kind}-`));
}
