import assert from "node:assert/strict";
import { test } from "node:test";

import { accepted, frame, reader } from "./socket.mjs";

const TEXT = 1;
// "Hello" of a client, from section 5.7 of RFC 6455.
const HELLO = Buffer.from([0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);

function texts(...pieces) {
  const found = [];
  const read = reader({ [TEXT]: (text) => found.push(text.toString()) });
  const codes = pieces.map(read).filter(Boolean);
  return [found, ...codes];
}

test("keys and frames are those of the examples of RFC 6455", () => {
  assert.equal(accepted("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  assert.deepEqual(frame(TEXT, Buffer.from("Hello")), Buffer.from([0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]));
  assert.deepEqual([...frame(TEXT, Buffer.alloc(256)).subarray(0, 4)], [0x81, 126, 1, 0]);
});

test("frames are read however their bytes come", () => {
  const two = Buffer.concat([HELLO, HELLO]);
  for (let cut = 0; cut <= two.length; cut++) {
    assert.deepEqual(texts(two.subarray(0, cut), two.subarray(cut)), [["Hello", "Hello"]]);
  }
});

test("what is no short masked text is refused", () => {
  const changed = (place, value) => Buffer.from(HELLO.map((byte, at) => (at === place ? value : byte)));
  assert.deepEqual(texts(changed(1, 0x05)), [[], 1002], "not masked");
  assert.deepEqual(texts(changed(0, 0x01)), [[], 1002], "the first of several fragments");
  assert.deepEqual(texts(changed(0, 0xc1)), [[], 1002], "a bit of an extension");
  assert.deepEqual(texts(changed(1, 0xfe)), [[], 1009], "longer");
});
