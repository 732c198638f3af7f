"""What offsets cannot show: the types of members and of functions' parameters, compared by abidiff (abigail-tools).

abidiff.py INCLUDE_DIR BASELINE [--write]: a library that uses every struct of weir/abi.h against the committed baseline.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import abi_header

# https://sourceware.org/libabigail/manual/abidiff.html: the bits of its exit code.
ERROR, USAGE, CHANGED, INCOMPATIBLE = 1, 2, 4, 8
# Passed by value or in arrays: these may never grow.
FIXED = {"weir_str", "weir_head", "weir_field"}
# Lines of a report that tell of nothing yet.
HARMLESS = (r"type size hasn't changed|there are data member changes:|\d+ data member insertions?:|"
            r"\d+ Added functions?:|\[A\] .*")


def library(header, folder):
    """A shared library with one function per struct; returns its path."""
    folder = pathlib.Path(folder)
    include = abi_header.write(header, folder)
    source, out = folder / "uses.c", folder / "libuses.so"
    functions = [f"void weir_uses_{name}({name} const* p) {{ (void)p; }}" for name in abi_header.structs(header)]
    source.write_text("\n".join(["#include <weir/abi.h>", *functions, ""]))
    subprocess.run(["gcc", "-std=c11", "-g", "-fPIC", "-shared", "-I", include, source, "-o", out], check=True, timeout=120)
    return out


def trimmed(xml):
    """Without what tells of the machine it was made on: paths and lines, the compiler."""
    xml = re.sub(r" (filepath|line|column|path|comp-dir-path)='[^']*'", "", xml)
    return re.sub(r" language='[^']*'", " language='LANG_C11'", xml)


def breach(report):
    """The first line of a report that ABI 1.x does not allow; None if it only tells of members behind a struct's old end."""
    end = 0
    for line in report.splitlines():
        text = line.strip()
        struct = re.fullmatch(r"'struct (\w+)' changed:", text)
        size = re.fullmatch(r"type size changed from (\d+) to (\d+) \(in bits\)", text)
        member = re.fullmatch(r"'.+', at offset (\d+) \(in bits\)", text)
        if struct:
            end = None
            good = struct.group(1) not in FIXED
        elif size:
            end = int(size.group(1))
            good = int(size.group(2)) > end
        elif member:  # a member in what was padding would not make the struct longer: WEIR_HAS could not see it
            good = end is not None and int(member.group(1)) >= end
        else:
            good = not text or "summary: " in text or re.fullmatch(HARMLESS, text)
        if not good:
            return text
    return None


def compared(baseline, built):
    """(None or what is incompatible, abidiff's report)"""
    done = subprocess.run(["abidiff", "--leaf-changes-only", "--no-show-locs", baseline, built], timeout=120, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode & (ERROR | USAGE):
        sys.exit(f"abidiff failed ({done.returncode}):\n{done.stdout}")
    if done.returncode & INCOMPATIBLE:
        return "something was removed", done.stdout
    return breach(done.stdout) if done.returncode & CHANGED else None, done.stdout


include, baseline, *write = sys.argv[1:]
if not all(shutil.which(tool) for tool in ("abidiff", "abidw")):
    print("skipped: abidiff is not here (Debian: abigail-tools)")
    sys.exit(77)
os.environ["LC_ALL"] = "C.UTF-8"
header = (pathlib.Path(include) / "weir/abi.h").read_text()
with tempfile.TemporaryDirectory() as folder:
    built = library(header, folder)
    if write:
        xml = subprocess.run(["abidw", "--no-corpus-path", "--no-comp-dir-path", "--short-locs", built], check=True, timeout=120, text=True,
                             stdout=subprocess.PIPE).stdout
        pathlib.Path(baseline).write_text(trimmed(xml))
    found, report = compared(baseline, built)
    if found:
        sys.exit(f"weir/abi.h breaks plugins that were built against 1.0: {found}\n{report}")
    print("ok: nothing has changed but what may")

    wrong = []
    for what, (changed, allowed) in abi_header.changes(header).items():
        found, report = compared(baseline, library(changed, folder))
        print(f"refused: {what}: {found}" if found else f"passes: {what}")
        if (found is None) != allowed:
            wrong.append(what)
            print(report)
    if wrong:
        sys.exit(f"this check judges wrongly: {wrong}")
