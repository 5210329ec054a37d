import assert from "node:assert/strict";
import { test } from "node:test";

import { rpcs } from "./proto.mjs";

const declared = rpcs("package a; service B { rpc C(D) returns (D); } message D { string text = 1; uint32 number = 20; }");
const { takes } = declared["/a.B/C"];
const hex = (text) => Buffer.from(text.replaceAll(" ", ""), "hex");

test("messages are the bytes that Protobuf says", () => {
  assert.deepEqual(takes.write({ text: "testing", number: 150 }), hex("0a 07 74657374696e67 a001 9601"));
  assert.deepEqual(takes.write({ text: "", number: 0 }), hex(""));
  for (const number of [1, 127, 128, 2 ** 32 - 1]) {
    assert.deepEqual(takes.read(takes.write({ text: "ü", number })), { text: "ü", number });
  }
});

test("fields that are not known are passed over", () => {
  const later = hex("10 ffffffffffffffffff01 1a 01 00 25 00000000 29 0000000000000000 a001 07");
  assert.deepEqual(takes.read(later), { text: "", number: 7 });
});

test("what is no message is refused", () => {
  for (const cut of ["0a", "0a 02 61", "a001", "a001 ffffffffffffffffffff01", "0b", "25 00", "0a 01 ff"]) {
    assert.throws(() => takes.read(hex(cut)), undefined, cut);
  }
  assert.throws(() => takes.write({ text: "a", other: 1 }), TypeError);
});
