// JSON over HTTP with keep-alive, and a stop that no client notices.

import http from "node:http";

import { visitors } from "./visitors.mjs";

// After SIGTERM answers say `Connection: close` for this long; then idle connections are closed.
const DRAIN_MS = 300;
const IDLE_MS = 75_000;

// Serves GET / with what `answer(headers)` resolves to, until SIGTERM or SIGINT.
export function serve(servedBy, answer) {
  let draining = false;

  const send = (response, status, document) => {
    const body = JSON.stringify({ ...document, served_by: servedBy });
    const headers = { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body), "X-Served-By": servedBy };
    if (draining) headers.Connection = "close";
    response.writeHead(status, headers).end(body);
  };

  const server = http.createServer({ keepAliveTimeout: IDLE_MS }, async (request, response) => {
    request.resume();
    try {
      const path = request.url.split("?")[0];
      if (path === "/health") send(response, 200, { status: "ok" });
      else if (path === "/") send(response, 200, await answer(request.headers));
      else send(response, 404, { error: `there is nothing at ${path}` });
    } catch (error) {
      console.error(error);
      send(response, 502, { error: error.message });
    }
  });

  const sendVisitorsAway = visitors(server, servedBy);
  const end = () => {
    server.close(() => process.exit(0));
    sendVisitorsAway();
  };
  const stop = () => {
    if (draining) return;
    draining = true;
    setTimeout(end, DRAIN_MS);
  };
  process.on("SIGTERM", stop).on("SIGINT", stop);
  const [host, port] = [process.env.HOST ?? "127.0.0.1", Number(process.env.PORT)];
  server.listen(port, host, () => console.error(`${servedBy} listens on ${host}:${port}`));
}
