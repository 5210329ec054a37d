// Checks in tests that a service does what its OpenAPI contract says, as far as the shop uses OpenAPI.
//
// What a contract does not name is a mistake here: a service says no more and no less than its contract.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const KEYWORDS = ["$ref", "type", "description", "properties", "required", "items", "minimum"];
const CHECKS = { object: isObject, array: isArray, string: isString, integer: isInteger };

export class OpenApi {
  constructor(path = "api/openapi.json") {
    this.document = JSON.parse(readFileSync(path, "utf8"));
  }

  // Checks an answer against the response of its status, or of its class of statuses.
  checkAnswer(method, path, status, document) {
    const { responses } = this.operation(method, path);
    const response = responses[status] ?? responses[`${Math.floor(status / 100)}XX`];
    assert.ok(response, `${method} ${path} does not answer ${status}`);
    const { schema } = this.resolved(response).content["application/json"];
    this.check(schema, document, `the answer ${status} of ${method} ${path}`);
  }

  checkQuery(method, path, query) {
    const named = (this.operation(method, path).parameters ?? []).map((parameter) => parameter.name);
    for (const name of query.keys()) assert.ok(named.includes(name), `${method} ${path} does not take ${name}`);
  }

  operation(method, path) {
    const fits = (template) => new RegExp(`^${template.replace(/{\w+}/g, "[^/]+")}$`).test(path);
    const [, operations] = Object.entries(this.document.paths).find(([template]) => fits(template)) ?? [];
    assert.ok(operations?.[method.toLowerCase()], `${method} ${path} is not in the contract`);
    return operations[method.toLowerCase()];
  }

  resolved(part) {
    return part.$ref ? part.$ref.split("/").slice(1).reduce((inner, name) => inner[name], this.document) : part;
  }

  check(given, value, place) {
    const schema = this.resolved(given);
    for (const keyword of Object.keys(schema)) assert.ok(KEYWORDS.includes(keyword), `${place}: ${keyword} cannot be checked`);
    CHECKS[schema.type](this, schema, value, place);
  }
}

function isObject(api, { properties, required = [] }, value, place) {
  assert.ok(value !== null && typeof value === "object" && !Array.isArray(value), `${place}: ${value} is no object`);
  for (const name of required) assert.ok(name in value, `${place}: ${name} is missing`);
  for (const [name, inner] of Object.entries(value)) {
    assert.ok(properties[name], `${place}: ${name} is not named`);
    api.check(properties[name], inner, `${place}: ${name}`);
  }
}

function isArray(api, { items }, value, place) {
  assert.ok(Array.isArray(value), `${place}: ${value} is no array`);
  value.forEach((inner) => api.check(items, inner, place));
}

function isString(_, __, value, place) {
  assert.equal(typeof value, "string", place);
}

function isInteger(_, { minimum = -Infinity }, value, place) {
  assert.ok(Number.isInteger(value) && value >= minimum, `${place}: ${value}`);
}
