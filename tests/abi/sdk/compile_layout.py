"""Compiles and runs the layout test as C11 and as C++20 with each compiler pair given that is there; warnings are errors.

compile_layout.py INCLUDE_DIR CC,CXX...
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
include, *pairs = sys.argv[1:]
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-Wno-missing-field-initializers"]

compiled = 0
with tempfile.TemporaryDirectory() as folder:
    for pair in pairs:
        for compiler, source, standard in zip(pair.split(","), ("layout.c", "layout.cpp"), ("-std=c11", "-std=c++20")):
            if not shutil.which(compiler):
                print(f"not here: {compiler}")
                continue
            binary = str(pathlib.Path(folder) / source)
            subprocess.run([compiler, standard, *WARNINGS, "-I", include, str(here / source), "-o", binary], check=True, timeout=120)
            subprocess.run([binary], check=True, timeout=60)
            print(f"ok: {compiler} {standard}")
            compiled += 1
if compiled < 2:
    sys.exit("no compiler pair was found")
