// WebSockets (RFC 6455), as much of them as short texts need: no extensions, no fragments.

import { createHash } from "node:crypto";

const TEXT = 1, CLOSE = 8, PING = 9, PONG = 10;
const PROTOCOL_ERROR = 1002, TOO_LONG = 1009;
// Going away: the service ends, or another version has taken its place.
export const GOING_AWAY = 1001;
// Longest text of a client. Longer ones would have their length in another form.
const MAX_BYTES = 125;
// A client that does not read what it is sent is not waited for.
const MAX_UNREAD_BYTES = 64 * 1024;
// A client that says nothing for this long is sent away.
const IDLE_MS = 75_000;

// Opens a WebSocket on the connection of a request with these headers, or refuses it. Each text is answered by what
// `answer()` returns. Returns a function that closes it with a code, or nothing where it was refused.
export function open(asked, socket, headers, answer) {
  socket.on("error", () => socket.destroy()).on("end", () => socket.end());
  socket.setTimeout(IDLE_MS, () => socket.destroy());
  const welcome = handshake(asked, headers);
  if (!welcome) return refuse(socket, "426 Upgrade Required");
  socket.write(welcome);
  const finish = (payload) => socket.off("data", take).resume().end(frame(CLOSE, payload));
  const close = (code) => finish(Buffer.from([code >> 8, code & 255]));
  const read = reader({
    [TEXT]: () => socket.write(frame(TEXT, Buffer.from(answer()))),
    [PING]: (payload) => socket.write(frame(PONG, payload)),
    [PONG]: () => {},
    [CLOSE]: finish,
  });
  const take = (bytes) => {
    const mistake = read(bytes);
    if (mistake) close(mistake);
    else if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
  };
  socket.on("data", take);
  return close;
}

export function refuse(socket, status) {
  socket.on("error", () => socket.destroy());
  socket.write(`HTTP/1.1 ${status}\r\nUpgrade: websocket\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  socket.destroySoon();
}

function handshake({ upgrade = "", "sec-websocket-key": key, "sec-websocket-version": version }, headers) {
  if (upgrade.toLowerCase() !== "websocket" || version !== "13" || !key) return undefined;
  const own = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Accept": accepted(key), ...headers };
  const lines = Object.entries(own).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 101 Switching Protocols\r\n${lines.join("")}\r\n`;
}

export const accepted = (key) => createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

// Writes a frame of the server, which is not masked.
export function frame(opcode, payload) {
  const length = payload.length > MAX_BYTES ? [126, payload.length >> 8, payload.length & 255] : [payload.length];
  return Buffer.concat([Buffer.from([128 | opcode, ...length]), payload]);
}

// Makes a function that is given the bytes of a client as they come, and calls what `takes` the frame of an opcode
// for each that is whole. It returns the code to close with where the client breaks the rules.
export function reader(takes) {
  let bytes = Buffer.alloc(0);
  return (more) => {
    bytes = Buffer.concat([bytes, more]);
    while (bytes.length >= 2) {
      const [opcode, length] = [bytes[0] ^ 128, bytes[1] ^ 128];
      if (length > MAX_BYTES) return length > 127 ? PROTOCOL_ERROR : TOO_LONG;
      if (!takes[opcode]) return PROTOCOL_ERROR;
      if (bytes.length < 6 + length) return undefined;
      const mask = bytes.subarray(2, 6);
      const payload = bytes.subarray(6, 6 + length).map((byte, place) => byte ^ mask[place % 4]);
      bytes = bytes.subarray(6 + length);
      takes[opcode](payload);
    }
    return undefined;
  };
}
