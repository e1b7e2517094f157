// The service worker, what it has kept, and whether there is a network.

export type Kept = "not yet" | "kept" | "no room" | "impossible";

const PROBE_EVERY = 15_000;

/** Register the worker; call `onUpdate` when a new version of the page is ready. */
export async function register(onUpdate: (apply: () => void) => void): Promise<ServiceWorkerRegistration | null> {
  if (!("serviceWorker" in navigator) || import.meta.env.DEV) return null;
  try {
    const registration = await navigator.serviceWorker.register(new URL("sw.js", document.baseURI));
    const offer = () => {
      const { waiting } = registration;
      if (!waiting || !navigator.serviceWorker.controller) return;
      onUpdate(() => {
        navigator.serviceWorker.addEventListener("controllerchange", () => location.reload(), { once: true });
        waiting.postMessage({ update: true });
      });
    };
    offer();
    registration.addEventListener("updatefound", () => {
      registration.installing?.addEventListener("statechange", offer);
    });
    return registration;
  } catch {
    // A full store, a private window or plain http: the page works, online.
    return null;
  }
}

/** Keep what this visit has used, and these: then the page works with the server gone. */
export async function keep(registration: ServiceWorkerRegistration | null, urls: string[]): Promise<Kept> {
  if (!registration) return "impossible";
  const worker = registration.active ?? (await activated(registration));
  if (!worker) return "no room";
  const used = performance.getEntriesByType("resource").map(({ name }) => name);
  const ours = [...used, ...urls.map((url) => new URL(url, document.baseURI).href)].filter(
    (url) => url.startsWith(registration.scope) && !new URL(url).searchParams.has("probe") && !url.endsWith("/sw.js"),
  );
  const { port1, port2 } = new MessageChannel();
  const answer = new Promise<{ kept: boolean; full?: boolean }>((resolve) => {
    port1.onmessage = (event: MessageEvent<{ kept: boolean; full?: boolean }>) => resolve(event.data);
  });
  worker.postMessage({ keep: [...new Set(ours)] }, [port2]);
  const { kept, full } = await answer;
  return kept ? "kept" : full ? "no room" : "not yet";
}

/** The worker once it is ready, or null if its installation failed, as it does without room. */
function activated(registration: ServiceWorkerRegistration): Promise<ServiceWorker | null> {
  const worker = registration.installing ?? registration.waiting;
  return new Promise((resolve) => {
    const look = () => {
      if (!worker || worker.state === "redundant") resolve(null);
      else if (worker.state === "activated") resolve(worker);
    };
    worker?.addEventListener("statechange", look);
    look();
  });
}

/** Ask the server every few seconds whether it is there: `navigator.onLine` only knows of a cable. */
export function probe(onAnswer: (online: boolean) => void): void {
  let timer = 0;
  const ask = async () => {
    clearTimeout(timer);
    let online = false;
    try {
      const url = new URL("manifest.webmanifest?probe", document.baseURI);
      const response = await fetch(url, { method: "HEAD", cache: "no-store", signal: AbortSignal.timeout(5000) });
      online = response.ok;
    } catch {
      // No answer is the answer.
    }
    onAnswer(online);
    timer = window.setTimeout(() => document.hidden || void ask(), PROBE_EVERY);
  };
  for (const name of ["online", "offline"]) addEventListener(name, () => void ask());
  document.addEventListener("visibilitychange", () => document.hidden || void ask());
  void ask();
}
