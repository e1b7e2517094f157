// The page without a network. The build fills in the three tokens.
//
// On the first visit the page has fetched everything before this worker is there: what it asks for
// then comes from the browser's own cache, and nothing is fetched twice.

const VERSION = "__VERSION__";
/** What every visit needs. */
const APP = __APP__;
/** Runtimes and models: those are kept that this device has used. */
const OPTIONAL = new Set(__OPTIONAL__);

const PREFIX = "keras-vae-web ";
const CACHE = PREFIX + VERSION;
const absolute = (path) => new URL(path, self.registration.scope).href;
/** A name with a hash of its content never changes. */
const isFixed = (url) => /[-.][\w-]{8,}\.\w+$/.test(new URL(url).pathname);

self.addEventListener("install", (event) => event.waitUntil(install()));
self.addEventListener("activate", (event) => event.waitUntil(activate()));
self.addEventListener("message", (event) => event.waitUntil(answer(event)));
self.addEventListener("fetch", (event) => {
  const url = new URL(event.request.url);
  const isOurs = event.request.method === "GET" && url.href.startsWith(self.registration.scope);
  // The probe asks whether there is a network: it must not be answered from here.
  if (isOurs && !url.searchParams.has("probe")) event.respondWith(respond(event.request));
});

async function install() {
  const cache = await caches.open(CACHE);
  const isFirst = !self.registration.active;
  await Promise.all(APP.map((path) => keep(cache, absolute(path), isFirst)));
  if (isFirst) await self.skipWaiting();
}

async function activate() {
  const cache = await caches.open(CACHE);
  const names = await caches.keys();
  const older = names.filter((name) => name.startsWith(PREFIX) && name !== CACHE);
  for (const path of OPTIONAL) {
    const known = await caches.match(absolute(path));
    if (known && !(await cache.match(absolute(path)))) await cache.put(absolute(path), known);
  }
  await Promise.all(older.map((name) => caches.delete(name)));
  await self.clients.claim();
}

/** `{ keep: [url] }`: keep these too, and say whether all are kept. `{ update: true }`: take over. */
async function answer(event) {
  if (event.data?.update) return self.skipWaiting();
  const cache = await caches.open(CACHE);
  try {
    for (const url of event.data?.keep ?? []) await keep(cache, url, true);
    event.ports[0]?.postMessage({ kept: true });
  } catch (err) {
    event.ports[0]?.postMessage({ kept: false, full: err?.name === "QuotaExceededError" });
  }
}

async function keep(cache, url, fromBrowserCache) {
  if (await cache.match(url)) return;
  const known = isFixed(url) && (await caches.match(url));
  if (known) return cache.put(url, known);
  const mode = fromBrowserCache || isFixed(url) ? "force-cache" : "no-cache";
  const response = await fetch(new Request(url, { cache: mode }));
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  await cache.put(url, response);
}

async function respond(request) {
  const cache = await caches.open(CACHE);
  const known = await cache.match(request.mode === "navigate" ? absolute("./") : request, {
    ignoreSearch: request.mode === "navigate",
    ignoreVary: true,
  });
  if (known) return known;
  const response = await fetch(request);
  if (response.status === 200 && response.type === "basic") {
    // A full store must not break the page.
    await cache.put(request, response.clone()).catch(() => undefined);
  }
  return response;
}
