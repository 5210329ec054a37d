// Who is in the shop: at /visitors a WebSocket on which whatever a visitor says is answered by how many there are.

import { GOING_AWAY, open, refuse } from "./socket.mjs";

// Lets the visitors of this instance in. Returns what sends them all away.
export function visitors(server, servedBy) {
  const all = new Set();
  const count = () => JSON.stringify({ visitors: all.size, served_by: servedBy });
  server.on("upgrade", (request, socket, begun) => {
    socket.unshift(begun);
    if (request.url.split("?")[0] !== "/visitors") return refuse(socket, "404 Not Found");
    const close = open(request.headers, socket, { "X-Served-By": servedBy }, count);
    if (!close) return undefined;
    all.add(close);
    return socket.on("close", () => all.delete(close));
  });
  return () => all.forEach((close) => close(GOING_AWAY));
}
