// Answers from the server that this page came from.

export const still = false;

export async function archives() {
  return fetched("api/store");
}

export async function ask(provider, question, params, signal) {
  return fetched(address(provider, question, params), signal);
}

export function address(provider, question, params) {
  const query = params ? `?${params}` : "";
  return `api/${encodeURIComponent(provider)}/${question}${query}`;
}

export function download(provider, question, params, form) {
  const link = document.createElement("a");
  link.href = address(provider, `${question}.${form}`, params);
  link.download = `${provider}-${question}.${form}`;
  document.body.append(link);
  link.click();
  link.remove();
}

async function fetched(url, signal) {
  const response = await fetch(url, { signal, headers: { accept: "application/json" } });
  const isJson = response.headers.get("content-type")?.startsWith("application/json");
  const body = isJson ? await response.json() : { error: await response.text() };
  if (!response.ok) throw new Error(body.error || response.statusText);
  return body;
}
