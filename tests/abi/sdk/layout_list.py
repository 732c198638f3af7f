"""The committed list of structs, members, offsets and sizes must be, struct by struct, a prefix of today's.

layout_list.py INCLUDE_DIR LIST [--write]
"""
import pathlib
import sys
import tempfile

import abi_header

# Passed by value or in arrays: these may never grow.
FIXED = {"weir_str", "weir_head", "weir_field"}
# What offsets and sizes cannot show; tests/abi/sdk/abidiff.py does.
ONLY_TYPES = {"a member of another type of the same size", "a function of other parameters"}


def by_struct(lines):
    found = {}
    for line in lines:
        found.setdefault(line.split()[0], []).append(line)
    return found


def breaches(committed, current):
    """What breaks ABI 1.x, one line each."""
    before, now, found = by_struct(committed), by_struct(current), []
    for struct, lines in before.items():
        here = now.get(struct, [])
        for old, new in zip(lines, here):
            if old != new:
                found.append(f"was '{old}', is '{new}'")
        found += [f"'{line}' is gone" for line in lines[len(here):]]
        if struct in FIXED:
            found += [f"'{line}' is new, but {struct} must not grow" for line in here[len(lines):]]
    return found


include, file, *write = sys.argv[1:]
header = (pathlib.Path(include) / "weir/abi.h").read_text()
with tempfile.TemporaryDirectory() as folder:
    current = abi_header.compiled_list(header, folder)
    if write:
        pathlib.Path(file).write_text("\n".join(current) + "\n")
    committed = [line for line in pathlib.Path(file).read_text().splitlines() if line]
    problems = breaches(committed, current)
    if problems:
        sys.exit("weir/abi.h breaks plugins that were built against 1.0:\n  " + "\n  ".join(problems))
    print(f"ok: {len(committed)} members of {len(by_struct(committed))} structs are where they were; {len(current)} now")

    wrong = []
    for what, (changed, allowed) in abi_header.changes(header).items():
        found = breaches(committed, abi_header.compiled_list(changed, folder))
        expected = allowed or what in ONLY_TYPES
        print(f"{'passes' if not found else 'refused'}: {what}")
        if (not found) != expected:
            wrong.append(what)
    if wrong:
        sys.exit(f"this check judges wrongly: {wrong}")
