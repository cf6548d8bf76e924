// The stream of changes: opened again whenever it breaks, and given up for dead when it is silent.

const SILENCE_MS = 15_000; // the service says something every five seconds
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];
const KINDS = ["feeds", "score", "event", "gap", "state", "clip", "answer"];

/**
 * Keep a stream open.
 *
 * `handlers` has a function for each kind, and `opened()`, `lost()`: after `opened` there may be changes that were missed.
 */
export function followChanges(handlers) {
  let source = null, attempts = 0, watchdog = 0, retry = 0;

  function heard() {
    clearTimeout(watchdog);
    watchdog = setTimeout(again, SILENCE_MS);
  }

  function open() {
    clearTimeout(retry);
    source = new EventSource("/api/stream");
    source.onopen = () => { attempts = 0; handlers.opened(); };
    source.onerror = again;
    for (const kind of KINDS) {
      source.addEventListener(kind, (message) => { heard(); handlers[kind](JSON.parse(message.data)); });
    }
    heard();
  }

  function again() {
    stop();
    handlers.lost();
    retry = setTimeout(open, RETRY_MS[Math.min(attempts++, RETRY_MS.length - 1)] * (0.75 + Math.random() / 2));
  }

  function stop() {
    clearTimeout(watchdog);
    clearTimeout(retry);
    source?.close();
  }

  // A laptop that wakes up, a phone that finds its network again: do not wait for the timer.
  addEventListener("online", () => { if (source?.readyState !== EventSource.OPEN) { stop(); open(); } });
  open();
  return { stop };
}
