"""weir/abi.h as these tests need it: its structs and their members, and copies of it that were changed in one way."""
import pathlib
import re
import subprocess

STRUCT = re.compile(r"typedef struct (?P<name>\w+) \{\n(?P<body>.*?)\n\} (?P=name);", re.S)


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.S)


def members_of(body):
    """The names that a struct's body declares, in order."""
    names = []
    for declaration in body.split(";"):
        declaration = " ".join(declaration.split())
        if not declaration:
            continue
        function = re.match(r"[\w\s]*?[\w*]+ ?\**\(\*(\w+)\)\s*\(", declaration)
        if function:
            names.append(function.group(1))
            continue
        found = [re.search(r"(\w+)$", part.strip()) for part in declaration.split(",")]
        if "(" in declaration or not all(found):
            raise ValueError(f"not understood: {declaration!r}")
        names += [f.group(1) for f in found]
    return names


def structs(text):
    """{struct: [member, ...]} in the header's order."""
    text = without_comments(text)
    found = {m.group("name"): members_of(m.group("body")) for m in STRUCT.finditer(text)}
    if len(found) != text.count("typedef struct"):
        raise ValueError("a struct of the header was not understood")
    return found


def compiled_list(header, folder, compiler="gcc"):
    """["struct member offset size", ...] as the compiler lays them out. `header`: the text of an abi.h."""
    folder = pathlib.Path(folder)
    include = write(header, folder)
    lines = ["#include <stdio.h>", "#include <weir/abi.h>", "int main(void) {"]
    for name, members in structs(header).items():
        lines += [f'  printf("{name} {m} %zu %zu\\n", offsetof({name}, {m}), sizeof((({name}*)0)->{m}));' for m in members]
    source = folder / "list.c"
    source.write_text("\n".join(lines + ["  return 0;", "}", ""]))
    subprocess.run([compiler, "-std=c11", "-I", include, source, "-o", folder / "list"], check=True, timeout=120)
    return subprocess.run([folder / "list"], check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def write(header, folder):
    """Writes `header` as weir/abi.h into `folder`; returns the directory for -I."""
    include = pathlib.Path(folder) / "include"
    (include / "weir").mkdir(parents=True, exist_ok=True)
    (include / "weir/abi.h").write_text(header)
    return include


def replaced(text, old, new):
    if text.count(old) != 1:
        raise ValueError(f"expected once: {old!r}, found {text.count(old)} times")
    return text.replace(old, new)


def unpinned(text):
    """Without the header's own assertions, which would stop most of the changes below before anybody else sees them."""
    return re.sub(r"^WEIR_LAST\(.*\n", "", text, flags=re.M)


def appended(text, struct, member):
    return replaced(text, f"}} {struct};", f"  {member};\n}} {struct};")


def changes(text):
    """{what was done: (the changed header, whether ABI 1.x allows it)}"""
    plain = unpinned(without_comments(text))
    notice = re.search(r"  void \(\*notice\)\(.*?\);\n", plain, re.S).group(0)
    emit = re.search(r"  weir_status \(\*emit\)\(.*?\);\n", plain, re.S).group(0)
    complete = re.search(r"  weir_status \(\*complete\)\(.*?\);\n", plain, re.S).group(0)
    swapped = replaced(replaced(replaced(plain, emit, "@"), complete, emit), "@", complete)
    return {
        "nothing": (plain, True),
        "a member appended to weir_run": (appended(plain, "weir_run", "uint64_t added"), True),
        "a member appended to every struct that begins with a head": (
            re.sub(r"^\} (weir_(?!str|head|field)\w+);$", r"  void (*added)(void);\n} \1;", plain, flags=re.M), True),
        "the last member of weir_run removed": (replaced(plain, notice, ""), False),
        "two members of one type swapped": (swapped, False),
        "a member inserted": (replaced(plain, emit, "  uint64_t added;\n" + emit), False),
        "a member of another size": (replaced(plain, "uint32_t http_status;", "uint64_t http_status;"), False),
        "a member of another type of the same size": (replaced(plain, "uint32_t dry;", "float dry;"), False),
        "a function of other parameters": (replaced(plain, "int32_t (*cancelled)(const struct weir_run*);",
                                                    "int32_t (*cancelled)(const struct weir_run*, int32_t);"), False),
        "a struct removed": (replaced(plain, STRUCT.search(plain[plain.index("typedef struct weir_state_v1"):]).group(0), ""), False),
        "weir_str grown": (appended(plain, "weir_str", "uint64_t hash"), False),
    }
