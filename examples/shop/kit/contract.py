"""Checks in tests that a service does what its contracts say, as far as the shop uses OpenAPI.

What a contract does not name is a mistake here: a service says no more and no less than its contract.
"""

import json
import re
from pathlib import Path

TYPES = {"object": dict, "array": list, "string": str, "integer": int}
KEYWORDS = {
    "$ref", "type", "description", "properties", "required", "items", "pattern",
    "minimum", "maximum",
}


class Broken(AssertionError):
    """Something is not as the contract says."""


def demand(holds, message):
    if not holds:
        raise Broken(message)


class OpenApi:
    def __init__(self, path="api/openapi.json"):
        self.document = json.loads(Path(path).read_text())

    def check_answer(self, method, path, status, document):
        """Checks an answer against the response of its status, or of its class of statuses."""
        responses = self.operation(method, path)["responses"]
        response = responses.get(str(status)) or responses.get(f"{status // 100}XX")
        demand(response, f"{method} {path} does not answer {status}")
        self.check(schema_of(self.resolved(response)), document, f"the answer {status} of {method} {path}")

    def check_request(self, method, path, body):
        self.check(schema_of(self.operation(method, path)["requestBody"]), body, f"the body of {method} {path}")

    def check_query(self, method, path, query):
        named = {parameter["name"] for parameter in self.operation(method, path).get("parameters", [])}
        demand(set(query) <= named, f"{method} {path} takes {named}, not {set(query)}")

    def operation(self, method, path):
        for template, operations in self.document["paths"].items():
            if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path) and method.lower() in operations:
                return operations[method.lower()]
        raise Broken(f"{method} {path} is not in the contract")

    def resolved(self, part):
        if "$ref" not in part:
            return part
        _, components, kind, name = part["$ref"].split("/")
        return self.document[components][kind][name]

    def check(self, schema, value, place):
        schema = self.resolved(schema)
        demand(schema.keys() <= KEYWORDS, f"{place}: {schema.keys() - KEYWORDS} cannot be checked")
        demand(type(value) is TYPES[schema["type"]], f"{place}: {value!r} is no {schema['type']}")
        getattr(self, f"check_{schema['type']}")(schema, value, place)

    def check_object(self, schema, value, place):
        properties = schema["properties"]
        demand(value.keys() <= properties.keys(), f"{place}: {value.keys() - properties.keys()} is not named")
        demand(value.keys() >= set(schema.get("required", [])), f"{place}: {value} is not complete")
        for name, inner in value.items():
            self.check(properties[name], inner, f"{place}: {name}")

    def check_array(self, schema, value, place):
        for inner in value:
            self.check(schema["items"], inner, place)

    def check_string(self, schema, value, place):
        pattern = schema.get("pattern", "")
        demand(re.search(pattern, value), f"{place}: {value!r} is not like {pattern}")

    def check_integer(self, schema, value, place):
        fits = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        demand(fits, f"{place}: {value} is out of bounds")


def schema_of(part):
    return part["content"]["application/json"]["schema"]
