"""Old and new must go together: plugins and hosts built against weir/abi.h as it is (1.0) and as it will have grown (1.1:
one member appended to each struct that may grow), in every combination.

grown.py SOURCE_DIR OUT_DIR --libraries FILE... [--flags=FLAG;...]
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import abi_header

here = pathlib.Path(__file__).resolve().parent
arguments = argparse.ArgumentParser()
arguments.add_argument("source", type=pathlib.Path)
arguments.add_argument("out", type=pathlib.Path)
arguments.add_argument("--libraries", nargs="+", default=[])
arguments.add_argument("--flags", default="", help="separated by semicolons")
given = arguments.parse_args()
given.flags = [flag for flag in given.flags.split(";") if flag]
root, out = given.source.resolve(), given.out.resolve()
GROWING = ["weir_reply", "weir_host", "weir_run", "weir_netbox_v1", "weir_log_v1", "weir_metrics_v1", "weir_state_v1",
           "weir_stage", "weir_plugin"]
# What of the host knows the structs; the rest comes from the built libraries.
HOST = ["core/plugin/host.cpp", "core/plugin/host_session.cpp", "core/plugin/extensions.cpp", "core/plugin/loader.cpp",
        "tests/abi/sdk/grown_host.cpp"]


def command(*words):
    cached = ["ccache"] if shutil.which("ccache") and words[0] in ("gcc", "g++") and "-c" in words else []
    done = subprocess.run([*cached, *map(str, words)], timeout=300, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}\n{done.stdout}")
    return done.stdout


header = (root / "sdk/include/weir/abi.h").read_text()
grown = abi_header.replaced(header, "#define WEIR_ABI_MINOR 0 ", "#define WEIR_ABI_MINOR 1 ")
for struct in GROWING:
    grown = abi_header.appended(grown, struct, "void (*added)(void)")
shutil.rmtree(out, ignore_errors=True)
include = {}
for minor, text in (0, header), (1, grown):
    include[minor] = out / f"include-1.{minor}"
    (include[minor] / "weir").mkdir(parents=True)
    for file in (root / "sdk/include/weir").iterdir():
        (include[minor] / "weir" / file.name).write_text(text if file.name == "abi.h" else file.read_text())


def object_of(minor, source):
    made = out / f"host-1.{minor}" / (pathlib.Path(source).stem + ".o")
    made.parent.mkdir(exist_ok=True)
    command("g++", "-std=c++20", "-O0", "-D_GLIBCXX_ASSERTIONS", *given.flags, "-I", include[minor], "-I", root,
            "-I", root / "tests", "-c", root / source, "-o", made)
    return made


def host(minor, objects):
    program = out / f"host-1.{minor}" / "host"
    command("g++", *given.flags, *objects, *given.libraries, "-lfmt", "-lspdlog", "-ldl", "-pthread", "-o", program)
    return program


def plugin(name, source, minor, *defines):
    """A plugin in a folder of its own, whose modes weir accepts."""
    folder = out / name
    folder.mkdir(mode=0o755)
    file = folder / f"{name}.so"
    compiler, standard = ("gcc", "-std=c11") if source.endswith(".c") else ("g++", "-std=c++20")
    made = folder / "plugin.o"
    command(compiler, standard, "-O0", "-fPIC", "-fvisibility=hidden", *given.flags, *defines, "-I", include[minor], "-c",
            here / source, "-o", made)
    command(compiler, "-shared", *given.flags, made, "-o", file)
    file.chmod(0o755)
    return folder


os.umask(0o022)
with ThreadPoolExecutor(2) as pool:
    objects = {minor: [pool.submit(object_of, minor, source) for source in HOST] for minor in (0, 1)}
    plugins = {
        "c-1.0": pool.submit(plugin, "c-1.0", "grown_plugin.c", 0),
        "c-1.1-for-1.0": pool.submit(plugin, "c-1.1-for-1.0", "grown_plugin.c", 1, "-DGROWN", "-DWEIR_TARGET_MINOR=0"),
        "c-1.1": pool.submit(plugin, "c-1.1", "grown_plugin.c", 1, "-DGROWN"),
        "cpp-1.0": pool.submit(plugin, "cpp-1.0", "grown_wrapped.cpp", 0),
        "cpp-1.1-for-1.0": pool.submit(plugin, "cpp-1.1-for-1.0", "grown_wrapped.cpp", 1, "-DWEIR_TARGET_MINOR=0"),
        "cpp-1.1": pool.submit(plugin, "cpp-1.1", "grown_wrapped.cpp", 1),
    }
    hosts = {minor: host(minor, [o.result() for o in objects[minor]]) for minor in (0, 1)}
    plugins = {name: made.result() for name, made in plugins.items()}

C, CPP = 'ran in-c extras.tag {"slug":"c"} {"name":"%s"}', 'ran in-cpp extras.tag {"slug":"cpp"} {"name":"all"}'
NEWER = r"refused plugin \S+ needs at least weir plugin ABI 1\.1, this weir speaks 1\.0\n  hint: update weir, or build"
EXPECTED = [  # plugin, the host's minor, what is printed
    ("c-1.0", 0, re.escape(C % "-------")),
    ("c-1.0", 1, re.escape(C % "-------")),
    ("c-1.1-for-1.0", 0, re.escape(C % "0000000")),
    ("c-1.1-for-1.0", 1, re.escape(C % "1111111")),
    ("c-1.1", 0, NEWER),
    ("c-1.1", 1, re.escape(C % "1111111")),
    ("cpp-1.0", 0, re.escape(CPP)),
    ("cpp-1.0", 1, re.escape(CPP)),
    ("cpp-1.1-for-1.0", 0, re.escape(CPP)),
    ("cpp-1.1-for-1.0", 1, re.escape(CPP)),
    ("cpp-1.1", 0, NEWER),
    ("cpp-1.1", 1, re.escape(CPP)),
]
wrong = 0
for name, minor, expected in EXPECTED:
    printed = command(hosts[minor], plugins[name])
    first, rest = printed.split("\n", 1)
    assert first == f"host 1.{minor}, weir_run {88 + 8 * minor}", first  # that it really is the one or the other
    good = re.match(expected, rest) is not None
    wrong += not good
    print(f"{'ok' if good else 'WRONG'}: plugin {name}, host 1.{minor}: {rest.splitlines()[0] if rest else 'nothing'}")
    if not good:
        print(f"  expected: {expected}\n  printed: {rest}")
sys.exit(1 if wrong else 0)
