// Starts the catalog. Reads PORT, HOST and LOCKSTEP_VERSION.

import { readFileSync } from "node:fs";

import { answer, getItem } from "./catalog.mjs";
import { rpcs } from "./proto.mjs";
import { serve, server } from "./serve.mjs";

const calls = rpcs(readFileSync(new URL("proto/catalog.proto", import.meta.url), "utf8"));
calls["/shop.catalog.v1.Catalog/GetItem"].does = getItem;

const servedBy = `catalog@${process.env.LOCKSTEP_VERSION ?? "unreleased"}`;
const [host, port] = [process.env.HOST ?? "127.0.0.1", Number(process.env.PORT)];
serve(server(servedBy, answer, calls), host, port);
console.error(`${servedBy} listens on ${host}:${port}`);
