// Starts the storefront. Reads PORT, HOST, LOCKSTEP_VERSION, LOCKSTEP_URL_CATALOG and LOCKSTEP_URL_ORDERS.

import { caller } from "./call.mjs";
import { serve } from "./serve.mjs";
import { window } from "./window.mjs";

const call = caller({ catalog: process.env.LOCKSTEP_URL_CATALOG, orders: process.env.LOCKSTEP_URL_ORDERS });
const servedBy = `storefront@${process.env.LOCKSTEP_VERSION ?? "unreleased"}`;

serve(servedBy, (headers) => window(servedBy, (service, path) => call(service, path, headers)));
