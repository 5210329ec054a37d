// gRPC over a stream of HTTP/2: one message in, one message out, and a status behind it.

export const OK = 0, INVALID_ARGUMENT = 3, NOT_FOUND = 5, UNIMPLEMENTED = 12, INTERNAL = 13;

const HEALTH = "/grpc.health.v1.Health/Check";
// A HealthCheckResponse with the status SERVING.
const SERVING = Buffer.from([0x08, 0x01]);
// The flag of a message that is not compressed, and its length.
const PREFIX_BYTES = 5;

// A call ends with a status that is not OK.
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const isCall = (headers) => /^application\/grpc($|[+; ])/.test(headers["content-type"] ?? "");

// Makes a function from the path and body of a call to the bytes of its answer; it throws Refusals. `calls` has for
// each path what the call takes and gives, and what it does.
export function answerer(calls) {
  return (path, body) => {
    if (path === HEALTH) return SERVING;
    if (!Object.hasOwn(calls, path)) throw new Refusal(UNIMPLEMENTED, `there is no call ${path}`);
    const { takes, gives, does } = calls[path];
    return gives.write(does(read(takes, body)));
  };
}

function read(message, body) {
  if (body[0] === 1) throw new Refusal(UNIMPLEMENTED, "compressed messages are not read");
  const isWhole = body.length >= PREFIX_BYTES && body.readUInt32BE(1) === body.length - PREFIX_BYTES;
  if (!isWhole) throw new Refusal(INTERNAL, "a call is one whole message");
  try {
    return message.read(body.subarray(PREFIX_BYTES));
  } catch (error) {
    throw new Refusal(INVALID_ARGUMENT, error.message);
  }
}

// Ends a stream with an answer, or with a refusal in the place of one.
export function send(stream, headers, answer) {
  const head = { ":status": 200, "content-type": "application/grpc", ...headers };
  try {
    const message = answer();
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(message.length, 1);
    stream.respond(head, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": OK }));
    stream.end(Buffer.concat([prefix, message]));
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    const { status = INTERNAL, message } = error;
    const written = message.replace(/[^ -~]|%/gu, encodeURIComponent);
    stream.respond({ ...head, "grpc-status": status, "grpc-message": written }, { endStream: true });
  }
}
