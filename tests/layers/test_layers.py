#!/usr/bin/env python3
"""The order of the folders, as rules over the sources' include lines.

A folder of core includes only what stands below it, heavy headers stay in .cpp files, plugins and the SDK see nothing of
core, and no file speaks of a machine it was written on.
"""
import os
import re
import sys
import tempfile
import unittest
from pathlib import Path

# From top to bottom. A folder may include itself and everything after it.
ORDER = ["cli", "serve", "doctor", "metrics", "engine", "plugin", "store", "netbox", "source", "http", "throttle", "config", "base"]
# The simulators stand aside: they know base alone, and only the command line (demo) knows them.
SIM = "sim"
HEAVY = re.compile(r"^(boost/(beast(/|\.hpp$)|dll(/|\.hpp$)|asio\.hpp$)|nlohmann/json\.hpp$|yaml-cpp/|curl/|spdlog/|CLI/|SQLiteCpp/|prometheus/|valijson/|openssl/)")
# A public wrapper whose whole purpose is that library.
HEAVY_ALLOWED = {"sdk/include/weir/json.hpp", "sdk/include/weir/testing.hpp"}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^">]+)[">]')
SOURCES = {".hpp", ".h", ".cpp", ".c", ".ipp"}
HEADERS = {".hpp", ".h", ".ipp"}
# Joined from parts, so that this file passes its own check.
FORBIDDEN = ["/wo" + "rk/", "../sha" + "red", "helper" + " agent", "sub" + "agent", "py" + "pi.org", "python" + "hosted",
             "deb.deb" + "ian.org", "crates" + ".io", "npm" + "js", "/tmp/" + "brief"]
SKIPPED_FOLDERS = {".git", "build", "__pycache__", ".cache", ".ccache", ".venv"}


def may_include(folder, target):
    """Whether core/`folder` may include core/`target`."""
    if folder == target:
        return True
    if folder == SIM:
        return target == "base"
    if target == SIM:
        return folder == "cli"
    return ORDER.index(target) > ORDER.index(folder)


def includes(path):
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found.group(1)


def files(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED_FOLDERS and not f.startswith("build-"))
        for name in sorted(names):
            yield Path(folder, name)


def check(root):
    """Every breach below `root` as "path:line: what", and the number of sources that were looked at."""
    root = Path(root)
    problems, looked_at = [], 0
    for path in files(root):
        relative = path.relative_to(root)
        text = path.read_bytes().decode("utf-8", errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            problems += [f"{relative}:{number}: mentions {word!r}" for word in FORBIDDEN if word in line]
        if path.suffix not in SOURCES:
            continue
        looked_at += 1
        part = relative.parts
        for number, included in includes(path):
            where = f"{relative}:{number}: includes {included}"
            if path.suffix in HEADERS and HEAVY.match(included) and part[0] in ("core", "plugins", "sdk") \
                    and str(relative) not in HEAVY_ALLOWED:
                problems.append(f"{where}, which belongs into a .cpp file")
            target = included.split("/")
            if part[0] in ("sdk", "plugins") and (target[0] == "core" or ".." in target and "core" in target):
                problems.append(f"{where}; sdk and plugins include nothing of core")
            if part[0] == "plugins" and included.startswith("sdk/"):
                problems.append(f"{where}; plugins include the SDK as <weir/…>, as anybody else's would")
            if part[0] != "core" or len(part) < 3:
                continue
            folder = part[1]
            if folder not in ORDER and folder != SIM:
                problems.append(f"{relative}: core/{folder} has no place in the order of the folders")
                continue
            if target[0] in ("plugins", "tests"):
                problems.append(f"{where}; core includes nothing of {target[0]}")
            if "weir/" in included and target[0] == "weir" and folder not in ("plugin", "engine", "metrics", "cli"):
                problems.append(f"{where}; below core/plugin nothing knows of plugins")
            if ".." in target:
                problems.append(f"{where}; write the path from the source root")
            if target[0] == "core" and len(target) > 2:
                if target[1] not in ORDER and target[1] != SIM:
                    problems.append(f"{where}, which has no place in the order of the folders")
                elif not may_include(folder, target[1]):
                    problems.append(f"{where}; core/{folder} stands below core/{target[1]} or beside it")
    return problems, looked_at


class layers(unittest.TestCase):
    def test_this_tree_keeps_the_order(self):
        problems, looked_at = check(Path(__file__).resolve().parents[2])
        self.assertGreater(looked_at, 15, "hardly any source was found")
        self.assertEqual(problems, [], "\n" + "\n".join(problems))

    def test_breaches_are_found(self):
        bad = {
            "core/base/a.hpp": '#include "core/engine/plan.hpp"\n',
            "core/sim/a.cpp": '#include "core/http/client.hpp"\n',
            "core/engine/b.cpp": '#include "core/sim/netbox.hpp"\n',
            "core/http/c.hpp": "#include <boost/beast/http.hpp>\n",
            "core/config/d.hpp": "#  include <nlohmann/json.hpp>\n",
            "core/config/e.cpp": '#include "../base/result.hpp"\n',
            "core/http/f.cpp": '#include "weir/abi.h"\n',
            "core/elsewhere/g.cpp": "#include <vector>\n",
            "plugins/nodes/h.cpp": '#include "core/base/result.hpp"\n',
            "sdk/include/weir/i.hpp": '#include "../../../core/base/result.hpp"\n',
            "README.md": "see " + FORBIDDEN[0] + "notes\n",
        }
        good = {
            "core/engine/k.cpp": '#include <nlohmann/json.hpp>\n#include "core/base/result.hpp"\n#include "core/netbox/kinds.hpp"\n',
            "core/cli/l.cpp": '#include "core/sim/netbox.hpp"\n#include "core/engine/run.hpp"\n',
            "core/sim/m.cpp": '#include "core/base/log.hpp"\n#include "core/sim/model.hpp"\n',
            "core/base/n.hpp": "#include <nlohmann/json_fwd.hpp>\n",
            "plugins/nodes/o.cpp": '#include <weir/stage.hpp>\n#include "proxmox/guests.hpp"\n',
            "build/release/p.hpp": "#include <curl/curl.h>\n",
        }
        with tempfile.TemporaryDirectory() as root:
            for name, text in {**bad, **good}.items():
                path = Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            problems, _ = check(root)
        for name in bad:
            self.assertTrue([p for p in problems if p.startswith(name + ":")], f"the breach in {name} was not found")
        for name in good:
            self.assertEqual([p for p in problems if p.startswith(name + ":")], [])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--list"]:
        print("\n".join(check(Path(__file__).resolve().parents[2])[0]))
    else:
        unittest.main(verbosity=2)
