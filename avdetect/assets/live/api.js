// Requests to the service. Who is not signed in any more is asked to.

let onSignedOut = () => {};
export function whenSignedOut(handler) { onSignedOut = handler; }

async function request(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", ...options });
  if (answer.status === 401) onSignedOut();
  if (!answer.ok) throw new Error(await reasonOf(answer));
  return answer.status === 204 ? null : answer.json();
}

async function reasonOf(answer) {
  try {
    const { detail } = await answer.json();
    return typeof detail === "string" ? detail : `The service answered ${answer.status}.`;
  } catch {
    return `The service answered ${answer.status}.`;
  }
}

function query(parameters) {
  const filled = Object.entries(parameters).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return filled.length ? `?${new URLSearchParams(filled)}` : "";
}

function send(method, path, body) {
  return request(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

export const getSession = () => request("/api/session");
export const signIn = (token) => send("POST", "/api/session", { token });
export const signOut = () => request("/api/session", { method: "DELETE" });
export const getScores = (feed, since) => request(`/api/feeds/${encodeURIComponent(feed)}/scores${query({ since })}`);
export const getEvents = (parameters) => request(`/api/events${query(parameters)}`);
export const getGaps = (parameters) => request(`/api/gaps${query(parameters)}`);
export const putThreshold = (feed, name, threshold) =>
  send("PUT", `/api/feeds/${encodeURIComponent(feed)}/thresholds/${encodeURIComponent(name)}`, { threshold });
export const putAnswer = (id, answer) => send("PUT", `/api/events/${encodeURIComponent(id)}/answer`, { answer });
export const clipUrl = (name) => `/clips/${encodeURIComponent(name)}`;
export const thumbnailUrl = (name) => `/thumbnails/${encodeURIComponent(name)}`;
