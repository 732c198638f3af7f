"""As much of JSON Schema (draft 7) as docs/*.schema.json use. Unlike a validator, `strict` minds members that the schema does not know."""
import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
KNOWN = {"$schema", "$ref", "title", "description", "definitions", "type", "required", "properties", "additionalProperties", "items",
         "minItems", "maxItems", "enum", "const", "pattern", "minimum", "maximum", "oneOf"}


def is_type(value, name):
    if name == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if name == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, TYPES[name])


def problems(value, schema, root=None, at="", strict=False):
    """What is wrong, as lines; empty if nothing is."""
    root = root or schema
    unknown = set(schema) - KNOWN
    if unknown:
        raise ValueError(f"this checker does not know {unknown}")
    if "$ref" in schema:
        found = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return problems(value, found, root, at, strict)
    out = []
    types = schema.get("type")
    if types and not any(is_type(value, t) for t in ([types] if isinstance(types, str) else types)):
        return [f"{at or '/'}: {value!r} is no {types}"]
    if "const" in schema and value != schema["const"]:
        out.append(f"{at}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        out.append(f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        out.append(f"{at}: {value!r} does not match {schema['pattern']}")
    if is_type(value, "number"):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            out.append(f"{at}: {value} is out of bounds")
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            out.append(f"{at}: {len(value)} items")
        for i, item in enumerate(value):
            out += problems(item, schema.get("items", {}), root, f"{at}/{i}", strict)
    if isinstance(value, dict):
        out += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            if name in schema.get("properties", {}):
                out += problems(item, schema["properties"][name], root, f"{at}/{name}", strict)
            elif isinstance(schema.get("additionalProperties"), dict):
                out += problems(item, schema["additionalProperties"], root, f"{at}/{name}", strict)
            elif strict and "properties" in schema:
                out.append(f"{at}: {name} is not in the schema")
    if "oneOf" in schema:
        each = [problems(value, s, root, at, strict) for s in schema["oneOf"]]
        if sum(not e for e in each) != 1:
            out.append(f"{at or '/'}: matches {sum(not e for e in each)} of {len(each)}: {min(each, key=len)[:3]}")
    return out
