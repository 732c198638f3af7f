"""Compiles and runs the layout test as C11, C17 and C++20 with each compiler pair given that is there, and with each C
compiler the stage that stands in abi.h's last comment; warnings are errors.

compile_layout.py INCLUDE_DIR CC,CXX...
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
include, *pairs = sys.argv[1:]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-Wno-missing-field-initializers"]


def example():
    """The C stage of the header's comment, as a source."""
    comment = (pathlib.Path(include) / "weir/abi.h").read_text().split("/* A whole stage", 1)[1].split("*/", 1)[0]
    lines = [re.sub(r"^ \* ?( {2})?", "", line) for line in comment.splitlines()[1:]]
    return "\n".join(lines) + "\n"


compiled = 0
with tempfile.TemporaryDirectory() as folder:
    hello = pathlib.Path(folder) / "hello.c"
    hello.write_text(example())
    assert "weir_plugin_v1" in hello.read_text(), "the header has no example any more"
    for pair in pairs:
        cc, cxx = pair.split(",")
        for compiler, source, standard in (cc, "layout.c", "c11"), (cc, "layout.c", "c17"), (cxx, "layout.cpp", "c++20"):
            if not shutil.which(compiler):
                print(f"skipped, not here: {compiler} -std={standard}")
                continue
            binary = str(pathlib.Path(folder) / source)
            subprocess.run([compiler, f"-std={standard}", *WARNINGS, "-I", include, here / source, "-o", binary], check=True, timeout=120)
            subprocess.run([binary], check=True, timeout=60)
            print(f"ok: {compiler} -std={standard}")
            compiled += 1
        if shutil.which(cc):
            subprocess.run([cc, "-std=c11", *WARNINGS, "-fPIC", "-shared", "-Wl,-z,defs", "-I", include, hello, "-o",
                            pathlib.Path(folder) / "hello.so"], check=True, timeout=120)
            print(f"ok: {cc}, the stage in abi.h")
if compiled < 3:
    sys.exit("no compiler pair was found")
