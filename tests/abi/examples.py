"""The SDK's examples, built against an installed SDK as anybody else's plugins: their own tests, and weir stages check.

examples.py CMAKE BUILD_DIR WEIR OUT_DIR NAME...; the built plugins are left in OUT_DIR. Exit code 77 (skipped): NAME is
rust-tags, and there is no rustc.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

cmake, build, weir, out, *names = sys.argv[1:]
SKIPPED = 77


def run(*command, **more):
    print("$", *command, flush=True)
    return subprocess.run(command, check=True, timeout=500, **more)


path = os.environ.get("PATH", "") + ":" + str(pathlib.Path.home() / ".cargo/bin")
if "rust-tags" in names and not shutil.which("rustc", path=path):
    print("SKIPPED: there is no rustc here, so the example in Rust was not built")
    sys.exit(SKIPPED)

with tempfile.TemporaryDirectory(prefix="weir-examples-") as folder:
    root = pathlib.Path(folder)
    prefix = root / "prefix"
    run(cmake, "--install", build, "--component", "weir-sdk", "--prefix", str(prefix), stdout=subprocess.DEVNULL)
    examples = prefix / "share/doc/weir-sdk/examples"
    assert {p.name for p in examples.iterdir()} == {"c-tags", "pools-to-tags", "inventory-devices", "rust-tags"}, list(examples.iterdir())
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
    for name in names:
        source, tree = root / name, root / f"{name}-build"
        shutil.copytree(examples / name, source)
        assert (source / "README.md").exists()
        run(cmake, "-S", str(source), "-B", str(tree), f"-DCMAKE_PREFIX_PATH={prefix}", "-DCMAKE_BUILD_TYPE=Release",
            "-DCMAKE_C_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror",
            "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror", env={**os.environ, "PATH": path})
        run(cmake, "--build", str(tree), env={**os.environ, "PATH": path})
        if name != "c-tags":  # which has no unit test: the check below runs it on its answers
            run("ctest", "--test-dir", str(tree), "--output-on-failure", "--no-tests=error")
        plugin = tree / f"{name}.so"
        plugin.chmod(0o755)
        checked = subprocess.run([weir, "stages", "check", str(plugin), "--answers", str(source / "answers"), "--output", "json"],
                                 stdout=subprocess.PIPE, timeout=300)
        report = json.loads(checked.stdout)
        bad = [c for c in report["checks"] if c["status"] not in ("ok", "skipped")]
        assert checked.returncode == 0 and report["passed"] and not bad, json.dumps(bad, indent=1)
        assert len(report["checks"]) > 20, report
        print(f"{name}: {len(report['checks'])} checks")
        target = pathlib.Path(out) / plugin.name
        target.unlink(missing_ok=True)
        shutil.copy2(plugin, target)
print("ok")
