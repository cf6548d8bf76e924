// Time as the server has it: this machine's clock may be wrong, and every time that is shown comes from the server.

let ahead = 0;

/** Take the server's time, in seconds, as it is now. */
export function setServerTime(now) { ahead = now - Date.now() / 1000; }

/** The server's time in seconds. */
export const serverNow = () => Date.now() / 1000 + ahead;

export const secondsOf = (iso) => Date.parse(iso) / 1000;

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const clock = (seconds) => CLOCK.format(seconds * 1000);
export const fullTime = (seconds) => FULL.format(seconds * 1000);

/** "Today", "Yesterday", "Friday, 20 November". */
export function day(seconds) {
  const midnight = (at) => new Date(at * 1000).setHours(0, 0, 0, 0);
  const daysAgo = Math.round((midnight(serverNow()) - midnight(seconds)) / 86_400_000);
  return ["Today", "Yesterday"][daysAgo] ?? DAY.format(seconds * 1000);
}

/** "4.2 s", "48 s", "3 min 20 s", "2 h 5 min", "3 days". */
export function duration(seconds) {
  if (seconds < 10) return `${Math.max(0, seconds).toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return `${minutes} min ${Math.floor(seconds % 60)} s`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}

/** The same in one unit: "48 s", "3 min", "2 h", "3 days". */
export const briefly = (seconds) => duration(seconds).replace(/^(\d+)\.\d+/, "$1").replace(/(min|h) .*/, "$1");
