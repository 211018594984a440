/** One question to the gateway, by HTTP. */

/** An answer of the gateway that is an error, in its words. */
export class GatewayError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, { cache: "no-store", ...init });
  if (response.ok || response.status === 304) return response;
  let words = `${response.status} ${response.statusText}`;
  try {
    const error = (await response.json()) as { message: string; hint: string };
    words = error.hint ? `${error.message} (${error.hint})` : error.message;
  } catch {
    // Not of the gateway, but of something between: its status has to do.
  }
  throw new GatewayError(response.status, words);
}
