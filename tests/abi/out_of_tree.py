"""Somebody else's stage: installs the SDK, copies the template elsewhere, builds and tests it there, and looks at what it exports.

out_of_tree.py CMAKE SOURCE_DIR BUILD_DIR [OUT_DIR]; the built plugin is left in OUT_DIR if that is given.
"""
import gzip
import pathlib
import shutil
import subprocess
import sys
import tempfile

cmake, source, build, *out = sys.argv[1:]
FORBIDDEN = [str(pathlib.Path(source).resolve()), str(pathlib.Path(build).resolve())]


def run(*command, **more):
    print("$", *command, flush=True)
    return subprocess.run(command, check=True, timeout=500, **more)


with tempfile.TemporaryDirectory(prefix="weir-sdk-") as folder:
    root = pathlib.Path(folder)
    prefix, project, tree = root / "prefix", root / "project", root / "build"
    run(cmake, "--install", build, "--component", "weir-sdk", "--prefix", str(prefix))

    headers = sorted(p.name for p in (prefix / "include/weir").iterdir())
    assert headers == ["abi.h", "json.hpp", "options.hpp", "stage.hpp", "testing.hpp"], headers
    for path in prefix.rglob("*"):  # what is installed must not point back into the tree it came from
        if path.is_file():
            content = path.read_bytes()
            text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
            assert not any(f in text for f in FORBIDDEN), f"{path} names the tree it was built in"

    shutil.copytree(prefix / "share/weir-sdk/template", project)
    run(cmake, "-S", str(project), "-B", str(tree), f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release",
        "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror")
    run(cmake, "--build", str(tree))
    run("ctest", "--test-dir", str(tree), "--output-on-failure", "--no-tests=error")

    plugin = tree / "my-stage.so"
    symbols = run("nm", "-D", "--defined-only", str(plugin), stdout=subprocess.PIPE, text=True).stdout.split("\n")
    names = [line.split()[-1] for line in symbols if line.strip()]
    assert names == ["weir_plugin_v1"], names
    if out:
        pathlib.Path(out[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy2(plugin, out[0])
print("ok")
