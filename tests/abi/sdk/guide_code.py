"""Every C and C++ block of a guide must compile against the SDK's headers, as it stands there.

guide_code.py GUIDE INCLUDE_DIR C++_COMPILER C_COMPILER

A block is a whole file, the body of collect() (with `run`, in C with `self` and `host`, too), or the body of a test (with
`host`, `stage` and `calls`): what compiles as one of these is right.
"""
import pathlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

guide, include, cxx, cc = sys.argv[1:]
WARNINGS = ["-Wall", "-Wextra", "-Wno-unused"]
HEADERS = "".join(f"#include <{h}>\n" for h in ("weir/json.hpp", "weir/options.hpp", "weir/testing.hpp", "cassert", "string", "vector"))
CONTEXTS = {
    "cpp": {
        "a file": "%s\n",
        "collect()": "void collect(weir::run& run) {\n(void)run;\n%s\n}\n",
        "a test": "void test(weir::testing::host& host, weir_stage const& stage, std::uint64_t calls) {\n"
                  "(void)host, (void)stage, (void)calls;\n%s\n}\n",
    },
    "c": {
        "a file": "%s\n",
        "collect()": "#include <weir/abi.h>\n#include <string.h>\nstatic weir_str text(char const* s) { weir_str t = {s, strlen(s)}; return t; }\n"
                     "weir_status collect(void* self, weir_run const* run, weir_host const* host) {\n(void)self, (void)run, (void)host, (void)text;\n%s\n"
                     "return WEIR_OK;\n}\n",
    },
}


def blocks(text):
    """[(line, language, code), ...]"""
    found = []
    for block in re.finditer(r"^```(cpp|c)\n(.*?)^```$", text, re.S | re.M):
        found.append((text.count("\n", 0, block.start()) + 1, block.group(1), block.group(2)))
    return found


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "all.hpp").write_text(HEADERS)
    subprocess.run([cxx, "-std=c++20", *WARNINGS, "-I", include, "-x", "c++-header", folder / "all.hpp", "-o", folder / "all.hpp.gch"],
                   check=True, timeout=300)
    count = 0

    def attempt(language, context, code):
        """The first errors; empty if it compiles."""
        global count
        count += 1
        file = folder / f"block{count}.{language}"
        file.write_text(CONTEXTS[language][context] % code)
        compiler = [cxx, "-std=c++20", "-include", folder / "all.hpp"] if language == "cpp" else [cc, "-std=c11"]
        done = subprocess.run([*compiler, *WARNINGS, "-I", include, "-fsyntax-only", file], timeout=300, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode == 0 and "warning:" not in done.stdout:
            return ""
        return "\n".join([line for line in done.stdout.splitlines() if re.search("error:|warning:", line)][:3]) or "failed"

    def judge(block):
        """(line, the context in which it compiles or None, what the compiler said in each)"""
        line, language, code = block
        said = {}
        likely = "a file" if "weir_plugin_v1" in code or "WEIR_PLUGIN" in code else "a test" if "host." in code else "collect()"
        for context in sorted(CONTEXTS[language], key=lambda c: c != likely):  # the likely one first: a try takes seconds
            said[context] = attempt(language, context, code)
            if not said[context]:
                return line, context, said
        return line, None, said

    # That this can fail at all.
    assert judge((0, "cpp", "weir::emit(run, 5);"))[1] is None and judge((0, "c", "run->emit(run);"))[1] is None

    all_blocks = blocks(pathlib.Path(guide).read_text(encoding="utf-8"))
    wrong = 0
    with ThreadPoolExecutor(2) as pool:
        for line, context, said in pool.map(judge, all_blocks):
            if context:
                print(f"ok: line {line}, {context}")
            else:
                wrong += 1
                print(f"WRONG: line {line} compiles nowhere:")
                for where, errors in said.items():
                    print(f" as {where}:\n  " + errors.replace("\n", "\n  "))
if len(all_blocks) < 5:
    sys.exit(f"only {len(all_blocks)} blocks were found")
sys.exit(1 if wrong else 0)
