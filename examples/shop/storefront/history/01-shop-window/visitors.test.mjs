import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import { after, before, test } from "node:test";

import { visitors } from "./visitors.mjs";

// "Hello" of a client, from section 5.7 of RFC 6455.
const HELLO = Buffer.from([0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
const server = http.createServer();
const sendAway = visitors(server, "storefront@1.0.0");

before(() => once(server.listen(0, "127.0.0.1"), "listening"));
after(() => server.close());

async function ask(path, version) {
  const key = { "sec-websocket-key": "eA==", "sec-websocket-version": version };
  const headers = { connection: "upgrade", upgrade: "websocket", ...key };
  const request = http.get({ port: server.address().port, path, headers });
  return Promise.race([once(request, "upgrade"), once(request, "response")]);
}

async function next(socket, length) {
  while (socket.readableLength < length) await once(socket, "readable");
  return socket.read(length);
}

test("visitors are counted until they go, and are told when the service does", async () => {
  const sockets = [];
  for (const count of [1, 2]) {
    const [, socket] = await ask("/visitors", "13");
    socket.write(HELLO);
    const [opcode, length] = await next(socket, 2);
    assert.equal(opcode, 0x81);
    assert.deepEqual(JSON.parse(await next(socket, length)), { visitors: count, served_by: "storefront@1.0.0" });
    sockets.push(socket);
  }
  sendAway();
  for (const socket of sockets) {
    assert.deepEqual([...(await next(socket, 4))], [0x88, 2, 1001 >> 8, 1001 & 255]);
    socket.end();
  }
});

test("what is not for visitors is refused", async () => {
  assert.equal((await ask("/other", "13"))[0].statusCode, 404);
  assert.equal((await ask("/visitors", "8"))[0].statusCode, 426);
});
