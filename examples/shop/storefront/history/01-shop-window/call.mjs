// Calls other services, always through the gateway, over connections that are kept.

import http from "node:http";

const TIMEOUT_MS = 5000;
const FORWARDED = ["baggage", "traceparent"];
const agent = new http.Agent({ keepAlive: true, maxSockets: 64 });

// Returns call(service, path, headers) for services by their URL, such as http://127.0.0.1:8500/@orders. An answer
// has the document and who served it; any status but 200 is an error. Headers are those of the request to answer.
export function caller(urls) {
  return async (service, path, headers) => {
    const forwarded = Object.fromEntries(FORWARDED.flatMap((name) => (headers[name] ? [[name, headers[name]]] : [])));
    const url = `${urls[service]}${path}`;
    try {
      return await get(service, url, forwarded);
    } catch (error) {
      // A kept connection may have been closed meanwhile; that is no failure of the call.
      if (error.code === "ECONNRESET" && error.reusedSocket) return get(service, url, forwarded);
      throw error;
    }
  };
}

function get(service, url, headers) {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent, headers, timeout: TIMEOUT_MS }, async (response) => {
      try {
        let body = "";
        for await (const chunk of response.setEncoding("utf8")) body += chunk;
        if (response.statusCode !== 200) throw new Error(`${service} answered ${response.statusCode}: ${body}`);
        resolve({ document: JSON.parse(body), servedBy: response.headers["x-served-by"] ?? "unknown" });
      } catch (error) {
        reject(error);
      }
    });
    request.on("timeout", () => request.destroy(new Error(`${service} did not answer in ${TIMEOUT_MS} ms`)));
    request.on("error", (error) => reject(Object.assign(error, { reusedSocket: request.reusedSocket })));
  });
}
