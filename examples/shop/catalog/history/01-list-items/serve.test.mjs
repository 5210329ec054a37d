import assert from "node:assert/strict";
import { once } from "node:events";
import http2 from "node:http2";
import { after, before, test } from "node:test";

import { INTERNAL, INVALID_ARGUMENT, NOT_FOUND, Refusal, UNIMPLEMENTED } from "./grpc.mjs";
import { rpcs } from "./proto.mjs";
import { server } from "./serve.mjs";

const calls = rpcs("package a; service B { rpc C(D) returns (D); } message D { string text = 1; uint32 number = 20; }");
const { takes, gives } = calls["/a.B/C"];
calls["/a.B/C"].does = (message) => {
  if (message.text === "none") throw new Refusal(NOT_FOUND, "no, none");
  if (message.text === "bad") throw new TypeError("bad");
  return message;
};
const answer = ({ method, path, query }) => ({ status: 201, document: [method, path, query.get("q")] });
const served = server("b@1.0.0", answer, calls);
let session;

before(async () => {
  await once(served.listen(0, "127.0.0.1"), "listening");
  session = http2.connect(`http://127.0.0.1:${served.address().port}`);
});
after(() => {
  session.close();
  served.close();
});

async function ask(headers, body) {
  const stream = session.request(headers);
  let [head, trailers] = [{}, {}];
  stream.on("response", (fields) => (head = fields)).on("trailers", (fields) => (trailers = fields));
  stream.end(body);
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return { ...head, ...trailers, body: Buffer.concat(pieces) };
}

const framed = (message) => Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
const CALL = { ":method": "POST", "content-type": "application/grpc", te: "trailers" };
const call = (path, body) => ask({ ...CALL, ":path": path }, body);

test("JSON is answered", async () => {
  const { ":status": status, "x-served-by": servedBy, body } = await ask({ ":path": "/items?q=ea" });
  assert.deepEqual([status, servedBy, JSON.parse(body)], [201, "b@1.0.0", ["GET", "/items", "ea"]]);
});

test("a call is answered by a message and a status", async () => {
  const message = { text: "tea", number: 4_000_000_000 };
  const { ":status": status, "grpc-status": ended, body } = await call("/a.B/C", framed(takes.write(message)));
  assert.deepEqual([status, ended, gives.read(body.subarray(5))], [200, "0", message]);
  assert.deepEqual((await call("/grpc.health.v1.Health/Check", framed(Buffer.alloc(0)))).body, framed(Buffer.from([8, 1])));
});

test("what cannot be answered says why by its status", async () => {
  const text = (text) => framed(takes.write({ text, number: 0 }));
  for (const [path, body, status] of [
    ["/a.B/C", text("none"), NOT_FOUND],
    ["/a.B/C", text("bad"), INTERNAL],
    ["/a.B/C", text("tea").subarray(1), INTERNAL],
    ["/a.B/C", framed(Buffer.from([0x0a, 9])), INVALID_ARGUMENT],
    ["/a.B/X", text("tea"), UNIMPLEMENTED],
  ]) {
    const ended = await call(path, body);
    assert.deepEqual([ended[":status"], ended["grpc-status"]], [200, String(status)], ended["grpc-message"]);
  }
});
