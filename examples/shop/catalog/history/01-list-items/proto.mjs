// Protobuf on the wire for messages of texts and numbers, as a .proto file declares them.

const VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5;
const TYPES = {
  string: { wire: BYTES, none: "", write: (text) => Buffer.from(text), read: (bytes) => utf8.decode(bytes) },
  uint32: { wire: VARINT, none: 0, write: varint, read: (value) => Number(BigInt.asUintN(32, value)) },
};
const utf8 = new TextDecoder("utf-8", { fatal: true });

// Reads a .proto file: the path of each RPC with what it takes and gives, two messages that write and read bytes.
export function rpcs(text) {
  const plain = text.replace(/\/\/.*/g, "");
  const declared = plain.matchAll(/message (\w+) {([^}]*)}/g);
  const messages = Object.fromEntries([...declared].map(([, name, body]) => [name, message(body)]));
  const service = `${/package ([\w.]+);/.exec(plain)[1]}.${/service (\w+)/.exec(plain)[1]}`;
  const calls = plain.matchAll(/rpc (\w+)\((\w+)\) returns \((\w+)\)/g);
  return Object.fromEntries(
    [...calls].map(([, name, takes, gives]) => [`/${service}/${name}`, { takes: messages[takes], gives: messages[gives] }]),
  );
}

function message(body) {
  const declared = [...body.matchAll(/(\w+) (\w+) = (\d+);/g)];
  const fields = declared.map(([, type, name, number]) => ({ name, number: Number(number), ...TYPES[type] }));
  return {
    // A field that has its default value is left out, and what the message does not name is a mistake.
    write(values) {
      const unknown = Object.keys(values).find((name) => !fields.some((field) => field.name === name));
      if (unknown) throw new TypeError(`the message has no field ${unknown}`);
      const present = fields.filter(({ name, none }) => values[name] !== none);
      return Buffer.concat(present.flatMap((field) => written(field, field.write(values[field.name]))));
    },
    // What is not known was added by a later version, and is passed over.
    read(bytes) {
      const values = Object.fromEntries(fields.map(({ name, none }) => [name, none]));
      for (const { number, wire, value } of split(bytes)) {
        const field = fields.find((field) => field.number === number && field.wire === wire);
        if (field) values[field.name] = field.read(value);
      }
      return values;
    },
  };
}

function written({ number, wire }, value) {
  return [varint((number << 3) | wire), ...(wire === BYTES ? [varint(value.length)] : []), value];
}

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

// Takes a message apart. Throws where it ends within a field.
function* split(bytes) {
  let place = 0;
  const take = (length) => {
    if (length > bytes.length - place) throw new RangeError("the message ends within a field");
    return bytes.subarray(place, (place += length));
  };
  const number = () => {
    for (let value = 0n, shift = 0n; shift < 70n; shift += 7n) {
      const [byte] = take(1);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    throw new RangeError("a number does not end");
  };
  const withLength = () => take(Number(number()));
  const values = { [VARINT]: number, [FIXED64]: () => take(8), [BYTES]: withLength, [FIXED32]: () => take(4) };
  while (place < bytes.length) {
    const tag = Number(number());
    const wire = tag % 8;
    if (!values[wire]) throw new RangeError(`there is no wire type ${wire}`);
    yield { number: Math.floor(tag / 8), wire, value: values[wire]() };
  }
}
